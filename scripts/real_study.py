"""The study on real language, piece by piece: `python scripts/real_study.py --data DATA`

A piece is one seed, one condition and one part of the targets (`REAL_PARTS`). The pieces of a seed and condition share a store below
`study-real` (git-ignored; it resumes by itself), and models are dropped when nothing starts from them any more. After each piece its compact
results join those of the seed in the committed folder, in the form of the full study's: seed-N-blocks.parquet, seed-N-cells.parquet,
seed-N-bins.parquet, seed-N-english.parquet, seed-N-runs.parquet and seed-N.json. A piece that is there is not run again, so a fresh clone
with the data and the encoder (`scripts/e5_small.py --out build/e5-small`) goes on where the last run stopped. All pieces of a seed must
have been trained in the same precision: the script refuses to add one of another.

    python scripts/real_study.py --data DATA --seeds 0,1,2 --condition none,mnli --part tags,inference
    python scripts/real_study.py --data DATA --plan"""
import argparse
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
from filelock import FileLock

from xitcal.core.errors import XitcalError
from xitcal.inference.results import KEYS_OF_RESULTS, write_results
from xitcal.study.grid import Study, make_plan
from xitcal.study.plan_text import cost_text
from xitcal.study.protocol import REAL, REAL_PARTS
from xitcal.study.runner import default_workers, drop_used, run_study
from xitcal.study.store import Store
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


def of_part(tables: dict[str, pd.DataFrame], part: str) -> dict[str, pd.DataFrame]:
    "The rows of a part's targets"
    return {kind: t[t.target.isin(REAL_PARTS[part])] for kind, t in tables.items()}


def with_piece(about: dict, piece: str, made: dict) -> dict:
    "The record of a seed with one piece more"
    used = made["precision"]["full"]
    if about and (known := about["precision"]["full"]) != used:
        raise XitcalError(f"Seed {made['seed']} was trained in {', '.join(known)} and {piece} in {', '.join(used)}; remove the store of that "
                          f"condition and run it again with --precision {known[0]}.")
    pieces = about.get("pieces", {}) | {piece: {n: made[n] for n in ("date", "versions", "validation", "core_seconds")}}
    settings = made["settings"]["full"] | dict(precision=used[0])
    planned = [*map(list, dict.fromkeys(map(tuple, about.get("planned", {}).get("full", []) + made["planned"]["full"])))]
    validation = [v for p in pieces.values() for v in p["validation"]["full"]]
    return dict(command=made["command"], date=made["date"], seed=made["seed"], versions=made["versions"], settings=dict(full=settings), tuned=made["tuned"],
                planned=dict(full=planned), validation=dict(full=validation), precision=made["precision"], pieces=pieces,
                core_seconds=dict(full=sum(p["core_seconds"]["full"] for p in pieces.values())), notes=made["notes"])


def drop_all_used(study: Study, store: Store) -> None:
    "Drop the weights that no part of the condition needs any more"
    plan = make_plan(study)
    for stage in plan.stages.values():
        if store.published(stage.name): drop_used(plan, stage, store)


def run_piece(seed: int, condition: str, part: str, args: argparse.Namespace) -> None:
    "Run one part of one condition of one seed and add its results, unless they are there"
    piece = f"{condition} {part}"
    if piece in known_results(args.out, seed)[1].get("pieces", {}): return print(f"Seed {seed}, {piece}: in {args.out.name}.")
    whole = replace(REAL, seeds=(seed,), intermediates=(condition,), precision=args.precision)
    study, store = replace(whole, targets=REAL_PARTS[part]), Store(args.folder / f"{seed}-{condition.replace(':', '-')}")
    if not (plan := make_plan(study)).cells: return print(f"Seed {seed}, {piece}: nothing to do.")
    before = sum(store.manifest(s)["seconds"] for s in plan.stages if store.published(s) and plan.stages[s].phase == "intermediate")
    run_study(study, store.path, args.workers or default_workers(), Options(save_seconds=120., budget=args.budget))
    made = record({"full": store.path}, seed, f"python scripts/real_study.py --seeds {seed}")
    stages = [s.name for s in plan.stages.values() if s.phase != "pretrained"]
    made["core_seconds"] = dict(full=round(sum(store.manifest(s)["seconds"] for s in stages) - before)) # a training that parts share counts once
    made["planned"] = dict(full=[[i, t] for i, t in made["planned"]["full"] if t in REAL_PARTS[part]])
    with FileLock(args.folder / f"seed-{seed}.lock"): # another call may have added a piece meanwhile
        tables, about = known_results(args.out, seed)
        about = with_piece(about, piece, made)
        write_results(joined(tables, of_part(compact(store.path, "full"), part)), about, args.out)
    drop_all_used(whole, store)
    print(f"Seed {seed}, {piece}: done, {about['pieces'][piece]['core_seconds']['full'] / 60:.0f} core-minutes.", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the real data, as for `xitcal run --data`")
    parser.add_argument("--seeds", help="default: all of the study, in turn")
    parser.add_argument("--condition", help="default: all of the study, in turn")
    parser.add_argument("--part", default=",".join(REAL_PARTS), help="default: %(default)s")
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
    conditions = args.condition.split(",") if args.condition else REAL.intermediates
    seeds = [*map(int, args.seeds.split(","))] if args.seeds else REAL.seeds
    for part, seed, condition in itertools.product(args.part.split(","), seeds, conditions): run_piece(seed, condition, part, args)


if __name__ == "__main__":
    main()
