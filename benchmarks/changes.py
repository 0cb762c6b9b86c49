"""Which paired test sees that calibration changed? `python benchmarks/changes.py` writes changes.csv

Two models decide on the same rows, as a model with and one without intermediate training do. Their confidences have a rank correlation; where both are right or
wrong depends on the same random number in part. The truth is known: how confidence differs from the chance of being right (the errors of contest.py), in
both models. Two questions are asked: did the mean of confidence − right change, and did the calibration term change? A test is asked where the answer is
no (its size) and where it is yes (its power). Writes the share of samples with p ≤ .05 and its binomial standard error, and how far the library's own test
is behind, with the standard error of that difference over the same samples."""
import argparse
import os
import time
import zlib
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from contest import CONFIDENCES, DEPENDENCE, chances, error_shapes, outcomes  # noqa: E402
from scipy.stats import beta, norm, t  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

from xitcal.calibration.binned import equal_bins  # noqa: E402
from xitcal.calibration.significance import paired_means, paired_parts  # noqa: E402

TILT = "over-confident above the median, under-confident below"
# error and strength of both models, in standard errors of a mean of n decisions; which answers are no
SCENARIOS = {"both calibrated": ("none", 0, "none", 0), "both calibrated, one surer": ("none", 0, "none", 0),
             "both equally over-confident": ("over-confident", 3, "over-confident", 3),
             "as wrong in the other direction": ("over-confident", 2, "under-confident", 2), "over-confident": ("none", 0, "over-confident", 3),
             "more over-confident": ("over-confident", 3, "over-confident", 6), "under-confident": ("none", 0, "under-confident", 3),
             "wrong above and below the median": ("none", 0, TILT, 3), "S-shaped": ("none", 0, "S-shaped", 3)}
NO_CHANGE = {"over-confidence": ("both calibrated", "both calibrated, one surer", "both equally over-confident"),
             "calibration term": ("both calibrated", "both calibrated, one surer", "both equally over-confident", "as wrong in the other direction")}
BETA, SURER = (6, 1.5), "both calibrated, one surer" # parameters of the confidences; where the first model has (3, 1.5)
NOT_ASKED = {"over-confidence": ("wrong above and below the median", "S-shaped")} # a mean error of almost nothing
SIZES, DRAWS, BINS = (100, 500, 2490), 99, 15
REPLICATES = {100: (1200, 400), 500: (600, 240), 2490: (200, 100)} # samples without a change and with one
OURS = {"over-confidence": "paired_means", "calibration term": "paired_parts, NLL"} # of the terms that the study reports


def two_models(rng, n: int, many: int, chance, size: int, share: float, first: tuple = BETA):
    "(confidence, correct) of two models on the same rows of many samples, the sample and the example of each row"
    z = rng.normal(size=n * many)
    other = .7 * z + np.sqrt(1 - .7 ** 2) * rng.normal(size=n * many)
    c = [beta.ppf(norm.cdf(v), *parameters) for v, parameters in ((z, first), (other, BETA))]
    u, cluster = outcomes(rng, n * many, size, share)
    own, _ = outcomes(rng, n * many, size, share)
    v = np.where(rng.random(n * many) < .6, u, own)
    return [(a, (w < p(a)).astype(float)) for a, w, p in zip(c, (u, v), chance)], np.arange(many).repeat(n), cluster


