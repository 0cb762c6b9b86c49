"""The study on real language, condition by condition: `python scripts/real_study.py --data DATA`

Each seed and condition is run in a store of its own below `study-real` (git-ignored; it resumes by itself), and models are dropped when
nothing starts from them any more. After each condition its compact results join those of the seed in the committed folder, in the form of
the full study's: seed-N-blocks.parquet, seed-N-cells.parquet, seed-N-bins.parquet, seed-N-english.parquet and seed-N.json. A condition
that is there is not run again, so a fresh clone with the data and the encoder (`scripts/e5_small.py --out build/e5-small`) goes on where
the last run stopped. All conditions of a seed must have been trained in the same precision: the script refuses to add one of another.

    python scripts/real_study.py --data DATA --seeds 0 --condition none,mnli
    python scripts/real_study.py --data DATA --plan"""
import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xitcal.core.errors import XitcalError
from xitcal.inference.results import KEYS_OF_RESULTS, write_results
from xitcal.study.grid import make_plan
from xitcal.study.plan_text import cost_text
from xitcal.study.protocol import REAL
from xitcal.study.runner import default_workers, run_study
from xitcal.study.summarise import compact, record
from xitcal.training.trainer import Options

root = Path(__file__).parents[1]
KINDS = ("blocks", "cells", "bins", "english", "runs")


def known_results(folder: Path, seed: int) -> tuple[dict[str, pd.DataFrame], dict]:
    "Tables and record of a seed; empty ones where there is none"
    about = folder / f"seed-{seed}.json"
    if not about.exists(): return {}, {}
    return {kind: pd.read_parquet(folder / f"seed-{seed}-{kind}.parquet") for kind in KINDS}, json.loads(about.read_text())


def joined(old: dict[str, pd.DataFrame], new: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    "One table below the other"
    plain = lambda t: t.astype({c: str for c in t.select_dtypes("category")})
    tables = {kind: pd.concat([plain(t[kind]) for t in (old, new) if t], ignore_index=True) for kind in KINDS}
    return {kind: t.astype({c: "category" for c in KEYS_OF_RESULTS if c in t}) for kind, t in tables.items()}


def with_condition(about: dict, condition: str, made: dict) -> dict:
    "The record of a seed with one condition more"
    used = made["precision"]["full"]
    if about and (known := about["precision"]["full"]) != used:
        raise XitcalError(f"Seed {made['seed']} was trained in {', '.join(known)} and {condition} in {', '.join(used)}; remove the store of that "
                          f"condition and run it again with --precision {known[0]}.")
    conditions = about.get("conditions", {}) | {condition: {n: made[n] for n in ("date", "versions", "validation", "core_seconds")}}
    settings = made["settings"]["full"] | dict(precision=used[0])
    planned = about.get("planned", {}).get("full", []) + made["planned"]["full"]
    validation = about.get("validation", {}).get("full", []) + made["validation"]["full"]
    return dict(command=made["command"], date=made["date"], seed=made["seed"], versions=made["versions"], settings=dict(full=settings), tuned=made["tuned"],
                planned=dict(full=planned), validation=dict(full=validation), precision=made["precision"], conditions=conditions,
                core_seconds=dict(full=sum(c["core_seconds"]["full"] for c in conditions.values())), notes=made["notes"])


def run_condition(seed: int, condition: str, args: argparse.Namespace) -> None:
    "Run one condition of one seed and add its results, unless they are there"
    tables, about = known_results(args.out, seed)
    if condition in about.get("conditions", {}): return print(f"Seed {seed}, {condition}: in {args.out.name}.")
    study = replace(REAL, seeds=(seed,), intermediates=(condition,), precision=args.precision)
    store = args.folder / f"{seed}-{condition.replace(':', '-')}"
    options = Options(drop_weights=True, save_seconds=120., budget=args.budget)
    run_study(study, store, args.workers or default_workers(), options)
    made = record({"full": store}, seed, f"python scripts/real_study.py --seeds {seed}")
    about = with_condition(about, condition, made)
    write_results(joined(tables, compact(store, "full")), about, args.out)
    print(f"Seed {seed}, {condition}: done, {about['conditions'][condition]['core_seconds']['full'] / 60:.0f} core-minutes.", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the real data, as for `xitcal run --data`")
    parser.add_argument("--seeds", help="default: all of the study, in turn")
    parser.add_argument("--condition", help="default: all of the study, in turn")
    parser.add_argument("--folder", type=Path, default=root / "study-real", help="where stores are")
    parser.add_argument("--out", type=Path, default=root / "studies" / "real", help="where compact results go")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--budget", type=int, default=4096, help="most tokens in a micro-batch")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--plan", action="store_true", help="say what a seed costs; run nothing")
    args = parser.parse_args()
    os.environ["XITCAL_DATA"] = str(Path(args.data).resolve())
    os.chdir(root) # the study names its encoder build/e5-small
    if args.plan: return print(cost_text(make_plan(replace(REAL, seeds=REAL.seeds[:1])), args.workers or default_workers(), None))
    for seed in map(int, args.seeds.split(",")) if args.seeds else REAL.seeds:
        for condition in args.condition.split(",") if args.condition else REAL.intermediates: run_condition(seed, condition, args)


if __name__ == "__main__":
    main()
