"""The full study, seed by seed: `make study-full`, or `python scripts/full_study.py --seeds 2`

Each seed is run in a store of its own below `study-full` (git-ignored; it resumes by itself), and its compact results go to
data/full: seed-N-blocks.parquet, seed-N-cells.parquet (notebook 35), seed-N-english.parquet (scores on English validation rows) and seed-N.json
(command, versions, settings, run time, what phase 2 learnt). A seed whose results are there is not run again, so a fresh clone goes on
where the last one stopped."""
import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from xitcal.blocks import block_table, cell_table, write_sums
from xitcal.events import EVENT_COLUMNS, read_events
from xitcal.full import FULL, SUBSETS
from xitcal.runner import default_workers, run_study
from xitcal.scores import example_scores, score_table
from xitcal.store import Store, versions
from xitcal.study import prediction_tables, study_tasks

root = Path(__file__).parents[1]
KEYS_OF_TABLES = ("model", "method", "intermediate", "target", "language", "event", "setting")


def run_seed(seed: int, folder: Path, workers: int) -> dict[str, Path]:
    "Stores of the full study and its subsets for one seed"
    stores = {}
    for name, study in {"full": FULL, **SUBSETS}.items():
        stores[name] = folder / f"{name}-{seed}"
        run_study(replace(study, seeds=(seed,)), stores[name], workers)
    return stores


COLUMNS = [*EVENT_COLUMNS, "prediction_text"]


def compact(stores: dict[str, Path]) -> dict[str, pd.DataFrame]:
    "Sums over blocks, what is no sum, and scores on English validation rows, of every cell; one cell in memory at a time"
    found = dict(blocks=[], cells=[], english=[])
    for name, store in stores.items():
        tasks = study_tasks(store)
        for table in tqdm(prediction_tables(store, COLUMNS), desc=f"compact {name}", disable=None):
            events = read_events([table])
            found["blocks"].append(block_table(events, tasks).assign(setting=name))
            found["cells"].append(cell_table(events).assign(setting=name))
        for table in (t for t in prediction_tables(store, COLUMNS, "calibration") if len(t)):
            scores = score_table(example_scores(read_events([table]), tasks), tasks=tasks)
            found["english"].append(scores[scores.headline].drop(columns="headline").assign(setting=name))
    tables = {kind: pd.concat(parts, ignore_index=True) for kind, parts in found.items()}
    return {kind: t.astype({k: "category" for k in KEYS_OF_TABLES if k in t}) for kind, t in tables.items()}


def validation(store: Path) -> list[dict]:
    "Of every phase 2: its title, and the share of right events on its English validation rows"
    place = Store(store, create=False)
    results = [(place.manifest(p.name)["title"], json.loads((p / "result.json").read_text())) for p in (store / "stages").glob("intermediate-*")]
    return [dict(title=title, validation=result["best"]["validation"]) for title, result in results if result.get("best")]


def about(stores: dict[str, Path], seed: int) -> dict:
    "What made the tables of a seed"
    seconds = {n: sum(Store(p, create=False).manifest(s.name)["seconds"] for s in (p / "stages").iterdir()) for n, p in stores.items()}
    settings = {n: json.loads((p / "study.json").read_text())["settings"] for n, p in stores.items()}
    learnt = {n: validation(p) for n, p in stores.items()}
    return dict(command=f"python scripts/full_study.py --seeds {seed}", date=time.strftime("%Y-%m-%d"), seed=seed, versions=versions(),
                settings=settings, core_seconds={n: round(s) for n, s in seconds.items()}, validation=learnt)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default=",".join(map(str, FULL.seeds)))
    parser.add_argument("--folder", type=Path, default=root / "study-full")
    parser.add_argument("--out", type=Path, default=root / "data" / "full")
    parser.add_argument("--workers", type=int, default=None)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, args.seeds.split(",")):
        if (args.out / f"seed-{seed}.json").exists():
            print(f"Seed {seed} is in {args.out}.")
            continue
        stores = run_seed(seed, args.folder, args.workers or default_workers())
        for kind, table in compact(stores).items():
            write_sums(table, args.out / f"seed-{seed}-{kind}.parquet")
        (args.out / f"seed-{seed}.json").write_text(json.dumps(about(stores, seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
