"""Which test of calibration should one use? `python benchmarks/contest.py` writes contest.csv; `--part` makes one kind of dependence alone

Every setting has a known truth: how many decisions, how their confidences are distributed, how the chance of being right differs from the confidence, and which
decisions are correlated. Errors are as large as `STRENGTH` standard errors of a mean of N independent decisions (root mean square), so that no test sees
all of them or none. Contestants see the same samples. Writes the share of samples with p ≤ .05 and its binomial standard error: where the model is calibrated
the size of the test, elsewhere its power; and how far `calibration_test` is behind, with the standard error of that difference over the same samples.

The best of many rivals is best partly by chance, and who asks for one kind of error may ask `calibration_test` for one statistic. `--statistics` takes
every setting and error of contest.csv and compares each statistic with the best valid rival, in new samples: contest_statistics.csv, where one half of the
samples is for choosing a statistic and the other for comparing it. `--again` takes every comparison of contest.csv in which `calibration_test` is more
than five points behind, and repeats it with new samples and this one rival: contest_again.csv."""
import argparse
import os
import time
import zlib
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import calibration_tests as rivals  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

from xitcal.calibration.significance import calibration_test, test_values  # noqa: E402
from xitcal.report.contest import OURS, ROBUST, SETTING, distances, read_contest  # noqa: E402

CONFIDENCES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "60 % at 1": lambda rng, n: np.where(rng.random(n) < .6, 1., rng.beta(4, 1.5, n)),
               "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n), "Beta(50, 1)": lambda rng, n: rng.beta(50, 1, n)}
ERRORS = ("none", "over-confident", "under-confident", "over-confident above the median, under-confident below", "S-shaped", "one region")
SIZES, STRENGTH, DRAWS = (100, 500, 2490), 3., 99
# correlated decisions: how many, and the correlation of two of them, relative to the largest possible
DEPENDENCE = {"independent": (1, 0.), "tokens of a sentence": (10, .3), "an item in five languages": (5, .8)}
REPLICATES = {100: (1500, 400), 500: (800, 300), 2490: (300, 160)} # samples without an error and with one
CHUNK = 200_000 # decisions at a time


def error_shapes(pool: np.ndarray) -> dict:
    """How confidence minus chance depends on the confidence, up to a factor; `pool` are sorted confidences of the population. Confidences that many share have
    the middle of their ranks"""
    def rank(c): return (np.searchsorted(pool, c, "left") + np.searchsorted(pool, c, "right")) / 2 / len(pool)
    shapes = (lambda c: 0 * c, np.ones_like, lambda c: -np.ones_like(c), lambda c: np.where(rank(c) > .5, 1., -1.),
              lambda c: np.sin(2 * np.pi * rank(c)), lambda c: ((rank(c) > .25) & (rank(c) < .4)) * 1.)
    return dict(zip(ERRORS, shapes))


def chances(shape, pool: np.ndarray, n: int, strength: float = STRENGTH):
    "Chance of being right by confidence, with an error of a strength, in standard errors of a mean of N decisions"
    aim = strength * np.sqrt((pool * (1 - pool)).mean() / n)
    low, high = 0., 4.
    for _ in range(40):
        k = (low + high) / 2
        low, high = (k, high) if np.sqrt(((pool - np.clip(pool - k * shape(pool), 0, 1)) ** 2).mean()) < aim else (low, k)
    return lambda c: np.clip(c - low * shape(c), 0, 1)


def outcomes(rng, n: int, size: int, share: float):
    "Uniform numbers below which a decision's chance must not lie for it to be wrong, and the cluster of each"
    cluster = np.arange(n) // size
    own, shared = rng.random(n), rng.random(cluster[-1] + 1)[cluster]
    return np.where(rng.random(n) < np.sqrt(share), shared, own), cluster


