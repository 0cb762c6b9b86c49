"""What bfloat16 does to predictions: `python benchmarks/prediction_precision.py --store STORE --name NAME`

Every trained model of a store (and the encoder, for targets that are never trained) predicts its target twice in this process, with the encoder in float32
and in bfloat16. benchmarks/prediction_precision.csv gets a row a model, target and measure: the values in both precisions, the change, and its 95 % interval
over examples where there is one. Nothing is written to the store. All measures are of languages other than English:

- changed: share of decisions that are another one; moved and moved_most: mean and largest absolute change of a confidence. Tagging: of words.
- score, accuracy, confidence, signed_ce (confidence − accuracy), ece_15, and the calibration and refinement terms of NLL and Brier score of (confidence,
  correct): mean over languages, of the events that other pages show (PAN-X: entities).
- seconds: processor time, from rows to events.

`--trained FOLDER --target xnli --suite xtreme` compares a model without a store. Rows of other names, models and targets stay in the table."""
import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
import torch  # noqa: E402

from xitcal.calibration.intervals import mean_interval  # noqa: E402
from xitcal.calibration.tables import estimate_table  # noqa: E402
from xitcal.core.errors import XitcalError  # noqa: E402
from xitcal.core.schema import EVENT, OTHERS, PREDICTION_SCHEMA  # noqa: E402
from xitcal.data.suites import find_suite  # noqa: E402
from xitcal.data.tasks import NONE, Task, task_from_facts  # noqa: E402
from xitcal.inference.block_sums import block_table  # noqa: E402
from xitcal.inference.seeds import change_over_seeds, sums_of  # noqa: E402
from xitcal.kinds.retrieval import with_sample_thresholds  # noqa: E402
from xitcal.predictions.events import headline_events, read_events  # noqa: E402
from xitcal.study.ledger import study_cells, study_tasks  # noqa: E402
from xitcal.study.stages import checked_rows  # noqa: E402
from xitcal.study.store import Store  # noqa: E402
from xitcal.training.models import load_tokenizer, load_trained  # noqa: E402
from xitcal.training.predict import predict  # noqa: E402

OUT = Path(__file__).with_suffix(".csv")
KEY = ["encoder", "model", "target"]
COLUMNS = [*KEY, "kind", "measure", "fp32", "bf16", "change", "low", "high", "decisions", "examples", "languages"]
TERMS = ("nll_calibration", "nll_refinement", "brier_calibration", "brier_refinement")
PAIRED = ("score", "accuracy", "confidence", "signed_ce", *TERMS)
PRECISIONS = ("fp32", "bf16")


@dataclass
class Model:
    "A model and what it predicts"
    path: str|Path      # Folder or hub id
    title: str          # For people
    task: Task          # The target
    suite: str          # Where rows come from
    codes: list[str]    # Languages
    rows: int|None      # Most a language


def models_of(store: Path) -> list[Model]:
    "Models of a store whose weights are there; a line for those that are not"
    place, found, seen = Store(store, create=False), [], set()
    suite = next(iter({Store(store, create=False).manifest(s)["facts"]["suite"] for s in study_cells(store).query("done").stage}))
    for cell in study_cells(store).query("done").itertuples():
        made = place.manifest(cell.stage)
        (start,), facts = made["inputs"], made["facts"]
        if (start, cell.target) in seen: continue  # predictions of both precisions have one model
        seen.add((start, cell.target))
        given = start.startswith("pretrained-")
        path = (find_suite(suite).encoder() if cell.model == suite else cell.model) if given else place.folder(start)
        if not given and not any(Path(path).glob("*.safetensors")):
            print(f"{made['title']}: the weights are gone")
            continue
        title = "the encoder" if given else place.manifest(start)["title"]
        found.append(Model(path, title, task_from_facts(facts["task"]), suite, facts["languages"], facts["test_rows"]))
    return found


def predicted(model: Model, bf16: bool) -> tuple[pa.Table, float]:
    "Events of the test rows as a stage makes them, and processor seconds"
    task, tokenizer, loaded = model.task, load_tokenizer(model.path), load_trained(model.path, model.task)
    def run(split, codes, n):
        return predict(loaded, tokenizer, task, checked_rows(model.suite, task.name, split, codes, n), task.recipe, bf16=bf16)
    sample = tuple(c for c in model.codes if c in task.options.get("sample", ()))
    run("test", tuple(model.codes[:1]), 8)  # kernels are prepared; rows are read
    for split, codes, n in (("test", tuple(model.codes), model.rows), ("validation", sample, None)):
        if codes: checked_rows(model.suite, task.name, split, codes, n)
    began = time.process_time()
    events = run("test", tuple(model.codes), model.rows)
    if sample: events = with_sample_thresholds(events, run("validation", sample, None))
    return events, time.process_time() - began


