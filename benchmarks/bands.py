"""Does a band hold the whole curve, and how wide is it? `python benchmarks/bands.py`

Groups of N decisions are drawn from a known curve of accuracy by confidence, with decisions alone or five to an example that are fully correlated. Contestants:

- ours: `calibration_band`, with examples as clusters;
- all pairs: exact limits of every run of neighbouring decisions with Bonferroni's correction, under the same assumption of a rising curve (Dimitriadis,
  Dümbgen, Henzi, Puke and Ziegel 2023, arXiv 2203.04065, as the R package calibrationband has it), which takes decisions as independent;
- Wilson: an interval of each of ten bins of equal mass at 95 %, as reliability diagrams usually have, judged by the bins' means alone.

Writes benchmarks/bands.csv: share of groups whose curve is inside everywhere, its binomial standard error, and the mean width over the decisions."""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import beta
from statsmodels.stats.proportion import proportion_confint
from tqdm.auto import tqdm

from xitcal.calibration.binned import equal_bins
from xitcal.calibration.reliability import band_at, calibration_band

CURVES = {"calibrated": lambda c: c, "over-confident by .1": lambda c: np.clip(c - .1, 0, 1), "under-confident by .1": lambda c: np.clip(c + .1, 0, 1),
          "S-shaped": lambda c: c ** 3 / (c ** 3 + (1 - c) ** 3)}
SHAPES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n)}
SIZES, TOGETHER = (100, 500, 2490), (1, 5)


def ours(c, y, owner, truth):
    "Whether the curve is inside at every decision, and the mean width"
    low, high = band_at(calibration_band(c, y, np.zeros(len(c), int), owner), c)
    return ((low <= truth + 1e-12) & (truth <= high + 1e-12)).all(), (high - low).mean()


def exact_tables(n: int, level: float = .95) -> tuple[np.ndarray, np.ndarray]:
    "Clopper–Pearson limits of every (size, right) up to n, each at the level that n (n + 1) of them share"
    size, right = np.tril_indices(n + 1)
    low, high, tail = np.zeros((n + 1, n + 1)), np.ones((n + 1, n + 1)), (1 - level) / (n * (n + 1))
    low[size, right] = np.where(right > 0, beta.ppf(tail, np.maximum(right, 1), size - right + 1), 0)
    high[size, right] = np.where(size > right, beta.isf(tail, right + 1, np.maximum(size - right, 1)), 1)
    return low, high


def all_pairs(tables):
    "The contestant of a size"
    low_of, high_of = tables
    def judged(c, y, owner, truth):
        order = np.argsort(c, kind="stable")
        total, n = np.concatenate([[0], np.cumsum(y[order])]).astype(int), len(c)
        low, high = np.zeros(n), np.ones(n)
        for size in range(1, n + 1): # runs of one size at a time
            right = total[size:] - total[:-size]
            low[size - 1:] = np.maximum(low[size - 1:], low_of[size, right])
            high[:n - size + 1] = np.minimum(high[:n - size + 1], high_of[size, right])
        low, high, curve = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1], truth[order]
        return ((low <= curve + 1e-12) & (curve <= high + 1e-12)).all(), (high - low).mean()
    return judged


def wilson(c, y, owner, truth):
    "The bins' means alone"
    bin_ = equal_bins(c, np.zeros(len(c), int), 10, mass=True)
    size = np.bincount(bin_)
    low, high = proportion_confint(np.bincount(bin_, y), size, method="wilson")
    mean = np.bincount(bin_, truth) / size
    return ((low <= mean) & (mean <= high)).all(), ((high - low)[bin_]).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("bands.csv"))
    args = parser.parse_args()
    rows = []
    for n in SIZES:
        contestants = {"ours": ours, "all pairs": all_pairs(exact_tables(n)), "Wilson": wilson}
        settings = [(shape, curve, together) for shape in SHAPES for curve in CURVES for together in TOGETHER]
        for shape, curve, together in tqdm(settings, desc=f"N = {n}"):
            rng, found = np.random.default_rng([n, together]), {name: [] for name in contestants}
            for _ in range(args.replicates):
                c, owner = SHAPES[shape](rng, n), np.arange(n) // together
                truth = CURVES[curve](c)
                y = (rng.random(n)[owner] < truth).astype(float)
                for name, judge in contestants.items(): found[name].append(judge(c, y, owner, truth))
            for name, results in found.items():
                held, width = np.mean(results, axis=0)
                rows.append(dict(n=n, shape=shape, curve=curve, together=together, band=name, held=held,
                                 standard_error=(held * (1 - held) / args.replicates) ** .5, width=width, replicates=args.replicates))
    pd.DataFrame(rows).to_csv(args.out, index=False, float_format="%.5g")
    print(pd.DataFrame(rows).groupby(["n", "together", "band"]).agg(held=("held", "min"), width=("width", "mean")).round(3))


if __name__ == "__main__": main()
