"""How plan, store and analysis grow with stages, events and languages: `python benchmarks/scale.py`

Nothing is trained. Stores of about 10^2, 10^3 and 10^4 stages get made-up predictions, which the store's own code publishes, so that their layout
is true. Each piece of work runs in a process of its own on one thread; benchmarks/scale.csv gets, for each work and size, the processor seconds of the
work alone (`seconds`, imports apart), of the imports (`imports`), and the most memory that any process of it had (`mebibytes`; `before` is what
imports take). Two more axes keep the 10^2 stages and grow the events of a prediction, or its languages. `--axis`, `--size` and `--work` choose
some of it; rows of the table that are not measured again stay."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")
os.environ.setdefault("TQDM_DISABLE", "1")

OUT = Path(__file__).with_suffix(".csv")
# seeds and conditions; with three targets, (7 conditions - 1) seeds stages and the encoder
GRIDS = {100: (2, 7), 1000: (10, 14), 10000: (60, 24)}
LANGUAGES, EXAMPLES = 4, 10 # of a prediction; examples of a language
# by axis: (stages, languages, examples of a language)
AXES = {"stages": [(n, LANGUAGES, EXAMPLES) for n in GRIDS],
        "events": [(100, LANGUAGES, n) for n in (EXAMPLES, 10 * EXAMPLES, 100 * EXAMPLES)],
        "languages": [(100, n, EXAMPLES) for n in (LANGUAGES, 2 * LANGUAGES, 4 * LANGUAGES)]}
TARGETS, POOL = ("xnli", "panx", "udpos"), 8 # and how many made-up models there are of each
COLUMNS = ["axis", "work", "stages", "predictions", "languages", "events", "seconds", "imports", "mebibytes", "before"]


def conditions() -> list[str]:
    from xitcal.data.tasks import INTERMEDIATES, MASKED, MULTI, NONE
    return [NONE, *INTERMEDIATES, *(f"{t}:mlm" for t in INTERMEDIATES), MULTI, f"{MULTI}:mlm", MASKED.name, "mnli:shuffled", "hellaswag:shuffled"]


def study_of(stages: int, languages: int):
    "A study of about so many stages"
    from xitcal.data.suites import find_suite
    from xitcal.study.grid import Study
    seeds, n = GRIDS[stages]
    tasks = find_suite("embedded").tasks
    codes = [c for c in tasks["xnli"].languages if all(c in tasks[t].languages for t in TARGETS)]
    codes += [c for t in TARGETS for c in tasks[t].languages if c not in codes]
    return Study(intermediates=tuple(conditions()[:n]), targets=TARGETS, seeds=tuple(range(seeds)), languages=tuple(dict.fromkeys(["en", *codes]))[:languages])


def made_events(target: str, which: int, codes: list[str], n: int, split: str):
    "Made-up events of one of `POOL` models, with `split`"
    import pyarrow as pa

    from xitcal.core.schema import EVENT_SCHEMA
    from xitcal.predictions.events import toy_predictions
    table = toy_predictions([target], [("none", "mnli")[which % 2]], codes, [which], n)
    if target == "panx":
        units = pa.array([f"{u}:{int(u) + 1}:LOC" for u in table["unit"].to_pylist()])
        names, more = table.column_names, table
        for name, column in (("event", pa.array(["entity"] * len(table))), ("unit", units)): more = more.set_column(names.index(name), name, column)
        table = pa.concat_tables([table, more])
    for f in EVENT_SCHEMA:
        if f.name not in table.column_names: table = table.append_column(f.name, pa.nulls(len(table), f.type))
    return table.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA).add_column(0, "split", pa.array([split] * len(table)))


def make_store(path: Path, stages: int, languages: int, n: int) -> None:
    "Publish every stage of a study, with small results"
    from functools import cache

    import pyarrow as pa

    from xitcal.study.grid import make_plan
    from xitcal.study.ledger import record_study
    from xitcal.study.stages import write_predictions
    from xitcal.study.store import Store

    @cache
    def events(target, which, codes):
        return pa.concat_tables([made_events(target, which, list(codes), n, "test"), made_events(target, which, ["en"], n, "calibration")])

    plan, store = make_plan(study_of(stages, languages)), Store(path)
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


def do_plan(at, study):
    from xitcal.study.grid import make_plan
    from xitcal.study.plan_text import cost_text, recipe_text
    def work():
        plan = make_plan(study())
        return f"{recipe_text(plan)}\n\n{cost_text(plan, 1, 1e11)}"
    return work

def do_rerun(at, study):
    from xitcal.study.runner import run_study
    return lambda: run_study(study(), at / "store", 1, progress=False)

def do_compact(at, study):
    from xitcal.study.summarise import store_results
    return lambda: store_results(at / "store", progress=False)

def do_tidy(at, study):
    from xitcal.study.tidy import tidy_results
    return lambda: tidy_results(at / "store", progress=False)

def do_predictions(at, study):
    from xitcal.study.export import export_table
    return lambda: export_table(at / "store", at / "all.parquet")

def do_calibrate(at, study):
    from xitcal import cli
    return lambda: cli.app(["calibrate", str(at / "all.parquet"), "--by", "target,event,language"], standalone_mode=False)

def do_report(at, study):
    from xitcal.report.html import write_report
    return lambda: write_report(at / "store", at / "report.html", progress=False)

# in an order in which each finds what it needs: `calibrate` what `predictions` has written, `report` (its pages alone) what `compact` has summed up
WORK = dict(plan=do_plan, rerun=do_rerun, predictions=do_predictions, calibrate=do_calibrate, compact=do_compact, tidy=do_tidy, report=do_report)


def highest() -> float: return next(int(x.split()[1]) for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")) / 1024


def child(what: str, at: Path, stages: int, languages: int) -> None:
    "In a process of its own: do one piece of work; its last line says what the process had before it"
    work = WORK[what](at, lambda: study_of(stages, languages))
    imports, before = time.process_time(), highest()
    work()
    print(f"\n{json.dumps(dict(imports=imports, before=before, highest=highest()))}")


def measured(what: str, at: Path, stages: int, languages: int) -> dict:
    "Processor seconds and memory of one piece of work, of its processes together and of the largest"
    code = [sys.executable, __file__, "--child", what, "--at", str(at), "--size", str(stages), "--languages", str(languages)]
    out = at / "out.txt"
    with open(out, "w") as file: process = subprocess.Popen(code, stdout=file)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode: raise SystemExit(f"{what} of {stages} stages ended with {process.returncode}")
    said = json.loads(out.read_text().splitlines()[-1])
    return dict(seconds=used.ru_utime + used.ru_stime - said["imports"], imports=said["imports"], before=said["before"],
                mebibytes=max(said["highest"], used.ru_maxrss / 1024 if what == "report" else 0))


def counted(at: Path) -> tuple[int, int]:
    "Predictions of a store, and their test events"
    code = ("import sys, json; from pathlib import Path; import pyarrow.parquet as pq; p = sorted(Path(sys.argv[1]).glob('*/predictions.parquet')); "
            "print(json.dumps([len(p), sum((pq.read_table(f, columns=['split'])['split'].to_numpy() == 'test').sum().item() for f in p)]))")
    return tuple(json.loads(subprocess.run([sys.executable, "-c", code, str(at / "store/stages")], capture_output=True, text=True, check=True).stdout))


def keep(rows: list[dict], path: Path) -> None:
    "Enter rows in the table in place of those of the same work and size"
    import pandas as pd
    key, new = ["axis", "work", "stages", "languages", "events"], pd.DataFrame(rows, columns=COLUMNS)
    old = [pd.read_csv(path)] if path.exists() else []
    table = pd.concat([*old, new.round({"seconds": 2, "imports": 2, "mebibytes": 0, "before": 0})], ignore_index=True)
    table.drop_duplicates(key, keep="last").sort_values(["axis", "work", "stages", "events"], kind="stable").to_csv(path, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=AXES, nargs="*", default=list(AXES))
    parser.add_argument("--size", type=int, help="stages of the only size that is measured")
    parser.add_argument("--work", choices=WORK, nargs="*", default=list(WORK))
    parser.add_argument("--keep", type=Path, help="folder in which stores stay and are found again")
    parser.add_argument("--out", type=Path, default=OUT)
    for hidden in ("--child", "--at", "--languages", "--make"): parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child: return child(args.child, Path(args.at), args.size, int(args.languages))
    if args.make: return make_store(Path(args.at) / "store", args.size, int(args.languages), int(args.make))
    for axis in args.axis:
        for stages, languages, n in AXES[axis]:
            if args.size not in (None, stages): continue
            with tempfile.TemporaryDirectory() as temporary:
                at = Path(args.keep or temporary) / f"{stages}-{languages}-{n}"
                if not (at / "store").exists():
                    at.mkdir(parents=True)
                    subprocess.run([sys.executable, __file__, "--at", str(at), "--make", str(n), "--size", str(stages), "--languages", str(languages)], check=True)
                predictions, events = counted(at)
                for what in args.work:
                    found = dict(axis=axis, work=what, stages=stages, predictions=predictions, languages=languages, events=events)
                    found |= measured(what, at, stages, languages)
                    print({k: round(v, 1) if isinstance(v, float) else v for k, v in found.items()}, flush=True)
                    keep([found], args.out)


if __name__ == "__main__":
    main()