def with_keys(events: pa.Table, model: Model, condition: str) -> pa.Table:
    "Events with keys, as if the precision were a condition: float32 is the baseline"
    keys = dict(model="m", method="full", intermediate=condition, target=model.task.name, seed=0, split="test")
    return pa.table([pa.array([keys[f.name]] * len(events), f.type) if f.name in keys else events[f.name] for f in PREDICTION_SCHEMA],
                    schema=PREDICTION_SCHEMA)


def decisions(tables: list[pa.Table], task: Task) -> pd.DataFrame:
    "Decisions of both, side by side: what was decided, and with which confidence; only parallel examples are the same in all languages"
    columns = ["language", "example", "unit", "prediction_text", "confidence"]
    one, two = (t.to_pandas()[lambda e: (e.event == EVENT[task.kind]) & (e.language != "en")][columns] for t in tables)
    both = one.merge(two, on=columns[:3], suffixes=("", "_bf16"), validate="one_to_one")
    assert len(both) == len(one) == len(two) > 0
    return both if task.parallel else both.assign(example=both.language + " " + both.example)


def of_decisions(both: pd.DataFrame) -> list[dict]:
    "How many decisions change, and how far confidences move"
    group, cluster = np.zeros(len(both), int), pd.factorize(both.example)[0]
    changed = (both.prediction_text != both.prediction_text_bf16).to_numpy(float)
    moved = (both.confidence - both.confidence_bf16).abs().to_numpy()
    def row(measure, value, *more):
        mean, low, high = (float(x[0]) for x in mean_interval(value, *more, group, cluster))
        return dict(measure=measure, change=mean, low=max(min(low, mean), 0.), high=max(high, mean))
    return [row("changed", changed, np.ones(len(both)), np.zeros(len(both))), row("moved", moved, moved, moved),
            dict(measure="moved_most", change=moved.max())]


def of_calibration(tables: list[pa.Table], model: Model, tasks: dict[str, Task]) -> list[dict]:
    "Score and calibration in both precisions, and the change with its interval over examples"
    named = [with_keys(t, model, condition) for t, condition in zip(tables, (NONE, "bf16"))]
    events = read_events(named)
    sums, rows = sums_of(block_table(events, tasks), tasks), []
    for name in PAIRED:
        found = change_over_seeds(sums, name)[lambda t: t.language == OTHERS]
        rows += [dict(measure=name, fp32=r.without, bf16=r.without + r.change, change=r.change, low=r.low, high=r.high) for r in found.itertuples()]
    shown = headline_events(events[events.language.astype(str) != "en"], tasks)
    ece = estimate_table(shown, ("intermediate", "language"), ("ece_15",), draws=2).groupby("intermediate", observed=True).value.mean()
    return [*rows, dict(measure="ece_15", fp32=ece[NONE], bf16=ece["bf16"], change=ece["bf16"] - ece[NONE])]


def compared(model: Model, tasks: dict[str, Task]) -> pd.DataFrame:
    "All measures of one model and target"
    tables, seconds = zip(*(predicted(model, precision == "bf16") for precision in PRECISIONS))
    both = decisions(tables, model.task)
    rows = [*of_decisions(both), *of_calibration(tables, model, tasks), dict(measure="seconds", fp32=seconds[0], bf16=seconds[1])]
    return pd.DataFrame(rows).assign(model=model.title, target=model.task.name, kind=model.task.kind, decisions=len(both),
                                     examples=both.example.nunique(), languages=both.language.nunique())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="models of a store")
    parser.add_argument("--trained", help="or the folder of one model")
    parser.add_argument("--target", help="what it predicts; of a store only this")
    parser.add_argument("--title", help="what the table calls the model of --trained")
    parser.add_argument("--suite", default="embedded", help="of --trained (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="most rows a language; default: those of the store")
    parser.add_argument("--data", help="folder of the user's own data, as for `xitcal run`")
    parser.add_argument("--name", required=True, help="what the table calls the encoder")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.data: os.environ["XITCAL_DATA"] = args.data
    if bool(args.store) == bool(args.trained): raise XitcalError("Give --store or --trained.")
    torch.set_num_threads(1)
    tasks = study_tasks(args.store) if args.store else find_suite(args.suite).tasks
    found = models_of(args.store) if args.store else [
        Model(args.trained, args.title or Path(args.trained).name, tasks[args.target], args.suite, list(tasks[args.target].languages), args.rows)]
    for model in found:
        if args.target not in (None, model.task.name): continue
        if args.rows: model.rows = args.rows
        new = compared(model, tasks).assign(encoder=args.name)
        print(new.drop(columns=["encoder", "model"]).to_string(index=False), flush=True)
        old = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=COLUMNS)
        kept = old[[tuple(k) != (args.name, model.title, model.task.name) for k in old[KEY].to_numpy()]]
        table = new[COLUMNS] if kept.empty else pd.concat([kept, new[COLUMNS]], ignore_index=True)
        table.to_csv(args.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
