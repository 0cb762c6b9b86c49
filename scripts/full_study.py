"""The full study, seed by seed: `make study-full`, or `python scripts/full_study.py --seeds 2`

Each seed is run in a store of its own below `study-full` (git-ignored; it resumes by itself), and its compact results go to
data/full (notebook 41b): seed-N-blocks.parquet, seed-N-cells.parquet, seed-N-bins.parquet (reliability), seed-N-english.parquet (scores
on English validation rows) and seed-N.json (command, versions, settings, run time, what phase 2 learnt). A seed whose results are there
is not run again, so a fresh clone goes on where the last one stopped. `--tables` trains nothing and makes the tables again."""
import argparse
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xitcal.compact import compact, record
from xitcal.full import FULL, SUBSETS
from xitcal.results import KEYS_OF_RESULTS, write_results
from xitcal.runner import default_workers, run_study

root = Path(__file__).parents[1]


def run_seed(seed: int, folder: Path, workers: int | None) -> dict[str, Path]:
    "Stores of the full study and its subsets for one seed; no workers: as they are"
    stores = {}
    for name, study in {"full": FULL, **SUBSETS}.items():
        stores[name] = folder / f"{name}-{seed}"
        if workers: run_study(replace(study, seeds=(seed,)), stores[name], workers)
    return stores


def tables(stores: dict[str, Path]) -> dict[str, pd.DataFrame]:
    "Compact tables of all stores of a seed, one below the other"
    found = [compact(store, setting) for setting, store in stores.items()]
    joined = {kind: pd.concat([t[kind].astype({c: str for c in t[kind].select_dtypes("category")}) for t in found], ignore_index=True) for kind in found[0]}
    return {kind: t.astype({c: "category" for c in KEYS_OF_RESULTS if c in t}) for kind, t in joined.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default=",".join(map(str, FULL.seeds)))
    parser.add_argument("--folder", type=Path, default=root / "study-full")
    parser.add_argument("--out", type=Path, default=root / "data" / "full")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--tables", action="store_true", help="train nothing: make the tables again from the stores that are there")
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        about = args.out / f"seed-{seed}.json"
        if about.exists() and not args.tables:
            print(f"Seed {seed} is in {args.out}.")
            continue
        stores = run_seed(seed, args.folder, None if args.tables else args.workers or default_workers())
        known = json.loads(about.read_text()) if about.exists() else record(stores, seed, f"python scripts/full_study.py --seeds {seed}")
        write_results(tables(stores), known, args.out)


if __name__ == "__main__":
    main()
