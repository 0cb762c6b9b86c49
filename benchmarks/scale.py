"""How plan, store and analysis grow with stages, events and languages: `python benchmarks/scale.py`

Nothing is trained. Stores of about 10^2, 10^3 and 10^4 stages get made-up predictions, which the store's own code publishes, so that their layout
is true. Each piece of work runs in a process of its own on one thread, which begins with all imports done; benchmarks/scale.csv gets, for each work and
size, its processor seconds (`seconds`) and the most memory that it had (`mebibytes`; `before` is what the imports take). Two more axes keep the 10^2
stages and grow the events of a prediction, or its languages. `--axis`, `--size` and `--work` choose some of it; rows of the table that are not
measured again stay. benchmarks/scale_growth.csv gets the exponents of growth and what they say of 10^5 stages, 10^9 events and 500 languages."""
import argparse
import json
import math
import os
import tempfile
import traceback
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

import xitcal.report.prediction_text  # noqa: E402, F401
from xitcal import cli  # noqa: E402
from xitcal.core.schema import EVENT_SCHEMA  # noqa: E402
from xitcal.data.suites import find_suite  # noqa: E402
from xitcal.data.tasks import INTERMEDIATES, MASKED, MULTI, NONE  # noqa: E402
from xitcal.predictions.events import toy_predictions  # noqa: E402
from xitcal.report.html import write_report  # noqa: E402
from xitcal.study.export import export_table  # noqa: E402
from xitcal.study.grid import Study, make_plan  # noqa: E402
from xitcal.study.ledger import record_study  # noqa: E402
from xitcal.study.plan_text import cost_text, recipe_text  # noqa: E402
from xitcal.study.runner import run_study  # noqa: E402
from xitcal.study.stages import write_predictions  # noqa: E402
from xitcal.study.store import Store  # noqa: E402
from xitcal.study.summarise import store_results  # noqa: E402
from xitcal.study.tidy import tidy_results  # noqa: E402

OUT = Path(__file__).with_suffix(".csv")
# seeds and conditions by about how many stages they make
GRIDS = {100: (2, 7), 1000: (10, 14), 10000: (60, 24)}
LANGUAGES, EXAMPLES = 4, 10 # of a prediction; examples of a language
# by axis: (stages, languages, examples of a language)
AXES = {"stages": [(n, LANGUAGES, EXAMPLES) for n in GRIDS],
        "events": [(100, LANGUAGES, n) for n in (EXAMPLES, 10 * EXAMPLES, 100 * EXAMPLES)],
        "languages": [(100, n, EXAMPLES) for n in (LANGUAGES, 2 * LANGUAGES, 4 * LANGUAGES)]}
TARGETS, POOL = ("xnli", "panx", "udpos"), 8 # and how many made-up models there are of each
CONDITIONS = (NONE, *INTERMEDIATES, *(f"{t}:mlm" for t in INTERMEDIATES), MULTI, f"{MULTI}:mlm", MASKED.name, "mnli:shuffled", "hellaswag:shuffled")
AIMS = {"stages": 10**5, "events": 10**9, "languages": 500}
MOST = {"seconds": 24 * 3600, "mebibytes": 16 * 1024} # of one piece of work: a day of one core, the memory of a laptop
SMALLEST = {"seconds": .01, "mebibytes": 1} # below which a measurement is none
COLUMNS = ["axis", "work", "stages", "predictions", "languages", "events", "seconds", "mebibytes", "before"]


def stage_count(size: int) -> int:
    "Stages of a study beside the encoder: none has three trainings and three predictions, every other condition a training more"
    seeds, n = GRIDS[size]
    return seeds * (7 * n - 1)


def study_of(stages: int, languages: int) -> Study:
    "A study of about so many stages"
    seeds, n = GRIDS[stages]
    tasks = find_suite("embedded").tasks
    codes = sorted({c for t in TARGETS for c in tasks[t].languages}, key=lambda c: (c != "en", -sum(c in tasks[t].languages for t in TARGETS), c))
    return Study(intermediates=CONDITIONS[:n], targets=TARGETS, seeds=tuple(range(seeds)), languages=tuple(codes[:languages]))


