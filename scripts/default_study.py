"""Write the tables of the first page from the default study: `make study && .venv/bin/python scripts/default_study.py`

Reads the store `study` and writes studies/default/*.csv and about.json (command, versions, encoder, time spent)."""
import argparse
import json
import time
from pathlib import Path

from xitcal.calibration.reliability import reliability_table
from xitcal.calibration.tables import estimate_table
from xitcal.core.schema import EVENT_COLUMNS
from xitcal.inference.paired import paired_change
from xitcal.predictions.events import read_events
from xitcal.predictions.scores import example_scores, score_table
from xitcal.report.sentences import scores_by_seen
from xitcal.study.ledger import prediction_tables, study_cells, study_tasks
from xitcal.study.store import Store, versions

root = Path(__file__).parents[1]


def about(store: Path) -> dict:
    "What made the tables"
    place, cells = Store(store, create=False), study_cells(store)
    seconds = [place.manifest(p.name)["seconds"] for p in (store / "stages").iterdir()]
    return dict(command="make study && .venv/bin/python scripts/default_study.py", date=time.strftime("%Y-%m-%d"), versions=versions(),
                settings=json.loads((store / "study.json").read_text())["settings"], cells=len(cells), done=int(cells["done"].sum()),
                stages=len(seconds), core_seconds=round(sum(seconds)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=root / "study")
    parser.add_argument("--out", type=Path, default=root / "studies" / "default")
    args = parser.parse_args()
    events, tasks = read_events(prediction_tables(args.store, [*EVENT_COLUMNS, "prediction_text"])), study_tasks(args.store)
    change, dropped = paired_change(events, tasks=tasks)
    if len(dropped):
        raise SystemExit(f"{len(dropped)} cells have no partner; run `make study` first.")
    parts = example_scores(events, tasks)
    tables = dict(scores=score_table(parts, tasks=tasks), seen=scores_by_seen(events, parts, tasks), calibration=estimate_table(events, levels=True),
                  change=change, reliability=reliability_table(events, ["intermediate", "target", "language", "event"], 10))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(args.out / f"{name}.csv", index=False, float_format="%.5g")
        print(f"{name}.csv: {len(table)} rows")
    (args.out / "about.json").write_text(json.dumps(about(args.store), indent=1) + "\n")


if __name__ == "__main__":
    main()
