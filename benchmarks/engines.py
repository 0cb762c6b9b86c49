"""One worker, two workers and Ray on the same independent stages: `python benchmarks/engines.py`

Each way runs the same study in a fresh store: eight trainings of one size, and what they predict. With fewer or unequal stages one worker waits for
the other, and the start of processes counts for more. Ray runs on a cluster of two cores that is started before the clock. The
order is shuffled in every repetition, and benchmarks/engines.csv gets one row a run: seconds, and the ratio to one worker in the same
repetition. Leave the machine alone while it runs (about fifteen minutes on two cores)."""
import argparse
import os
import random
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from xitcal.study.grid import Study  # noqa: E402
from xitcal.study.ray_engine import RayEngine  # noqa: E402
from xitcal.study.runner import run_study  # noqa: E402

OUT = Path(__file__).with_name("engines.csv")
STUDY = Study(intermediates=("none",), targets=("xnli",), seeds=tuple(range(8)), test_rows=100, target_rows=3000)


def one_worker(folder: str) -> None:
    torch.set_num_threads(1)
    run_study(STUDY, folder, workers=1, progress=False)


def two_workers(folder: str) -> None: run_study(STUDY, folder, workers=2, progress=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    from ray.cluster_utils import Cluster
    cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=2, object_store_memory=80 * 2**20, include_dashboard=False))
    ways = {"one worker": one_worker, "two workers": two_workers,
            "Ray": lambda folder: run_study(STUDY, folder, progress=False, engine=RayEngine(cluster.address))}
    rows = []
    for repetition in range(args.repetitions):
        for name in random.Random(repetition).sample(list(ways), len(ways)):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                ways[name](folder)
                rows.append(dict(repetition=repetition, way=name, seconds=round(time.perf_counter() - began, 2)))
                print(rows[-1], flush=True)
    cluster.shutdown()
    table = pd.DataFrame(rows)
    base = table[table.way == "one worker"].set_index("repetition").seconds
    table = table.assign(times=(table.repetition.map(base) / table.seconds).round(3), cores=os.cpu_count())
    table.to_csv(args.out, index=False)
    print(table.groupby("way").times.agg(["min", "max"]))


if __name__ == "__main__": main()
