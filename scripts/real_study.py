"""The study on real language, piece by piece: `python scripts/real_study.py --data DATA`

A piece is one seed, one condition and one part of the targets (`REAL_PARTS`). The pieces of a seed and condition share a store below
`study-real` (git-ignored; it resumes by itself), and models are dropped when nothing starts from them any more. After each piece its compact
results join those of the seed in the committed folder, in the form of the full study's: seed-N-blocks.parquet, seed-N-cells.parquet,
seed-N-bins.parquet, seed-N-english.parquet, seed-N-runs.parquet and seed-N.json. A piece that is there is not run again, so a fresh clone
with the data and the encoder (`scripts/e5_small.py --out build/e5-small`) goes on where the last run stopped. All pieces of a seed must
have been trained in the same precision: the script refuses to add one of another.

    python scripts/real_study.py --data DATA --seeds 0,1,2 --condition none,mnli --part tags,inference
    python scripts/real_study.py --data DATA --seeds 0,1 --condition none,mnli --part tags --length 0.5,2
    python scripts/real_study.py --data DATA --seeds 0,1,2 --condition mnli@0.5 --part tags,inference
    python scripts/real_study.py --data DATA --plan

`--length` fine-tunes on the target for other multiples of the recipe's epochs. Such pieces have a setting of their own, for instance `full×2`.
`mnli@0.5` keeps half of what MNLI changes in the encoder; it is asked for by name, since it is not one of the registered conditions."""
import argparse
import itertools
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pandas as pd
from filelock import FileLock

from xitcal.core.errors import XitcalError
from xitcal.core.estimates import current_names
from xitcal.inference.results import KEYS_OF_RESULTS, write_results
from xitcal.study.grid import Setting, Study, make_plan
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
    paths = {kind: folder / f"seed-{seed}-{kind}.parquet" for kind in KINDS}
    tables = {kind: current_names(pd.read_parquet(path)) for kind, path in paths.items() if path.exists()} # as new pieces name them
    return tables, json.loads(about.read_text())


def joined(old: dict[str, pd.DataFrame], new: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    "One table below the other; retrieval alone has none of English rows for recalibration"
    plain = lambda t: t.astype({c: str for c in t.select_dtypes("category")})
    tables = {kind: pd.concat([plain(t[kind]) for t in (old, new) if kind in t], ignore_index=True) for kind in KINDS if kind in {**old, **new}}
    return {kind: t.astype({c: "category" for c in KEYS_OF_RESULTS if c in t}) for kind, t in tables.items()}


def of_piece(tables: dict[str, pd.DataFrame], part: str, setting: Setting) -> dict[str, pd.DataFrame]:
    "The rows of a part's targets in one setting"
    return {kind: t[t.target.isin(REAL_PARTS[part]) & (t.method.astype(str) == setting.name)] for kind, t in tables.items()}


def joined_facts(old: dict, new: dict) -> dict:
    "Facts by setting, with those of one setting replaced or added"
    return {n: v for n, v in (old | new).items() if v}


def with_piece(about: dict, piece: str, name: str, made: dict) -> dict:
    "The record of a seed with one piece more, which has the setting `name`"
    used = made["precision"][name]
    if about and used and (known := next(iter(about["precision"].values()), used)) != used: # without a training there is none
        raise XitcalError(f"Seed {made['seed']} was trained in {', '.join(known)} and {piece} in {', '.join(used)}; remove the store of that "
                          f"condition and run it again with --precision {known[0]}.")
    pieces = about.get("pieces", {}) | {piece: {n: made[n] for n in ("date", "versions", "validation", "core_seconds")}}
    old = about.get("planned", {}).get(name, [])
    by_setting = {n: joined_facts(about.get(n, {}), made[n]) for n in ("tuned", "precision", "notes")} | dict(
        settings={name: made["settings"][name]} | about.get("settings", {}) | ({name: made["settings"][name] | dict(precision=used[0])} if used else {}),
        planned=about.get("planned", {}) | {name: [*map(list, dict.fromkeys(map(tuple, old + made["planned"][name])))]},
        validation={n: [v for p in pieces.values() for v in p["validation"].get(n, [])] for n in {**about.get("settings", {}), name: 0}},
        core_seconds={n: sum(p["core_seconds"].get(n, 0) for p in pieces.values()) for n in {**about.get("settings", {}), name: 0}})
    return {n: made[n] for n in ("command", "date", "seed", "versions")} | by_setting | dict(pieces=pieces)


def drop_all_used(study: Study, store: Store) -> None:
    "Drop the weights that no part of the condition needs any more"
    plan = make_plan(study)
    for stage in plan.stages.values():
        if store.published(stage.name): drop_used(plan, stage, store)


def processor_seconds() -> float:
    "Time that this process and those it started had a core; other work on the machine does not count"
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run_piece(seed: int, condition: str, part: str, args: argparse.Namespace, length: float = 1.) -> None:
    "Run one part of one condition of one seed in one setting and add its results, unless they are there"
    setting = Setting(length=length)
    piece = f"{condition} {part}" + ("" if setting == Setting() else f" {setting.name}")
    if piece in known_results(args.out, seed)[1].get("pieces", {}): return print(f"Seed {seed}, {piece}: in {args.out.name}.")
    whole = replace(REAL, seeds=(seed,), intermediates=(condition,), precision=args.precision, target_lengths=(length,))
    study, store = replace(whole, targets=REAL_PARTS[part]), Store(args.folder / f"{seed}-{condition.replace(':', '-')}")
    plan = make_plan(study)
    cells = [c for c in plan.cells if c.method == setting.name]
    if not cells: return print(f"Seed {seed}, {piece}: nothing to do.")
    began = processor_seconds()
    run_study(study, store.path, args.workers or default_workers(), Options(save_seconds=120., budget=args.budget))
    made = record({setting.name: store.path}, seed, f"python scripts/real_study.py --seeds {seed}")
    spent = processor_seconds() - began
    made["core_seconds"] = {setting.name: round(spent)} # a training that parts share counts once, in the first of them
    made["planned"] = {setting.name: [*map(list, dict.fromkeys((c.intermediate, c.target) for c in cells))]}
    with FileLock(args.folder / f"seed-{seed}.lock"): # another call may have added a piece meanwhile
        tables, about = known_results(args.out, seed)
        about = with_piece(about, piece, setting.name, made)
        write_results(joined(tables, of_piece(compact(store.path, setting.name), part, setting)), about, args.out)
    drop_all_used(whole, store)
    print(f"Seed {seed}, {piece}: done, {round(spent / 60)} core-minutes.", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the real data, as for `xitcal run --data`")
    parser.add_argument("--seeds", help="default: all of the study, in turn")
    parser.add_argument("--condition", help="default: all of the study, in turn")
    parser.add_argument("--length", default="1", help="of target fine-tuning, as multiples of the recipe's epochs (default: 1)")
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
    lengths = [*map(float, args.length.split(","))]
    for part, length, seed, condition in itertools.product(args.part.split(","), lengths, seeds, conditions):
        run_piece(seed, condition, part, args, length)


if __name__ == "__main__":
    main()
