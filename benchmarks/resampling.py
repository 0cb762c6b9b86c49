"""How long the null floors of many cells take beside a loop over netcal's ECE: `python benchmarks/resampling.py`

10,000 cells of 150 decisions, 2,000 calibrated models each (`null_errors`, blocks of cells one after another), one process. The loop calls
netcal's ECE once a cell and draw, on a part of them, and is extrapolated. Both run on one core, by turns, several times; the median counts. Writes
resampling.csv, with the machine and its load."""
import argparse
import os
import platform
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from netcal.metrics import ECE

from xitcal.calibration.binned import null_errors

warnings.filterwarnings("ignore")


def cells_of(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    "Confidences of n cells, and the number of each one's cell"
    return np.random.default_rng(0).beta(4, 1.5, n * size), np.repeat(np.arange(n), size)


def ours(confidence, size, draws, block=500) -> float:
    "Seconds for all cells, a block at a time"
    begin = time.perf_counter()
    for at in range(0, len(confidence), block * size):
        part = confidence[at:at + block * size]
        null_errors(part, np.repeat(np.arange(len(part) // size), size), draws=draws)
    return time.perf_counter() - begin


def netcals(confidence, size, calls) -> float:
    "Seconds for so many cells and draws"
    rng, measure, begin = np.random.default_rng(1), ECE(15), time.perf_counter()
    for i in range(calls):
        part = confidence[i * size:(i + 1) * size]
        measure.measure(part, (rng.random(size) < part).astype(int))
    return time.perf_counter() - begin


def machine() -> dict:
    "Processor, cores, and how many processes wanted one in the last minute"
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return dict(processor=(names or [platform.processor()])[0], cores=os.cpu_count(), load=os.getloadavg()[0] if hasattr(os, "getloadavg") else np.nan)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("cells", 10_000), ("size", 150), ("draws", 2_000), ("calls", 2_000), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("resampling.csv"))
    args = parser.parse_args()
    confidence, _ = cells_of(args.cells, args.size)
    before, found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(args.rounds):  # by turns, so that what else the machine does weighs on both
        seconds = ours(confidence, args.size, args.draws)
        loop = netcals(confidence, args.size, args.calls) / args.calls * args.cells * args.draws
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
        found.append(dict(seconds=seconds, netcal_seconds_extrapolated=loop, ratio=loop / seconds, extra_mebibytes=grown))
    rounds = pd.DataFrame(found)
    spread = dict(ratio_low=rounds.ratio.min(), ratio_high=rounds.ratio.max(), rounds=args.rounds)
    table = pd.DataFrame([dict(cells=args.cells, decisions=args.size, draws=args.draws, **rounds.median(), **spread, **machine())])
    table.to_csv(args.out, index=False, float_format="%.4g")
    print(table.T.to_string())


if __name__ == "__main__":
    main()