def made_events(target: str, which: int, codes: list[str], n: int, split: str):
    "Made-up events of one of `POOL` models, with `split`"
    table = toy_predictions([target], [("none", "mnli")[which % 2]], codes, [which], n)
    if target == "panx":
        units = pa.array([f"{u}:{int(u) + 1}:LOC" for u in table["unit"].to_pylist()])
        names, more = table.column_names, table
        for name, column in (("event", pa.array(["entity"] * len(table))), ("unit", units)): more = more.set_column(names.index(name), name, column)
        table = pa.concat_tables([table, more])
    for f in EVENT_SCHEMA:
        if f.name not in table.column_names: table = table.append_column(f.name, pa.nulls(len(table), f.type))
    return table.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA).add_column(0, "split", pa.array([split] * len(table)))


def make_store(path: Path, study: Study, n: int) -> None:
    "Publish every stage of a study, with small results"
    @cache
    def events(target, which, codes):
        return pa.concat_tables([made_events(target, which, list(codes), n, "test"), made_events(target, which, ["en"], n, "calibration")])

    plan, store = make_plan(study), Store(path)
    record_study(store, plan)
    cells = {c.stage: c for c in plan.cells}
    order = {name: i for i, name in enumerate(plan.study.intermediates)}
    for stage in plan.stages.values():
        if stage.phase == "pretrained": continue
        with store.publishing(stage.name, dict(title=stage.title, facts=stage.facts, inputs=list(stage.inputs))) as folder:
            result = dict(precision="fp32", sources=[], cut=[])
            if stage.phase == "prediction":
                cell = cells[stage.name]
                which = (2 * cell.seed + (order[cell.intermediate] > 0)) % POOL
                write_predictions(events(cell.target, which, tuple(stage.facts["languages"])), cell, Path(folder) / "predictions.parquet")
            else: (Path(folder) / "config.json").write_text("{}")
            (Path(folder) / "result.json").write_text(json.dumps(result))


def plan_text(at, study):
    plan = make_plan(study)
    return f"{recipe_text(plan)}\n\n{cost_text(plan, 1, 1e11)}"  # operations are counted: a probe takes as long for any plan


def calibrate(at, study):
    with redirect_stdout(None): cli.app(["calibrate", str(at / "all.parquet"), "--by", "target,event,language"], standalone_mode=False)


# in an order in which each finds what it needs: `calibrate` what `predictions` has written, `report` (its pages) what `compact` has summed up
WORK = {"plan": plan_text,
        "rerun": lambda at, study: run_study(study, at / "store", 1, progress=False),
        "predictions": lambda at, study: export_table(at / "store", at / "all.parquet"),
        "calibrate": calibrate,
        "compact": lambda at, study: store_results(at / "store", progress=False),
        "tidy": lambda at, study: tidy_results(at / "store", progress=False),
        "report": lambda at, study: write_report(at / "store", at / "report.html", progress=False)}


