"""Scores of the full study's models without intermediate training beside the best possible ones, and on rows with new parts: `python scripts/validity.py`

Reads the stores study-full/full-SEED and writes studies/validity/scores.csv (score and bound by target and language, mean over the seeds) and seen.csv (the
same apart for rows whose parts all occur in training and for the others), with about.json. Needs the stores, so `make study-full` first."""
import argparse
import json
import time
from pathlib import Path

import pandas as pd

from xitcal.core.schema import EVENT_COLUMNS
from xitcal.data.tasks import NONE
from xitcal.predictions.events import read_events
from xitcal.predictions.scores import example_scores, score_table
from xitcal.report.sentences import scores_by_seen
from xitcal.study.ledger import prediction_tables, study_tasks
from xitcal.study.store import versions

root = Path(__file__).parents[1]


def of_store(store: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Headline scores without intermediate training, and the same by whether all parts were seen"
    tables = (t for t in prediction_tables(store, [*EVENT_COLUMNS, "prediction_text"]) if t["intermediate"][0].as_py() == NONE)
    events, tasks = read_events(tables), study_tasks(store)
    parts = example_scores(events, tasks)
    table = score_table(parts, tasks=tasks)
    return table[table.headline.astype(bool)], scores_by_seen(events, parts, tasks)


def mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    "Mean over seeds"
    table = pd.concat(tables)
    keys = ["target", "language", *(["seen"] if "seen" in table else [])]
    return table.groupby(keys, sort=False, observed=True)[["value", "bound", "examples"]].mean().reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=Path, default=root / "study-full")
    parser.add_argument("--out", type=Path, default=root / "studies" / "validity")
    args, started = parser.parse_args(), time.perf_counter()
    stores = sorted(args.stores.glob("full-*"))
    if not stores: raise SystemExit(f"There are no stores full-SEED in {args.stores}; run `make study-full` first.")
    found = [of_store(s) for s in stores]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, tables in zip(("scores", "seen"), zip(*found)): mean(tables).to_csv(args.out / f"{name}.csv", index=False, float_format="%.5g")
    about = dict(command="python scripts/validity.py", date=time.strftime("%Y-%m-%d"), seeds=[int(s.name.split("-")[1]) for s in stores], versions=versions(),
                 seconds=round(time.perf_counter() - started))
    (args.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
