"""What a temperature fitted on English is worth on real language: `python scripts/real_recalibration.py`

Reads the predictions in the stores of scripts/real_study.py (below `study-real`) and writes studies/real/recalibration.csv: for every target,
condition and language, and for the plain mean of the other languages, how much NLL an English temperature takes away (nats), and the signed
calibration error before and after it; levels, and changes by intermediate training. Intervals are over examples, given the seeds."""
import argparse
from itertools import chain
from pathlib import Path

import pandas as pd

from xitcal.calibration.regimes import recalibrate, shown_tables
from xitcal.calibration.transfer import carry_over
from xitcal.core.errors import XitcalError
from xitcal.core.schema import EVENT_COLUMNS
from xitcal.study.ledger import prediction_tables, study_tasks

root = Path(__file__).parents[1]
COLUMNS = [*EVENT_COLUMNS, "prediction_text", "split"]


def tables_of(stores: list[Path], split: str):
    "Predictions of all stores in one split, one target a table"
    return chain.from_iterable(shown_tables(prediction_tables(s, COLUMNS, split), study_tasks(s)) for s in stores)


def recalibration(stores: list[Path]) -> pd.DataFrame:
    "Levels and changes of three quantities under a temperature fitted on English"
    found = recalibrate(tables_of(stores, "test"), tables_of(stores, "calibration"), sizes=())
    return pd.concat([carry_over(found.examples, name).assign(quantity=name) for name in ("gain", "signed_ce_before", "signed_ce")], ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=root / "study-real", help="where the stores are")
    parser.add_argument("--out", type=Path, default=root / "studies" / "real" / "recalibration.csv")
    args = parser.parse_args()
    stores = sorted(p for p in args.folder.glob("*-*") if (p / "study.json").exists())
    if not stores: raise XitcalError(f"There is no store below {str(args.folder)!r}; scripts/real_study.py makes them.")
    table = recalibration(stores).drop(columns=["model", "method", "n"])
    table.to_csv(args.out, index=False, float_format="%.6g")
    print(f"{len(table)} rows in {args.out}")


if __name__ == "__main__":
    main()
