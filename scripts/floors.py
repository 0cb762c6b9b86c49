"""What the embedded encoder reaches without intermediate training: `python scripts/floors.py` writes benchmarks/floors.csv (half an hour on one core).

Every task is trained with its recipe on its English training rows, two seeds, and scored in all its languages beside what the
posterior's most probable decision scores on the same rows (`bound`). Retrieval tasks are not trained.
"""
import argparse
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch

from xitcal.data.embedded.suite import EmbeddedSuite
from xitcal.predictions.events import read_events
from xitcal.predictions.scores import example_scores, score_table
from xitcal.training.models import load_encoder, load_tokenizer, load_trained
from xitcal.training.predict import predict
from xitcal.training.trainer import Material, Options, train

SUITE = EmbeddedSuite()


def trained(task, encoder, seed, folder):
    "A model trained on the English rows that train a task, and how it is loaded"
    if task.test_only: return load_encoder(encoder), load_tokenizer(encoder)
    source = SUITE.tasks[task.trained_on]
    place = Path(folder) / f"{source.name}-{seed}"
    if not place.exists():
        material = Material(source, SUITE.rows(source.name, "train", n=source.recipe.rows), None)
        train(encoder, [material], source.recipe, seed, place, Path(folder) / f"work-{source.name}-{seed}", Options())
    return load_trained(place, task), load_tokenizer(place)


def scores(task, encoder, seed, folder, languages, n):
    "Headline score and bound in each language"
    model, tokenizer = trained(task, encoder, seed, folder)
    codes = [code for code in languages or task.languages if code in task.languages]
    table = predict(model, tokenizer, task, SUITE.rows(task.name, "test", codes, n), task.recipe)
    for name, key in dict(model="embedded", method="full", intermediate="none", target=task.name, seed=seed).items():
        table = table.append_column(name, pa.array([key] * len(table)))
    found = score_table(example_scores(read_events(table), SUITE.tasks), tasks=SUITE.tasks)
    found = found[found.metric == "em" if task.kind == "answers" else found.headline]  # the bound of answers is of exact match
    return found.assign(kind=task.kind)[["target", "kind", "seed", "language", "metric", "value", "bound", "examples"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, default=SUITE.encoder())
    parser.add_argument("--tasks", default=",".join(SUITE.tasks))
    parser.add_argument("--languages", help="codes; default: all of a task")
    parser.add_argument("--rows", type=int, default=300, help="test rows a language")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/floors.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.tasks.split(","):
            task = SUITE.tasks[name]
            for seed in range(1 if task.test_only else args.seeds):
                found.append(scores(task, args.encoder, seed, folder, args.languages and args.languages.split(","), args.rows))
                last = found[-1].set_index("language")
                others = last.drop(index="en", errors="ignore")
                english = last.loc["en", ["value", "bound"]].astype(float).round(3).tolist() if "en" in last.index else ""
                print(name, seed, "English", english, "others", others[["value", "bound"]].mean().round(3).tolist(), flush=True)
                args.out.parent.mkdir(exist_ok=True)
                pd.concat(found).round(4).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
