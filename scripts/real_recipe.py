"""English learning curves on the real data, from which the recipe of the study on real language is chosen.

    python scripts/real_recipe.py --data DATA --model build/e5-small

Each line of `TRIALS` is one training without an intermediate task. Only English rows are read: training rows, and validation rows that
no recalibrator or test uses. After each half epoch the script adds a row to studies/real/recipe.csv: accuracy, the negative
log-likelihood of the right decision in nats, and mean confidence. Trials that the table holds are not run again."""
import argparse
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from xitcal.data.suites import find_suite
from xitcal.kinds.registry import kind_of
from xitcal.training.embedding_rows import whole_embeddings
from xitcal.training.predict import predict
from xitcal.training.trainer import Material, Options, Training

root = Path(__file__).parents[1]
OUT = root / "studies" / "real" / "recipe.csv"


@dataclass(frozen=True)
class Trial:
    "One training on English rows"
    task: str            # That is learnt
    rows: int            # Most training rows
    epochs: float        # Passes over them
    rate: float = 5e-5   # Peak learning rate of the encoder
    head_rate: float = 20. # Learning rate of the head, as a multiple
    seed: int = 100      # None of the study's seeds


TRIALS = (
    Trial("udpos", 6000, 3), Trial("panx", 8000, 3), Trial("udpos", 2000, 3, 2e-4, 5.), Trial("panx", 3000, 3, 2e-4, 5.), Trial("udpos", 3000, 3, 2e-4, 5.),
    Trial("mnli", 10071, 1, 1e-4, 10.), Trial("mnli", 10071, 2, 1e-4, 10.), Trial("pawsx", 1600, 4, 1e-4, 10.), Trial("pawsx", 1600, 8, 1e-4, 10.),
    Trial("pawsx", 1600, 5, 1e-4, 10.),
    Trial("xnli", 10071, 2, 1e-4, 10.), Trial("squad", 1500, 2, 2e-4, 5.), Trial("tydiqa", 1500, 4, 2e-4, 5.), Trial("squad", 1500, 4, 2e-4, 5.),
    Trial("mnli", 10071, 2),
    Trial("mnli", 10071, 1, 2e-4, 5.),
)


def scores(model, tokenizer, task, rows, recipe) -> dict:
    "How right and how confident a model is on English validation rows"
    events = predict(model, tokenizer, task, rows, recipe).to_pandas()
    events = events[events.event == kind_of(task).event_kinds[0]]
    log_p = [z[y] - np.logaddexp.reduce(z) if y >= 0 else np.nan for z, y in zip(events.logits.map(lambda z: np.asarray(z, float)), events.label)]
    majority = events.label_text.value_counts(normalize=True).iloc[0]
    return dict(decisions=len(events), accuracy=events.correct.mean(), nll=-np.nanmean(log_p), confidence=events.confidence.mean(),
                majority=majority, listed=np.isfinite(log_p).mean())


def curve(trial: Trial, suite, model: str, add) -> None:
    "Train one trial; `add` gets a row after each half epoch"
    task = suite.tasks[trial.task]
    rows = suite.rows(trial.task, "train", ["en"], trial.rows)
    validation = suite.rows(trial.task, "validation", ["en"], 400)
    recipe = replace(task.recipe, batch_size=32, learning_rate=trial.rate, head_rate=trial.head_rate, epochs=trial.epochs, max_length=256,
                     evaluate_every=0, warmup=.1, weight_decay=0., keep_best=False)
    losses = []
    with tempfile.TemporaryDirectory() as work:
        training = Training(model, [Material(task, rows)], recipe, trial.seed, Path(work), Options(save_seconds=1e9))
        points = {max(1, round(len(training.steps) * i / (2 * trial.epochs))) for i in range(1, round(2 * trial.epochs) + 1)}

        def on_step(done, total):
            if done not in points: return
            losses[:] = [h["loss"] for h in training.history if "loss" in h]
            with whole_embeddings(training._encoder(), training.rows):
                found = scores(training.models[trial.task], training.tokenizer, task, validation, recipe)
            add(dict(step=done, steps=total, epoch=round(done / total * trial.epochs, 2), loss=np.mean(losses[-max(1, total // 10):])) | found)
        training.options.on_step = on_step
        training.run()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the real data, as for `xitcal run --data`")
    parser.add_argument("--model", required=True, help="folder or hub id of the encoder")
    parser.add_argument("--task", help="only trials of these tasks, by comma; default: all in turn")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    os.environ["XITCAL_DATA"] = args.data
    suite = find_suite("xtreme")
    table = pd.read_csv(args.out).to_dict("records") if args.out.exists() else []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for trial in TRIALS:
        if args.task and trial.task not in args.task.split(","): continue
        facts = {n: v for n, v in vars(trial).items()}
        if any(all(r[n] == v for n, v in facts.items()) and r["step"] == r["steps"] for r in table): continue
        table = [r for r in table if not all(r[n] == v for n, v in facts.items())] # begun and broken off

        def add(row):
            table.append(facts | row)
            pd.DataFrame(table).to_csv(args.out, index=False, float_format="%.5g")
            print({**facts, **row}, flush=True)
        curve(trial, suite, args.model, add)


if __name__ == "__main__":
    main()
