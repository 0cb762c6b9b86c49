"""How long `xitcal calibrate` takes on the predictions of a whole study: `python benchmarks/calibrate.py`

300 groups of 2,490 rows with three logits each, from a Parquet file to the tidy table, one process; without and with the interval of smooth ECE.
Writes calibrate.csv."""
import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from xitcal.calibration.calibrate import calibrate
from xitcal.calibration.prediction_files import read_file  # noqa: E402


def predictions(groups: int, rows: int) -> pd.DataFrame:
    "Logits of three classes, twice as loud as the truth, and labels drawn from it"
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(groups * rows, 3)) * 1.5
    label = (truth + rng.gumbel(size=truth.shape)).argmax(1)
    return pd.DataFrame(dict(logits=list(2 * truth), label=label, cell=np.repeat(np.arange(groups), rows)))


def measured(path: Path, smooth: bool) -> dict:
    "Seconds from file to table, and whether each estimate has its null floor"
    begin = time.perf_counter()
    table = calibrate(read_file(path), ["cell"], smooth=smooth)
    seconds = time.perf_counter() - begin
    return dict(smooth_interval=smooth, seconds=seconds, estimates=len(table), with_floor=int(table.expected.notna().sum()),
                peak_mebibytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("groups", 300), ("rows", 2_490)): parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("calibrate.csv"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        predictions(args.groups, args.rows).to_parquet(path)
        table = pd.DataFrame([dict(groups=args.groups, rows=args.rows) | measured(path, smooth) for smooth in (False, True)])
    table.to_csv(args.out, index=False, float_format="%.4g")
    print(table.T.to_string())


if __name__ == "__main__":
    main()
