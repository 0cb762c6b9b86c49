"""What Venn–Abers and structured matrix scaling are worth beside xitcal's other families, where the truth is known: `python benchmarks/recalibrators.py STORE`

Reads the predictions of a study on the embedded suite whose rows have a known posterior, and writes benchmarks/recalibrators.csv. Each family is
fitted on n labelled examples, of English calibration rows or of the test rows of the language itself. It is judged on test rows that it was not fitted
on by its divergence: the mean over rows of the Kullback-Leibler divergence in nats of its distribution from the posterior. No label judges, so there is
no noise of labels. The means are over seeds and conditions (of tagging: one seed, four languages); the intervals are t-intervals over languages. The
committed table is of

    xitcal run --store study-recalibrators --intermediate none,mnli --target xnli,pawsx,udpos --language en,de,sw,zh,ar,fi,hi,tr --seeds 0,1

`--labels` judges by the NLL of labels instead, as on real data, where no posterior is known. benchmarks/recalibrators_real.csv is of XNLI (three
seeds) and UD-POS (seed 0, four languages) after half of MNLI's change (scripts/real_study.py):

    python benchmarks/recalibrators.py study-real/{0,1,2}-mnli@0.5 --labels --out benchmarks/recalibrators_real.csv
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax, xlogy
from scipy.stats import t
from tqdm.auto import tqdm

from xitcal.calibration.recalibrators import RECALIBRATORS, VennAbers
from xitcal.calibration.repair import Recalibration, labelled_part
from xitcal.core.schema import padded_logits
from xitcal.study.ledger import load_predictions

root = Path(__file__).parents[1]
SIZES = (50, 200)
TAGGED = ("en", "sw", "zh", "tr")  # languages of tagging, whose 17 classes and many rows take long; of seed 0


class VennAbersClasses:
    "Venn-Abers of each class against the rest, divided by their sum"

    def fit(self, logits, label):
        p = np.exp(log_softmax(padded_logits(logits), axis=1))
        self.each_ = [VennAbers().fit(column, np.asarray(label) == k) for k, column in enumerate(p.T)]
        return self

    def transform(self, logits):
        p = np.exp(log_softmax(padded_logits(logits), axis=1))
        found = np.column_stack([one.transform(column) for one, column in zip(self.each_, p.T)])
        return np.log(found / found.sum(1, keepdims=True))


CANDIDATES = {"venn_abers_classes": ("classes", VennAbersClasses)}  # that xitcal does not have
TRIED = ("venn_abers", *CANDIDATES, "structured")  # what is compared with the best of the others
FAMILIES = ("none", "temperature", "vector", "matrix", "dirichlet", "platt", "beta", "isotonic", *TRIED)


def divergence(table: pd.DataFrame) -> np.ndarray:
    "KL(posterior, predicted) of every row, in nats"
    p, logs = np.stack(table.posterior).astype(float), log_softmax(np.stack(table.logits).astype(float), axis=1)
    p /= p.sum(1, keepdims=True)
    return (xlogy(p, p) - p * np.maximum(logs, np.log(1e-7))).sum(1)


def label_nll(table: pd.DataFrame) -> np.ndarray:
    "NLL of the label of every row, in nats"
    logs = np.maximum(log_softmax(np.stack(table.logits).astype(float), axis=1), np.log(1e-7))
    return -logs[np.arange(len(table)), table.label.astype(int)]


def trials(test: pd.DataFrame, english: pd.DataFrame):
    "(regime, n, rows that fit, rows that judge), language by language"
    for n in SIZES:
        for language, rows in test.groupby("language", sort=False):
            if english.example.nunique() > n:
                yield "english", n, language, labelled_part(english, n), rows
            if rows.example.nunique() >= 2 * n:
                part = labelled_part(rows, n)
                yield "language", n, language, part, rows[~rows.example.isin(set(part.example))]


def judged(stores: list[Path], labels: bool) -> pd.DataFrame:
    "Divergence of every family in every trial, or with `labels` its NLL"
    columns, found = ["intermediate", "target", "seed", "split", "language", "example", "logits", "label", "posterior", "event"], []
    table = pd.concat([load_predictions(store, split=None).select(columns).to_pandas() for store in stores])
    table = table[table.event.isin(["label", "token"]) & table.target.isin(["xnli", "pawsx", "udpos"])]
    if not labels: table = table[table.posterior.notna()]
    measure = label_nll if labels else divergence
    models = table.groupby(["target", "intermediate", "seed"], sort=False)
    for key, model in tqdm(models, "models"):
        if model.event.iloc[0] == "token":
            if key[-1]: continue
            model = model[model.language.isin(TAGGED)]
        test, english = model[model.split == "test"], model[model.split == "calibration"]
        fitted = {}
        for regime, n, language, fit, rows in trials(test, english):
            for name in FAMILIES:
                again = (name, n) if regime == "english" else (name, n, language)
                if again not in fitted:
                    fitted[again] = Recalibration(name).fit(fit.drop(columns="language"))
                after = fitted[again].transform(rows, same_rows=True)
                found.append(
                    dict(zip(("target", "intermediate", "seed"), key))
                    | dict(regime=regime, n=n, language=language, recalibrator=name, divergence=measure(after).mean())
                )
    return pd.DataFrame(found)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    "Mean divergence over languages, and how far each family is from the best that is not tried here, by the same trials"
    each = table.groupby(["target", "regime", "n", "recalibrator", "language"], sort=False).divergence.mean().reset_index()
    own = each[~each.recalibrator.isin(TRIED)].groupby(["target", "regime", "n", "recalibrator"], sort=False).divergence.mean()
    best = own.groupby(["target", "regime", "n"]).idxmin().map(lambda key: key[-1]).rename("best").reset_index()
    each = each.merge(best, on=["target", "regime", "n"])
    theirs = each[each.recalibrator == each.best].rename(columns=dict(divergence="reference"))
    each = each.merge(theirs.drop(columns=["recalibrator", "best"]), on=["target", "regime", "n", "language"])
    each["change"] = each.divergence - each.reference
    found = (
        each.groupby(["target", "regime", "n", "recalibrator", "best"], sort=False)
        .agg(divergence=("divergence", "mean"), change=("change", "mean"), error=("change", "sem"), languages=("language", "nunique"))
        .reset_index()
    )
    half = t.isf(0.025, found.languages - 1) * found.pop("error")
    return found.assign(low=found.change - half, high=found.change + half)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="+")
    parser.add_argument("--labels", action="store_true", help="judge by the NLL of labels, not by a known posterior")
    parser.add_argument("--out", type=Path, default=root / "benchmarks" / "recalibrators.csv")
    args = parser.parse_args()
    RECALIBRATORS.update(CANDIDATES)
    warnings.filterwarnings("ignore", message="The temperature")
    table = summary(judged(args.store, args.labels))
    table.to_csv(args.out, index=False, float_format="%.6g")
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
