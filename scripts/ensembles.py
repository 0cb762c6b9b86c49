"""Ensembles over the seeds of the full study: `python scripts/ensembles.py --seeds 2,3,4,5,6`

Reads the stores of scripts/full_study.py and keeps what is kept of a seed (xitcal.study.summarise), for the mean of the probabilities of all seeds of
a condition, where an event has the same classes in every seed (labels and tokens): studies/ensembles/seed-0-blocks.parquet and its like. The seeds
of an ensemble are the `members` of seed-0.json. A minute."""
import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pyarrow as pa

from xitcal.calibration.transfer import seed_ensembles
from xitcal.calibration.trials import CLASSES
from xitcal.core.schema import EVENT_COLUMNS
from xitcal.data.tasks import INTERMEDIATES, NONE
from xitcal.inference.block_sums import bin_table, block_table, cell_table
from xitcal.inference.results import KEYS_OF_RESULTS, write_results
from xitcal.predictions.events import read_events, shown_event
from xitcal.study.ledger import prediction_tables, study_tasks
from xitcal.study.store import versions

root = Path(__file__).parents[1]


def members(stores: list[Path], tasks: dict) -> dict[tuple, list]:
    "Predictions of the conditions without variants, by (condition, target), a table a seed"
    found = defaultdict(list)
    for table in (t for store in stores for t in prediction_tables(store, [*EVENT_COLUMNS, "prediction_text"]) if t.num_rows):
        condition, target = (table[k][0].as_py() for k in ("intermediate", "target"))
        if condition in (NONE, *INTERMEDIATES) and shown_event(tasks[target]) in CLASSES: found[condition, target].append(table)
    return {key: tables for key, tables in found.items() if len(tables) == len(stores)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", required=True)
    parser.add_argument("--folder", type=Path, default=root / "study-full")
    parser.add_argument("--out", type=Path, default=root / "studies" / "ensembles")
    args = parser.parse_args()
    seeds = [int(s) for s in args.seeds.split(",")]
    stores = [args.folder / f"full-{s}" for s in seeds]
    tasks, parts = study_tasks(stores[0]), defaultdict(list)
    for tables in members(stores, tasks).values():
        events = read_events(seed_ensembles(pa.concat_tables(tables)))
        for kind, made in (("blocks", block_table(events, tasks)), ("cells", cell_table(events)), ("bins", bin_table(events))): parts[kind].append(made)
    tables = {kind: joined(made) for kind, made in parts.items()}
    settings = json.loads((stores[0] / "study.json").read_text())["settings"]
    write_results(tables, dict(command=f"python scripts/ensembles.py --seeds {args.seeds}", date=time.strftime("%Y-%m-%d"), seed=0, members=seeds,
                               versions=versions(), settings=dict(full=settings)), args.out)


def joined(tables):
    "Tables one below the other, with the column `setting`"
    table = pd.concat([t.astype({c: str for c in t.select_dtypes("category")}) for t in tables], ignore_index=True).assign(setting="full")
    return table.astype({c: "category" for c in KEYS_OF_RESULTS if c in table})


if __name__ == "__main__":
    main()
