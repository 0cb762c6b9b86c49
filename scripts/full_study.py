"""The full study, seed by seed: `make study-full`, or `python scripts/full_study.py --seeds 2`

Each seed is run in a store of its own below `study-full` (git-ignored; it resumes by itself), and its compact results go to
studies/full (xitcal.study.summarise): seed-N-blocks.parquet, seed-N-cells.parquet, seed-N-bins.parquet (reliability), seed-N-english.parquet (scores
on English validation rows), seed-N-runs.parquet (degenerate or not)
and seed-N.json (command, versions, settings, run time, what intermediate training learnt). What a seed's results hold
is not run again, so a fresh clone goes on where the last one stopped; a setting that has grown is run again, of which its store knows
most. `--tables` trains nothing and makes the tables again.

    python scripts/full_study.py --encoder build/encoder-100/6

runs a part of the study with another encoder (`scripts/pretrain.sh 100` makes that one) and writes to studies/second.

    python scripts/full_study.py --dose

runs the study of doses (λ of what intermediate training changes, before or after target fine-tuning, and shares of its steps) and writes to
studies/dose. A merge after target fine-tuning trains nothing: a seed that lacks it is completed from the models in its store."""
import argparse
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xitcal.inference.results import KEYS_OF_RESULTS, write_results
from xitcal.study.grid import make_plan
from xitcal.study.protocol import DOSE, FULL, SECOND, SUBSETS, TRAINED_OTHERWISE
from xitcal.study.runner import default_workers, run_study
from xitcal.study.summarise import compact, record

root = Path(__file__).parents[1]
KINDS = ("blocks", "cells", "bins", "english", "runs") # older results have no runs


def tables(stores: dict[str, Path], kept: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    "Compact tables of all stores of a seed, one below the other, below those that are kept"
    found = [*([kept] if kept else []), *(compact(store, setting) for setting, store in stores.items())]
    joined = {kind: pd.concat([t[kind].astype({c: str for c in t[kind].select_dtypes("category")}) for t in found], ignore_index=True)
              for kind in KINDS if all(kind in t for t in found)}
    return {kind: t.astype({c: "category" for c in KEYS_OF_RESULTS if c in t}) for kind, t in joined.items()}


def merged(known: dict, new: dict) -> dict:
    "A record with the settings of another one added; it keeps its date, command and versions"
    return {k: known[k] | v if isinstance(v, dict) and k in known and k != "versions" else known.get(k, v) for k, v in new.items()}


def lacking(studies: dict, seed: int, kept: dict[str, pd.DataFrame]) -> list[str]:
    "Settings of which the kept tables lack a pair of condition and target"
    cells = kept["cells"] if kept else pd.DataFrame(columns=["setting", "intermediate", "target"])
    there = set(cells[["setting", "intermediate", "target"]].astype(str).itertuples(index=False, name=None))
    return [name for name, study in studies.items() if {(name, c.intermediate, c.target) for c in make_plan(replace(study, seeds=(seed,))).cells} - there]


def run_seed(seed: int, studies: dict, args: argparse.Namespace) -> None:
    "Run what the results of a seed lack, and write them"
    about = args.out / f"seed-{seed}.json"
    known = json.loads(about.read_text()) if about.exists() else {}
    paths = {kind: args.out / f"seed-{seed}-{kind}.parquet" for kind in KINDS}
    kept = {kind: pd.read_parquet(path) for kind, path in paths.items() if path.exists()} if known and not args.tables else {}
    missing = list(studies) if args.tables else lacking(studies, seed, kept)
    if not missing: return print(f"Seed {seed} is in {args.out}.")
    part = "second" if args.encoder else "dose" if args.dose else ""
    stores = {name: args.folder / f"{part or name}-{seed}" for name in missing}
    for name in () if args.tables else missing:
        run_study(replace(studies[name], seeds=(seed,)), stores[name], args.workers or default_workers())
    kept = {kind: t[~t.setting.isin(missing)] for kind, t in kept.items()}
    if kept and kept["cells"].empty: kept = {} # nothing old is left, so its kinds do not count
    command = f"python scripts/full_study.py {f'--encoder {args.encoder} ' if args.encoder else ''}{'--dose ' if args.dose else ''}--seeds {seed}"
    write_results(tables(stores, kept), merged(known, record(stores, seed, command)), args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", help="default: all of the study")
    parser.add_argument("--folder", type=Path, default=root / "study-full")
    parser.add_argument("--encoder", help="folder of another encoder, for the part of the study that is run with it")
    parser.add_argument("--dose", action="store_true", help="run the study of doses")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--tables", action="store_true", help="train nothing: make the tables again from the stores that are there")
    args = parser.parse_args()
    if args.encoder and args.dose: parser.error("the study of doses has one encoder; leave --encoder or --dose out")
    args.out = args.out or root / "studies" / ("second" if args.encoder else "dose" if args.dose else "full")
    studies = ({"full": replace(SECOND, models=(args.encoder,))} if args.encoder else {"full": DOSE} if args.dose
               else {"full": FULL, **SUBSETS, **TRAINED_OTHERWISE})
    for seed in map(int, args.seeds.split(",")) if args.seeds else studies["full"].seeds:
        run_seed(seed, studies, args)


if __name__ == "__main__":
    main()
