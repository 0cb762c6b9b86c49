"""Which statistics should `calibration_test` join, and how? `python benchmarks/portfolios.py` writes portfolios.csv

Portfolios of seven statistics, joined by three rules, against the tests of `contest.py` in its settings of 100 and 500 decisions with the same number of
samples, but other random numbers, so that the contest itself is a fresh test of what is chosen here. All statistics are ranked among the same simulated
calibrated models. Where decisions are correlated, portfolios are tried twice: with the correlation within an example as it is estimated from gaps, and from
gaps less their mean, which a constant error does not inflate. A row says of a portfolio and a kind of dependence: size (mean and largest over settings, and
in how many it is invalid), mean power, and in how many comparisons it is more than five points behind the best valid test of others (the most powerful one,
chosen with hindsight). Takes a quarter of an hour of one core."""
import argparse
import types
import zlib
from pathlib import Path
from unittest.mock import patch

import contest
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tqdm.auto import tqdm

from xitcal.calibration import significance as library
from xitcal.report.contest import SETTING, sizes

STATISTICS = ("line", "parabola", "range", "scan", "signed", "Spiegelhalter", "bins")
PORTFOLIOS = ("line parabola range scan", "line parabola range scan signed", "line parabola range scan Spiegelhalter", "line parabola range scan bins",
              "line parabola range scan signed bins", "line parabola range scan Spiegelhalter bins", "line parabola scan bins", " ".join(STATISTICS))
RULES = {"harmonic mean": PORTFOLIOS, "smallest": (PORTFOLIOS[0], PORTFOLIOS[4]), "Cauchy": (PORTFOLIOS[0], PORTFOLIOS[4])}
SIZES, OURS = (100, 500), ("as estimated", "less the mean")


def centred_sharing(c, group, cluster):
    "As `significance._sharing`, from gaps less their mean in the group"
    number, owner = library.cluster_slots(group, cluster)
    if len(owner) == len(c): return number, None
    many = int(group.max()) + 1
    examples, groups, owners = (library._adder(*x) for x in ((number, len(owner)), (group, many), (owner, many)))
    most = np.maximum(library.shared_covariance(c, group, number, many), 1e-9)[:, None]
    size, n, count = (np.bincount(x)[:, None] for x in (number, group, owner))

    def correlation(gaps):
        mean = (groups @ gaps) / n
        squares = owners @ (examples @ gaps - size * mean[owner]) ** 2 * (count / np.maximum(count - 1, 1))
        return np.clip((squares - (groups @ gaps ** 2 - n * mean ** 2)) / most, 0, 1)

    return number, correlation


def statistics(c, y, group, cluster, draws, seed) -> dict[str, np.ndarray]:
    "Of the model (first) and of simulated calibrated ones: (groups, 1 + draws) by name"
    many, slots = int(group.max()) + 1, library.SLOTS
    slot = group * slots + library.equal_bins(c, group, slots, mass=True)
    sums, shares = library.simulated_gaps(c, y, group, cluster, slot, many * slots, draws, seed)
    size, expected, variance = (np.bincount(slot, v, many * slots).reshape(many, slots) for v in (np.ones(len(c)), c, c * (1 - c)))
    gaps, more = sums.reshape(many, slots, -1), np.ones_like(shares)
    if cluster is not None: more += shares * (library.shared_covariance(c, group, cluster, many) / np.maximum(variance.sum(1), 1e-9))[:, None]
    found, step = [], max(1, int(4e6 // gaps[0].size))
    for i in range(0, many, step):
        part = slice(i, i + step)
        g, m = gaps[part], more[part]
        lean = (1 - 2 * expected[part] / np.maximum(size[part], 1))[..., None]
        found.append([*library._likelihood_ratios(g, expected[part], size[part], m), *library._range_and_scan(g, variance[part], m),
                      np.abs(g.sum(1)) / np.sqrt(m), np.abs((g * lean).sum(1)) / np.sqrt(m), library._binned_squares(g, variance[part], m)])
    return dict(zip(STATISTICS, (np.concatenate(v) for v in zip(*found))))


def joined(values: list[np.ndarray], rule: str) -> np.ndarray:
    "p-value of the first column: the rank of its joined p-values among those of all columns"
    share = np.stack([rankdata(-np.round(v, 4), "max", axis=-1) for v in values]) / values[0].shape[-1]
    one = {"harmonic mean": lambda: 1 / (1 / share).sum(0), "smallest": lambda: share.min(0),
           "Cauchy": lambda: -np.tan(np.pi * (.5 - np.minimum(share, .999))).sum(0)}[rule]()
    return rankdata(np.round(one, 9), "max", axis=-1)[:, 0] / one.shape[-1]


def contestants(c, y, group, cluster, dependent, limits, seed, only: tuple = ()) -> dict[str, np.ndarray]:
    "p-value of each sample by test: portfolios, and the tests of others"
    y, found = y.astype(float), {}
    one = (c, y, group)
    for how in OURS[:1 + dependent]:
        with patch.object(library, "_sharing", library._sharing if how == OURS[0] else centred_sharing):
            made = statistics(*one, cluster if dependent else None, contest.DRAWS, seed)
        found |= {f"{how}|{rule}|{name}": joined([made[k] for k in name.split()], rule) for rule, names in RULES.items() for name in names}
    others = theirs(c, y, group, cluster, dependent, limits, seed)
    return found | others


def summary(table: pd.DataFrame) -> pd.DataFrame:
    "A row a portfolio and kind of dependence"
    size = sizes(table)
    table = table.merge(size[[*SETTING, "test", "invalid"]], on=[*SETTING, "test"])
    wrong, ours = table[table.error != "none"], table.test.str.contains("|", regex=False)
    rival = wrong[~ours[wrong.index] & ~wrong.invalid & (wrong.test != "calibration_test")]
    best = rival.groupby([*SETTING, "error"])["share"].max().rename("best").reset_index()
    mine = wrong[ours[wrong.index]].merge(best, on=[*SETTING, "error"])
    mine["behind"] = mine.best - mine.share
    keys = ["dependence", "test"]
    power = mine.groupby(keys, sort=False).agg(comparisons=("behind", "size"), far_behind=("behind", lambda x: int((x > .05).sum())),
                                               largest=("behind", "max"), power=("share", "mean"))
    held = size[size.test.str.contains("|", regex=False)].groupby(keys, sort=False).agg(
        size=("share", "mean"), largest_size=("share", "max"), invalid=("invalid", "sum"))
    made = power.join(held).reset_index()
    names = made.pop("test").str.split("|", expand=True).set_axis(["correlation", "rule", "portfolio"], axis=1)
    return pd.concat([made[["dependence"]], names, made.drop(columns="dependence")], axis=1)


theirs = contest.contestants
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=float, default=1., help="how many times the samples of the contest")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("portfolios.csv"))
    args = parser.parse_args()
    contest.contestants, contest.zlib = contestants, types.SimpleNamespace(crc32=lambda text: zlib.crc32(b"trial" + text)) # other random numbers
    jobs = [(d, n, c) for d in contest.DEPENDENCE for n in SIZES for c in contest.CONFIDENCES]
    table = pd.DataFrame([row for job in tqdm(jobs, disable=None) for row in contest.setting(*job, args.replicates)])
    summary(table).to_csv(args.out, index=False, float_format="%.4g")