def contestants(c, y, group, cluster, dependent, limits, seed, only: tuple = ()) -> dict[str, np.ndarray]:
    "p-value of each sample by test"
    y, one = y.astype(float), (c, y.astype(float), group)
    tests = {OURS: lambda: calibration_test(*one, cluster if dependent else None, draws=DRAWS, seed=seed),
             "gap and bins, fully correlated": lambda: rivals.gap_and_bins(*one, cluster, DRAWS, seed),
             "SKCE": lambda: rivals.kernel(*one, DRAWS, seed), "ECCE, Kuiper": lambda: rivals.kuiper(*one),
             "ECCE, Kolmogorov-Smirnov": lambda: rivals.kolmogorov_smirnov(*one), "Spiegelhalter": lambda: rivals.spiegelhalter(*one),
             "Hosmer-Lemeshow": lambda: rivals.hosmer_lemeshow(*one), "Hosmer-Lemeshow, 8 df": lambda: rivals.hosmer_lemeshow(*one, less=2),
             "calibration belt": lambda: rivals.calibration_belt(*one), "T-Cal": lambda: rivals.t_cal(*one, limits),
             ROBUST: lambda: rivals.robust_gap(*one, cluster)}
    return {name: test() for name, test in tests.items() if not only or name in only}


def offered(c, y, group, cluster, dependent, limits, seed, only: tuple) -> dict[str, np.ndarray]:
    "p-value of each sample by statistic that `calibration_test` offers, all from the same simulated models, and of the tests named in `only`"
    found = test_values(c, y, group, cluster if dependent else None, DRAWS, seed)
    return {f"{OURS}, {name}": p for name, p in found.items()} | contestants(c, y, group, cluster, dependent, limits, seed, only)