def _sums(values, group, cluster, many):
    "Sums of each example, (samples, examples, …); every sample has the same number of examples"
    examples = int(cluster.max()) + 1
    found = np.stack([np.bincount(cluster, v, examples) for v in np.atleast_2d(values)], axis=-1)
    return found.reshape(many, examples // many, -1)


def _two_sided(draws, value):
    "p of a value among draws, by size"
    return (1 + (np.abs(draws) >= np.abs(value) - 1e-12).sum(0)) / (len(draws) + 1)


def _bootstrap(draws):
    "Twice the smaller tail of a bootstrap distribution beyond zero"
    return np.minimum(1, 2 * (1 + np.minimum((draws <= 0).sum(0), (draws >= 0).sum(0))) / (len(draws) + 1))


def mean_tests(models, group, cluster, rng) -> dict[str, np.ndarray]:
    "p-values of each sample: did the mean of confidence − right change?"
    (c, y), (c2, y2) = models
    many, gap = int(group.max()) + 1, (c2 - y2) - (c - y)
    value, other = ((a - b, a - 1, a) for a, b in models[::-1])
    size = np.bincount(group)
    mean, rest = np.bincount(group, gap) / size, lambda v, m: v - m[group]
    naive = mean / np.sqrt(np.bincount(group, rest(gap, mean) ** 2) / (size - 1) / size)
    sums = _sums(gap, group, cluster, many)[..., 0]
    k = sums.shape[1]
    robust = sums.mean(1) / (sums.std(1, ddof=1) / np.sqrt(k))
    flips = np.stack([(sums * rng.choice([-1, 1], sums.shape)).sum(1) for _ in range(DRAWS)])
    weights = rng.multinomial(k, np.full(k, 1 / k), (DRAWS, many)).astype(np.float32)
    return {"paired_means": paired_means(value, other, group, cluster)[3],
            "paired t-test, rows independent": 2 * t.sf(np.abs(naive), size - 1), "paired t-test over examples": 2 * t.sf(np.abs(robust), k - 1),
            "sign flips of examples": _two_sided(flips, sums.sum(1)), "bootstrap of examples": _bootstrap(np.einsum("dmk,mk->dm", weights, sums))}


def _square(sums, variance):
    "Debiased squared calibration error from sums of bins, (…, bins)"
    return (sums ** 2 - variance).sum(-1)


def term_tests(models, group, cluster, rng) -> dict[str, np.ndarray]:
    "p-values of each sample: did the calibration term change?"
    many, fold = int(group.max()) + 1, rng.integers(5, size=int(cluster.max()) + 1)[cluster]
    parts, binned = paired_parts(models[1], models[0], group, fold, cluster), []
    for c, y in models: # sums of confidence − right in bins of equal mass, of each example
        at = equal_bins(c, group, BINS, mass=True)
        binned.append(_sums(np.eye(BINS)[at].T * (c - y), group, cluster, many) / np.sqrt(BINS))
    k = binned[0].shape[1]
    def change(sums): # (samples, bins) of both models, and their squares over examples
        return _square(sums[1], sums[3]) - _square(sums[0], sums[2])
    def total(first, second): return change([first.sum(1), second.sum(1), (first ** 2).sum(1), (second ** 2).sum(1)])
    swaps, resampled = [], []
    for _ in range(DRAWS):
        swap = rng.random((many, k, 1)) < .5
        swaps.append(total(np.where(swap, binned[1], binned[0]), np.where(swap, binned[0], binned[1])))
        w = rng.multinomial(k, np.full(k, 1 / k), many)[..., None].astype(float)
        one, two = ((b * w).sum(1) for b in binned)
        spread = [2 * (b ** 2 * w).sum(1) for b in binned] # a resample adds the variance once more
        resampled.append(change([one, two, *spread]))
    return {"paired_parts, Brier": parts["brier_calibration"][3], "paired_parts, NLL": parts["nll_calibration"][3],
            "swaps of the two models": _two_sided(np.stack(swaps), total(*binned)), "bootstrap, debiased squared error": _bootstrap(np.stack(resampled))}


TESTS = {"over-confidence": mean_tests, "calibration term": term_tests}


def setting(dependence: str, n: int, scenario: str, times: float) -> list[dict]:
    "Rows of both questions in one setting"
    size, share = DEPENDENCE[dependence]
    rng = np.random.default_rng([n, zlib.crc32(dependence.encode()), zlib.crc32(scenario.encode())])
    pool = np.sort(CONFIDENCES["Beta(6, 1.5)"](rng, 200_000))
    shapes, (first, much, second, more) = error_shapes(pool), SCENARIOS[scenario]
    chance, rows = [chances(shapes[e], pool, n, s) for e, s in ((first, much), (second, more))], []
    for question, tests in TESTS.items():
        if scenario in NOT_ASKED.get(question, ()): continue
        change, hits = scenario not in NO_CHANGE[question], {}
        left = max(1, round(times * REPLICATES[n][change]))
        while left:
            now = min(left, max(1, 60_000 // n))
            left -= now
            found = tests(*two_models(rng, n, now, chance, size, share, (3, 1.5) if scenario == SURER else BETA), rng)
            for name, p in found.items(): hits.setdefault(name, []).append(p <= .05)
        hits = {name: np.concatenate(h).astype(float) for name, h in hits.items()}
        for name, h in hits.items():
            ahead = h - hits[OURS[question]]
            rows.append(dict(question=question, dependence=dependence, n=n, scenario=scenario, change=change, test=name, replicates=len(h), share=h.mean(),
                             standard_error=np.sqrt(h.mean() * (1 - h.mean()) / len(h)), ahead=ahead.mean(),
                             ahead_standard_error=ahead.std() / np.sqrt(len(h))))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=float, default=1., help="how many times the samples of `REPLICATES`")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("changes.csv"))
    args = parser.parse_args()
    begin, rows = time.perf_counter(), []
    for job in tqdm([(d, n, s) for d in DEPENDENCE for n in SIZES for s in SCENARIOS], disable=None):
        rows += setting(*job, args.replicates)
        pd.DataFrame(rows).to_csv(args.out, index=False, float_format="%.5g")
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