def highest() -> float: return next(int(x.split()[1]) for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")) / 1024


def apart(work) -> dict:
    "Do some work in a process of its own, which begins with all imports: its processor seconds, and the most memory of its processes"
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            before = highest()
            work()
            os.write(writing, json.dumps(dict(before=before, highest=highest())).encode())
            code = 0
        except BaseException: traceback.print_exc()
        finally: os._exit(code)
    os.close(writing)
    _, status, used = os.wait4(child, 0)
    with open(reading) as file: said = file.read()
    if status: raise SystemExit("This work failed.")
    said = json.loads(said)
    # of the child and, for `report`, of the processes that it waited for
    return dict(seconds=used.ru_utime + used.ru_stime, mebibytes=max(said["highest"], used.ru_maxrss / 1024), before=said["before"])


def counted(at: Path) -> tuple[int, int]:
    "Predictions of a store, and their events, those for recalibration among them"
    rows = [pq.read_metadata(f).num_rows for f in (at / "store/stages").glob("*/predictions.parquet")]
    return len(rows), sum(rows)


def keep(rows: list[dict], path: Path) -> None:
    "Enter rows in the table in place of those of the same work and size"
    key, new = ["axis", "work", "stages", "languages", "events"], pd.DataFrame(rows, columns=COLUMNS)
    old = [pd.read_csv(path)] if path.exists() else []
    table = pd.concat([*old, new.round({"seconds": 2, "mebibytes": 0, "before": 0})], ignore_index=True)
    table.drop_duplicates(key, keep="last").sort_values(["axis", "work", "stages", "events"], kind="stable").to_csv(path, index=False)


def _growth_of(part: pd.DataFrame, measure: str) -> dict:
    "Growth of one piece of work along an axis, from its two largest sizes; memory is that beyond the imports"
    axis = part.axis.iloc[0]
    first, last = part.sort_values(axis).tail(2).to_dict("records")
    base, most = last["before"] if measure == "mebibytes" else 0, MOST[measure]
    low, high = (max(row[measure] - (row["before"] if measure == "mebibytes" else 0), SMALLEST[measure]) for row in (first, last))
    size, exponent = last[axis], math.log(high / low) / math.log(last[axis] / first[axis])
    step = max(0., (high - low) / (size - first[axis]))  # cost of one more stage, event or language
    if exponent > 1:
        at_aim, largest = high * (AIMS[axis] / size) ** exponent, size * ((most - base) / high) ** (1 / exponent)
    else: at_aim, largest = high + step * (AIMS[axis] - size), size + (most - base - high) / step if step else math.inf
    return dict(measure=measure, size=size, value=base + high, exponent=exponent, aim=AIMS[axis], at_aim=base + at_aim, most=most, largest=largest)


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Exponents of all measurements, what they say of `AIMS`, and the largest size under `MOST`: seconds and MiB of one process. Beyond the largest
    size, cost that grows faster than the size is taken to go on with its power, and other cost with the same amount for each stage, event or
    language as between the two largest sizes: a constant part would make a power too small"""
    parts = [dict(axis=axis, work=work) | _growth_of(part, measure) for (axis, work), part in table.groupby(["axis", "work"], sort=False)
             if len(part) > 1 for measure in MOST]
    return pd.DataFrame(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=AXES, nargs="*", default=list(AXES))
    parser.add_argument("--size", type=int, help="stages of the only size that is measured")
    parser.add_argument("--work", choices=WORK, nargs="*", default=list(WORK))
    parser.add_argument("--keep", type=Path, help="folder in which stores stay and are found again")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    for axis in args.axis:
        for stages, languages, n in AXES[axis]:
            if args.size not in (None, stages): continue
            with tempfile.TemporaryDirectory() as temporary:
                at, study = Path(args.keep or temporary) / f"{stages}-{languages}-{n}", study_of(stages, languages)
                if args.work != ["plan"] and not (at / "store").exists(): # a plan needs no store
                    at.mkdir(parents=True)
                    apart(lambda: make_store(at / "store", study, n))
                predictions, events = counted(at) if (at / "store").exists() else (len(study.seeds) * len(study.intermediates) * len(TARGETS), 0)
                for what in args.work:
                    found = dict(axis=axis, work=what, stages=stage_count(stages), predictions=predictions, languages=languages, events=events)
                    found |= apart(lambda: WORK[what](at, study))
                    print({k: round(v, 1) if isinstance(v, float) else v for k, v in found.items()}, flush=True)
                    keep([found], args.out)
    growth(pd.read_csv(args.out)).round({"value": 2, "exponent": 3, "at_aim": 1, "largest": 0}).to_csv(
        args.out.with_name(f"{args.out.stem}_growth.csv"), index=False)


if __name__ == "__main__":
    main()
