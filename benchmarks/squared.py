"""Intervals of the squared calibration error, ours beside those of Sun, Chaudhari, Barnett and Dobriban: `python benchmarks/squared.py`

The quantity is E[(c − P(right | c))²], the square of what `debiased_rms` estimates. Theirs (arXiv 2408.08998) takes the debiased square over bins of
equal width, a normal interval with the variance that holds for a model that is not calibrated, and three rules near 0; 0 counts as inside when the
test of calibration does not refuse. They use 50 bins for 1,000 decisions; 15 are tried as well. A method that holds the truth less often than it says
is made wider before widths are compared: for each method and setting the table has the nominal level at which it holds the truth in 95 % of
replicates (the lowest of a grid), and the mean width there.

Writes benchmarks/squared.csv."""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm.auto import tqdm

from xitcal.calibration.binned import width_bins
from xitcal.calibration.debiased import debiased_rms

SHAPES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n),
          "Beta(50, 1)": lambda rng, n: rng.beta(50, 1, n)}
CURVES = {"calibrated": lambda c: c, "over-confident by .05": lambda c: np.clip(c - .05, 0, 1), "over-confident by .1": lambda c: np.clip(c - .1, 0, 1),
          "S-shaped": lambda c: c ** 2 / (c ** 2 + (1 - c) ** 2)}
SIZES, LEVELS = (100, 500, 2490), (.5, .6, .7, .8, .85, .9, .925, .95, .97, .98, .99, .995, .999)


def ours(c, y, group, level):
    "Low and high of each group"
    return np.square(debiased_rms(c, y, group, level=level)[1:])


def theirs(bins: int):
    "The interval of Sun et al. with so many bins of equal width"
    def interval(c, y, group, level):
        n, slot = group.max() + 1, group * bins + width_bins(c, bins)
        size, total, squares, spread = (np.bincount(slot, x, n * bins).reshape(n, bins) for x in (np.ones(len(c)), y - c, (y - c) ** 2, c * (1 - c)))
        many, share = np.maximum(size, 1), size / size.sum(1, keepdims=True)
        mean, second = total / many, squares / many
        square = (np.where(size > 1, size / np.maximum(size - 1, 1), 1) * (size * mean ** 2 - second)).sum(1) / size.sum(1)
        variance = (share * (4 * mean ** 2 * second - 3 * mean ** 4)).sum(1) - (share * mean ** 2).sum(1) ** 2
        error = np.sqrt(np.maximum(variance, 0) / size.sum(1))
        both, one = norm.isf((1 - level) / 2), norm.isf(1 - level)
        above = np.maximum(square, 0)
        low = np.select([above >= 2 * both * error, above >= 2 * one * error], [above - both * error, above / 2], np.maximum(above - one * error, 0))
        refused = above >= one * np.sqrt(2 * ((spread / many) ** 2 * (size > 1)).sum(1)) / size.sum(1)
        return np.where(refused, low, 0), above + both * error
    return interval


METHODS = {"ours": ours, "Sun et al., 15 bins": theirs(15), "Sun et al., 50 bins": theirs(50)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("squared.csv"))
    args = parser.parse_args()
    rows, replicates = [], args.replicates
    for n, shape, curve in tqdm([(n, s, k) for n in SIZES for s in SHAPES for k in CURVES]):
        rng, group = np.random.default_rng(n), np.repeat(np.arange(replicates), n)
        c = SHAPES[shape](rng, n * replicates)
        p, pool = CURVES[curve](c), SHAPES[shape](rng, 1_000_000)
        y, truth = (rng.random(len(c)) < p).astype(float), float(((pool - CURVES[curve](pool)) ** 2).mean())
        for name, make in METHODS.items():
            found = {}
            for level in LEVELS:
                low, high = make(c, y, group, level)
                found[level] = float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())
            fit = next((v for v in LEVELS if found[v][0] >= .95), None)
            rows.append(dict(n=n, shape=shape, curve=curve, truth=truth, method=name, held=found[.95][0], width=found[.95][1], level=fit,
                             width_at_95=found[fit][1] if fit else np.nan, replicates=replicates))
    table = pd.DataFrame(rows)
    table.to_csv(args.out, index=False, float_format="%.5g")
    print(table.groupby(["n", "method"]).agg(held=("held", "min"), width=("width", "mean"), fair=("width_at_95", "mean"),
                                             never=("level", lambda x: x.isna().sum())).round(4))


if __name__ == "__main__": main()
