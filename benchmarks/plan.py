"""What `xitcal plan` thinks a study takes, beside what it took: `python benchmarks/plan.py --store STORE`

Run it on the machine that made the store, when nothing else runs. For each phase and task, benchmarks/plan.csv gets the seconds that the plan gives
before anything is done (`thought`), the seconds that the manifests have (`took`), and their ratio; a line `all` has the sums. `row_ms` is what a
prediction took for each example beside the model, in milliseconds: `row_seconds` of the kinds come from it. Studies that the table has under other
names stay. `--workers` is how many stages ran side by side."""
import argparse
import json
import os
import time
from dataclasses import fields
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")

import pandas as pd  # noqa: E402

from xitcal.kinds.base import KINDS  # noqa: E402
from xitcal.study.grid import Study, make_plan  # noqa: E402
from xitcal.study.ledger import predicted_precisions, study_cells  # noqa: E402
from xitcal.study.plan_text import estimate, probed_speeds  # noqa: E402
from xitcal.study.runner import default_workers  # noqa: E402
from xitcal.study.store import Store  # noqa: E402
from xitcal.training.models import multiplies_bf16  # noqa: E402

OUT = Path(__file__).with_suffix(".csv")


def study_of(store: Path) -> Study:
    "The study that a store holds"
    settings = json.loads((store / "study.json").read_text())["settings"]
    cells = study_cells(store)
    names = {f.name for f in fields(Study)}
    kept = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items() if n in names}
    model = {m if m != settings["suite"] else "" for m in cells.model}
    return Study(**kept | dict(prediction_precision=predicted_precisions(cells)[-1], models=tuple(sorted(model)),
                               intermediates=tuple(dict.fromkeys(cells.intermediate)),
                               targets=tuple(dict.fromkeys(cells.target)), seeds=tuple(sorted(cells.seed.dropna().unique().tolist()))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", help="folder of the user's own data, as for `xitcal run`")
    parser.add_argument("--name", default="default study", help="what the table calls this study")
    parser.add_argument("--workers", type=int, help="stages that ran side by side; default: one for each core")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.data: os.environ["XITCAL_DATA"] = args.data
    store, began = Store(args.store, create=False), time.perf_counter()
    plan = make_plan(study_of(args.store))
    costs = estimate(plan, speeds=probed_speeds(plan, args.workers or default_workers()))
    print(f"planned in {time.perf_counter() - began:.1f} s")
    done = costs[[store.published(n) for n in costs.index]]
    done = done.assign(took=[store.manifest(n)["seconds"] for n in done.index],
                       task=[" + ".join(t["name"] for t in f.get("tasks") or [f["task"]]) for f in (plan.stages[n].facts for n in done.index)])
    beside = [n * KINDS[f["task"]["kind"]].row_seconds if "task" in f else 0. for n, f in zip(done.examples, (plan.stages[n].facts for n in done.index))]
    done = done.assign(model=done.seconds - beside, rows=done.examples.where(done.phase == "prediction"))
    table = done.groupby(["phase", "task"]).agg(stages=("took", "size"), thought=("seconds", "sum"), took=("took", "sum"), model=("model", "sum"),
                                                rows=("rows", "sum")).reset_index()
    table = table.assign(row_ms=(1000 * (table.took - table.model) / table.rows.where(table.rows > 0)).round(2)).drop(columns=["model", "rows"])
    table.loc[len(table)] = ["all", "all", len(done), done.seconds.sum(), done.took.sum(), float("nan")]
    table = table.assign(study=args.name, ratio=(table.thought / table.took).round(3), bf16=multiplies_bf16())
    old = pd.read_csv(args.out).query("study != @args.name") if args.out.exists() else None
    table = pd.concat([old, table[["study", "phase", "task", "stages", "thought", "took", "ratio", "row_ms", "bf16"]]], ignore_index=True)
    table.round({"thought": 1, "took": 1}).to_csv(args.out, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
