"""How long `xitcal calibrate` takes on the predictions of a whole study: `python benchmarks/calibrate.py`

300 groups of 2,490 rows with three logits each, from a Parquet file to the printed text, one process and one thread: the six estimates without and with the
interval of smooth ECE, and all estimates. Times are those of the processor (user and system), because other processes on the machine do not change them much;
the time on the clock is beside them. Writes calibrate.csv."""
import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from xitcal.calibration.calibrate import calibrate
from xitcal.calibration.prediction_files import read_file  # noqa: E402
from xitcal.report.prediction_text import calibration_text  # noqa: E402


def predictions(groups: int, rows: int) -> pd.DataFrame:
    "Logits of three classes, twice as large as the true ones, and labels drawn from the truth"
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(groups * rows, 3)) * 1.5
    label = (truth + rng.gumbel(size=truth.shape)).argmax(1)
    return pd.DataFrame(dict(logits=list(2 * truth), label=label, cell=np.repeat(np.arange(groups), rows)))


def measured(path: Path, smooth: bool, all_estimates: bool) -> dict:
    "Seconds from file to text, and how many estimates have their expected value under calibration"
    begin, used = time.perf_counter(), time.process_time()
    rows = read_file(path)
    table = calibrate(rows, ["cell"], smooth=smooth, all_estimates=all_estimates)
    calibration_text(table, None, {path.name: rows}, ["cell"], all_estimates)
    used, seconds = time.process_time() - used, time.perf_counter() - begin
    return dict(all_estimates=all_estimates, smooth_interval=smooth, processor_seconds=used, clock_seconds=seconds, estimates=len(table),
                with_expected=int(table.expected.notna().sum()), peak_mebibytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("groups", 300), ("rows", 2_490)): parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("calibrate.csv"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        predictions(args.groups, args.rows).to_parquet(path)
        table = pd.DataFrame([dict(groups=args.groups, rows=args.rows) | measured(path, *how)
                              for how in ((False, False), (True, False), (True, True))])
    table.to_csv(args.out, index=False, float_format="%.4g")
    print(table.T.to_string())


if __name__ == "__main__":
    main()