def rejections(rng, dependence: str, n: int, confidences: str, chance, limits, many: int, only: tuple = (), tests=contestants) -> dict[str, np.ndarray]:
    "Whether each test rejects each of `many` samples, at 5 %"
    (size, share), found = DEPENDENCE[dependence], {}
    while many:
        now = min(many, CHUNK // n)
        many -= now
        c = CONFIDENCES[confidences](rng, n * now)
        u, cluster = outcomes(rng, len(c), size, share)
        made = tests(c, u < chance(c), np.arange(now).repeat(n), cluster, size > 1, limits, int(rng.integers(1 << 31)), only)
        for name, p in made.items(): found.setdefault(name, []).append(p <= .05)
    return {name: np.concatenate(hits) for name, hits in found.items()}


def setting(dependence: str, n: int, confidences: str, times: float) -> list[dict]:
    "Rows of all errors of one setting"
    draw = CONFIDENCES[confidences]
    rng = np.random.default_rng([n, zlib.crc32(confidences.encode()), zlib.crc32(dependence.encode())])
    pool, rows = np.sort(draw(rng, 200_000)), []
    limits = rivals.t_cal_limits(draw, rng, n)
    for error, shape in error_shapes(pool).items():
        many = max(1, round(times * REPLICATES[n][error != "none"]))
        hits = rejections(rng, dependence, n, confidences, chances(shape, pool, n), limits, many)
        for name, h in hits.items():
            behind = h.astype(float) - hits[OURS]
            rows.append(dict(test=name, dependence=dependence, n=n, confidences=confidences, error=error, replicates=len(h), share=h.mean(),
                             standard_error=np.sqrt(h.mean() * (1 - h.mean()) / len(h)), ahead=behind.mean(),
                             ahead_standard_error=behind.std() / np.sqrt(len(h))))
    return rows


AGAIN = {100: 1600, 500: 1200, 2490: 480} # samples of a comparison that is repeated

def again(dependence: str, n: int, confidences: str, error: str, rival: str, times: float) -> dict:
    "One comparison with new samples: how far `calibration_test` is behind one rival"
    draw = CONFIDENCES[confidences]
    rng = np.random.default_rng([1, n, *(zlib.crc32(name.encode()) for name in (confidences, dependence, error))])
    pool = np.sort(draw(rng, 200_000))
    limits = rivals.t_cal_limits(draw, rng, n) if rival == "T-Cal" else None
    chance, many = chances(error_shapes(pool)[error], pool, n), max(2, round(times * AGAIN[n]))
    hits = rejections(rng, dependence, n, confidences, chance, limits, many, (OURS, rival))
    behind = hits[rival].astype(float) - hits[OURS]
    return dict(dependence=dependence, n=n, confidences=confidences, error=error, best=rival, replicates=many, power=hits[OURS].mean(),
                behind=behind.mean(), behind_error=behind.std(ddof=1) / np.sqrt(many))


def by_statistic(dependence: str, n: int, confidences: str, error: str, rival: str|None, times: float) -> list[dict]:
    "One setting and error with new samples: what each statistic finds, and what one rival finds, in each half of the samples"
    draw = CONFIDENCES[confidences]
    rng = np.random.default_rng([2, n, *(zlib.crc32(name.encode()) for name in (confidences, dependence, error))])
    pool = np.sort(draw(rng, 200_000))
    limits = rivals.t_cal_limits(draw, rng, n) if rival == "T-Cal" else None
    chance, many = chances(error_shapes(pool)[error], pool, n), 2 * max(2, round(times * AGAIN[n] / 2))
    hits = rejections(rng, dependence, n, confidences, chance, limits, many, (ROBUST, rival), offered)
    behind = {name: hits[rival].astype(float) - hit if rival else np.zeros(many) for name, hit in hits.items()} # of the same samples
    return [dict(dependence=dependence, n=n, confidences=confidences, error=error, test=name, rival=name == rival, half=half, replicates=many // 2,
                 share=hits[name][part].mean(), behind=behind[name][part].mean(), behind_error=behind[name][part].std(ddof=1) / np.sqrt(many // 2))
            for half, part in enumerate((slice(None, many // 2), slice(many // 2, None))) for name in hits]


def all_statistics(table: Path, out: Path, times: float, part: str|None) -> None:
    "Every statistic beside the best valid rival of each setting and error, and its size; saved after each"
    known = read_contest(table)
    best, rows = distances(known).set_index([*SETTING, "error"]).best, []
    for setting in tqdm(known[[*SETTING, "error"]].drop_duplicates().itertuples(index=False), disable=None):
        if part not in (None, setting.dependence): continue
        rows += by_statistic(*setting, best.get(tuple(setting)), times)
        pd.DataFrame(rows).to_csv(out, index=False, float_format="%.5g")


def repeat(table: Path, out: Path, times: float) -> None:
    "Repeat the comparisons of a table that are more than five points behind; saved after each"
    far = distances(read_contest(table)).query("behind > .05")
    rows = []
    for one in tqdm([*far.itertuples()], disable=None):
        rows.append(again(one.dependence, one.n, one.confidences, one.error, one.best, times))
        pd.DataFrame(rows).to_csv(out, index=False, float_format="%.5g")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=float, default=1., help="how many times the samples of `REPLICATES`")
    parser.add_argument("--part", choices=DEPENDENCE, help="kind of dependence; all where none is named")
    parser.add_argument("--size", type=int, choices=SIZES, help="decisions of a sample; all where none is named")
    parser.add_argument("--confidences", choices=CONFIDENCES, help="their distribution; all where none is named")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("contest.csv"))
    parser.add_argument("--statistics", action="store_true", help="each statistic of `calibration_test` beside the best valid rival, with new samples")
    parser.add_argument("--again", action="store_true", help="repeat comparisons far behind with new samples")
    args = parser.parse_args()
    if args.statistics: return all_statistics(args.out, args.out.with_name("contest_statistics.csv"), args.replicates, args.part)
    if args.again: return repeat(args.out, args.out.with_name("contest_again.csv"), args.replicates)
    begin = time.perf_counter()
    jobs = [(d, n, c) for d in DEPENDENCE for n in SIZES for c in CONFIDENCES
            if args.part in (None, d) and args.size in (None, n) and args.confidences in (None, c)]
    for job in tqdm(jobs, disable=None):
        new = pd.DataFrame(setting(*job, args.replicates))
        old = pd.read_csv(args.out) if args.out.exists() else new[:0]
        keys = ["dependence", "n", "confidences"]
        kept = old[~pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))]
        table = pd.concat([kept, new]) if len(kept) else new
        order = {name: i for i, name in enumerate((*DEPENDENCE, *SIZES, *CONFIDENCES, *ERRORS))}
        table = table.sort_values([*keys, "error"], key=lambda column: column.map(order), kind="stable")
        table.to_csv(args.out, index=False, float_format="%.5g")
    print(f"{len(jobs)} settings in {(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
