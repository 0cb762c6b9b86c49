"""How often intervals hold what they estimate, and how often tests refuse: `python scripts/coverage.py --replicates 10000`

Every setting is a number of decisions N, a shape of the confidences and a constant gap between confidence and chance; the truth is that of half a
million decisions or more. Writes benchmarks/coverage.csv, the share of replicates whose 95 % interval holds the truth, with its
binomial standard error and the mean width, and benchmarks/refused.csv, the share of replicates in which a test has p < .05: at gap
0 its size, elsewhere its power. `SHARES` says how many of the replicates each of them gets.

The work is in three parts with random numbers of their own. The first is means and their paired changes, debiased and smooth errors. The third is the
test of calibration. The second, `--part second`, is parts of scores and their paired changes, scores of three classes, and paired changes of NLL with exact
limits; a row's `method` says which of several ways made it. Each part replaces its own rows and leaves the other's, and so does `--shape`, one shape."""
import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr
from tqdm.auto import tqdm

from xitcal.calibration.debiased import debiased_rms, smooth_ece, smooth_ece_interval
from xitcal.calibration.decomposition import calibration_parts, equal_tailed, fit_correction, score_part_rows, score_parts
from xitcal.calibration.intervals import mean_interval
from xitcal.calibration.prediction_files import _proper_scores
from xitcal.calibration.significance import _correlation, _limits_of_both, _no_change, calibration_test, paired_means, paired_parts
from xitcal.core.processes import threads_of_children
from xitcal.inference.block_sums import BLOCKS
from xitcal.inference.seeds import over_seeds

SHAPES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "60 % at 1": lambda rng, n: np.where(rng.random(n) < .6, 1., rng.beta(4, 1.5, n)),
          "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n), "Beta(50, 1)": lambda rng, n: rng.beta(50, 1, n)}
SIZES, GAPS = (100, 500, 2490), (0, .02, .05, .10)
SHARES = {"means": .4, "debiased": .4, "skipped": .4, "smooth": .1, "calibrated": 1, "power": .1, "paired": 1, "paired power": .2}
PARTS = {100: .4, 500: .15, 2490: .1} # shares for parts of scores and for three classes, by N: corrections are fitted eight times to each replicate
CHANGES = {100: (1, .2), 500: (1, .1), 2490: (1, .06)} # for their paired changes, where there is none and where there is one
METHODS = {"nll_calibration": "limits of both"} # how `paired_parts` makes the interval of a change; the others from "rows"
SMALLER = 100_000 # decisions at a time where corrections are fitted: what fits into a processor's cache
SMALLEST, CHUNK = 1e-6, 1_000_000 # confidences stay this far from 0 and 1 in the NLL; decisions at a time


def scores(c: np.ndarray, smallest: float = SMALLEST) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    "Of decisions with confidence c, the value if right and if wrong, by estimate"
    kept = np.clip(c, smallest, 1 - smallest)
    return {"signed_ce": (c - 1, c), "nll_confidence": (-np.log(kept), -np.log(1 - kept)), "brier_confidence": ((1 - c) ** 2, c ** 2)}


def means(c, y, group, fold) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: mean_interval(np.where(y, *v), *v, group)[1:] for name, v in scores(c).items()}


def debiased(c, y, group, fold): return {"debiased_ce": debiased_rms(c, y, group)[1:]}


def parts(c, y, group, fold):
    "By estimate and method; both methods only where many are certain, as elsewhere they agree"
    methods = {"exact limits": True} | ({"spread alone": False} if (c == 1).mean() > .1 else {})
    return {(name, method): v[1:] for method, surest in methods.items() for name, v in score_parts(c, y, group, fold, surest=surest).items()}


def skipped(c, y, group, fold): return {} # draws that were once for parts of scores: what follows is as it was


def smooth(c, y, group, fold): return {"smooth_ece": smooth_ece_interval(c, y, group)[1:]}


def truths(c: np.ndarray, p: np.ndarray) -> dict[str, float]:
    "Population values"
    found = {name: float((p * right + (1 - p) * wrong).mean()) for name, (right, wrong) in scores(c).items()}
    one, kept = np.zeros(len(c), int), np.clip(c, 1e-12, 1 - 1e-12)
    found |= {"debiased_ce": float(np.sqrt(((c - p) ** 2).mean())), "smooth_ece": float(smooth_ece(c, p, one)[0])}
    before = np.log(kept) - np.log1p(-kept)
    z = np.clip(before, -15, 15)
    a, b = fit_correction(z, p, one)[0]
    for name, score in (("nll", lambda z, y: np.logaddexp(0, z) - y * z), ("brier", lambda z, y: (expit(z) - y) ** 2)):
        plain, after = (float((p * score(x, 1.) + (1 - p) * score(x, 0.)).mean()) for x in (before, a + b * z))
        found |= {f"{name}_calibration": plain - after, f"{name}_refinement": after}
    return found


def held(make, draw, rng, n, gap, truth, replicates) -> dict[str, tuple[int, float]]:
    "Number of replicates whose interval holds the truth (to 1e-9, or `slack`), and the sum of widths, by estimate"
    c = draw(rng, n * replicates)
    y, group = rng.random(len(c)) < np.clip(c - gap, 0, 1), np.repeat(np.arange(replicates), n)
    slack = {"smooth_ece": 1 / 512, "nll_calibration": 1e-6} # a correction that takes log-odds beyond ±15 as ±15 costs 3e-7 where they are right
    def hits(name, low, high):
        name = name[0] if isinstance(name, tuple) else name
        return int(((low <= truth[name] + slack.get(name, 1e-9)) & (truth[name] <= high + slack.get(name, 0))).sum()), float((high - low).sum())
    return {name: hits(name, low, high) for name, (low, high) in make(c, y, group, np.arange(len(c)) % 5).items()}


def classes(c, share):
    "Log-probabilities of three classes, the first with confidence c and the others with `share` of the rest and what is left"
    with np.errstate(divide="ignore"): return np.log(np.column_stack([c, (1 - c) * share, (1 - c) * (1 - share)]))


def three(draw, rng, n, gap, replicates):
    "Full NLL and Brier score of three classes: number of replicates whose interval holds the truth, which is given, and the sum of widths"
    def drawn(size):
        c, share = np.maximum(draw(rng, size), .5), .5 + .5 * rng.random(size)
        return c, share, np.clip(c - gap, 0, 1)
    c, share, p = drawn(500_000)
    chance = np.column_stack([p, (1 - p) * share, (1 - p) * (1 - share)])
    scores = [_proper_scores(classes(c, share), np.zeros(len(c), int), np.full(len(c), k)) for k in range(3)]
    truth = {name: sum(chance[:, k] * scores[k][name][0] for k in range(3)).mean() for name in ("nll", "brier")}
    def step(replicates):
        c, share, p = drawn(n * replicates)
        u, group = rng.random(len(c)), np.repeat(np.arange(replicates), n)
        label = np.where(u < p, 0, np.where(u < p + (1 - p) * share, 1, 2))
        found = {k: mean_interval(*v, group) for k, v in _proper_scores(classes(c, share), np.zeros(len(c), int), label).items()}
        return {k: (int(((low <= truth[k]) & (truth[k] <= high)).sum()), float((high - low).sum())) for k, (_, low, high) in found.items()}
    return truth, repeated(step, n, replicates, SMALLER)


def pairs(pool, rng, n, gap, replicates):
    "Two models on the same rows: confidences that go together, errors that are the same in four of five; the first is too sure by the gap"
    ease = rng.normal(size=n * replicates)
    c, d = (pool[(ndtr(np.sqrt(.8) * ease + np.sqrt(.2) * rng.normal(size=len(ease))) * len(pool)).astype(int)] for _ in range(2))
    u = rng.random(len(ease))
    other = np.where(rng.random(len(u)) < .8, u, rng.random(len(u)))
    return (c, u < np.clip(c - gap, 0, 1)), (d, other < d), np.repeat(np.arange(replicates), n)


def changed(pool, rng, n, gap, truth, replicates, exact=False) -> dict[str, tuple[int, float, int]]:
    "Number of replicates whose interval holds the change, sum of widths, and number with p < .05, by estimate; of NLL alone with exact limits"
    (c, y), (d, w), group = pairs(pool, rng, n, gap, replicates)
    found = {}
    for (name, mine), theirs in zip(scores(c).items(), scores(d).values()):
        if exact and name != "nll_confidence": continue
        _, low, high, p = paired_means((np.where(y, *mine), *mine), (np.where(w, *theirs), *theirs), group, decided=((c, y), (d, w)) if exact else None)
        found[name] = int(((low <= truth[name] + 1e-9) & (truth[name] <= high)).sum()), float((high - low).sum()), int((p < .05).sum())
    return found


def changed_parts(pool, rng, n, gap, truth, replicates) -> dict[str, tuple[int, float, int]]:
    "The same of parts of scores by method: what `paired_parts` gives, limits of both where it has others, and blocks of examples as in xitcal.inference.seeds"
    *models, group = pairs(pool, rng, n, gap, replicates)
    fold, slot, each = np.arange(len(group)) % 5, group * BLOCKS + np.arange(len(group)) % BLOCKS, np.arange(len(group))
    def counted(name, low, high, p):
        return int(((low <= truth[name] + 1e-9) & (truth[name] <= high + 1e-9)).sum()), float((high - low).sum()), int((p < .05).sum())
    (mine, rows), (theirs, others) = (score_part_rows(*m, group, fold, each, .95, inverted=equal_tailed) for m in models)
    found = {(name, METHODS.get(name, "rows")): counted(name, *v[1:]) for name, v in paired_parts(*models, group, fold).items()}
    for name in sorted(set(mine) - set(METHODS)):
        change, low, high = _limits_of_both(mine[name], theirs[name], _correlation(rows[name][0], others[name][0], group, each))
        found[name, "limits of both"] = counted(name, low, high, _no_change(change, low, high, n + 3, .95))
    totals = [{k: np.where(y, *v) for k, v in scores(c, 1e-12).items()} for c, y in models]
    both = [calibration_parts(np.clip(c, 1e-300, 1 - 1e-16), y.astype(float), group, fold, t["nll_confidence"]) for (c, y), t in zip(models, totals)]
    size = np.bincount(slot).reshape(replicates, BLOCKS)
    for k in ("nll", "brier"):
        values = {f"{k}_calibration": both[0][k] - both[1][k]}
        values[f"{k}_refinement"] = totals[0][f"{k}_confidence"] - totals[1][f"{k}_confidence"] - values[f"{k}_calibration"]
        for name, v in values.items():
            sums = np.bincount(slot, v).reshape(replicates, BLOCKS)
            means = np.column_stack([sums.sum(1) / n, (sums.sum(1, keepdims=True) - sums) / (n - size)])
            e = over_seeds(means[None])
            found[name, "blocks"] = counted(name, e["low"], e["high"], e["p"])
    return found


def refused(draw, rng, n, gap, replicates) -> tuple[int]:
    "Number of replicates that the test of calibration refuses; its size is exact with any number of draws, its power grows a little with them"
    c = draw(rng, n * replicates)
    y, group = rng.random(len(c)) < np.clip(c - gap, 0, 1), np.repeat(np.arange(replicates), n)
    return (int((calibration_test(c, y, group, draws=99 if gap else 39, seed=int(rng.integers(1 << 31))) <= .05).sum()),)


def repeated(make, n, replicates, chunk=CHUNK):
    "Sum of what `make(step)` returns over steps that fit into memory; dictionaries entry by entry"
    total, left = None, replicates
    while left:
        step = min(left, max(1, chunk // n))
        made = make(step)
        made = {k: np.array(v) for k, v in made.items()} if isinstance(made, dict) else np.array(made)
        total = made if total is None else {k: total[k] + made[k] for k in made} if isinstance(made, dict) else total + made
        left -= step
    return total


def share(hits, r): return dict(replicates=r, share=hits / r, standard_error=np.sqrt(hits / r * (1 - hits / r) / r))


def prepared(n: int, shape: str, gap: float, *stream: int, size: int = 2_000_000):
    "Generator, drawing function, population values at the gap and without one, pool of confidences, key of the setting"
    rng, draw = np.random.default_rng([n, zlib.crc32(shape.encode()), round(1000 * gap), *stream]), SHAPES[shape]
    sample = draw(rng, size)
    return rng, draw, truths(sample, np.clip(sample - gap, 0, 1)), truths(sample, sample), np.sort(sample), dict(n=n, shape=shape, gap=gap)


def first_part(n: int, shape: str, gap: float, replicates: int) -> tuple[list[dict], list[dict]]:
    "Rows of both tables for one setting: means and their changes, debiased and smooth errors"
    (rng, draw, truth, base, pool, key), covered, tests = prepared(n, shape, gap), [], []
    def times(kind): return max(1, round(SHARES[kind] * replicates))
    for kind, make in (("means", means), ("debiased", debiased), ("skipped", skipped), ("smooth", smooth)):
        r = times(kind)
        found = repeated(lambda step: held(make, draw, rng, n, gap, truth, step), n, r)
        covered += [dict(estimate=name, **key, truth=truth[name], **share(hits, r), width=width / r) for name, (hits, width) in found.items()]
    r, change = times("paired power" if gap else "paired"), {name: truth[name] - base[name] for name in scores(pool[:1])}
    for name, (hits, width, low_p) in repeated(lambda step: changed(pool, rng, n, gap, change, step), n, r).items():
        covered.append(dict(estimate=f"change of {name}", **key, truth=change[name], **share(hits, r), width=width / r))
        tests.append(dict(test=f"change of {name}", **key, **share(low_p, r)))
    return covered, tests


def third_part(n: int, shape: str, gap: float, replicates: int) -> tuple[list[dict], list[dict]]:
    "The same of the test of calibration, which estimates nothing"
    rng, r = np.random.default_rng([n, zlib.crc32(shape.encode()), round(1000 * gap), 3]), max(1, round(SHARES["power" if gap else "calibrated"] * replicates))
    hits = repeated(lambda step: refused(SHAPES[shape], rng, n, gap, step), n, r, SMALLER)[0]
    return [], [dict(test="calibrated", n=n, shape=shape, gap=gap, **share(hits, r))]


def second_part(n: int, shape: str, gap: float, replicates: int) -> tuple[list[dict], list[dict]]:
    "The same of parts of scores and their changes, scores of three classes, and changes of NLL with exact limits"
    (rng, draw, truth, base, pool, key), covered, tests = prepared(n, shape, gap, 2, size=500_000), [], []
    r = max(1, round(PARTS[n] * replicates))
    found = repeated(lambda step: held(parts, draw, rng, n, gap, truth, step), n, r, SMALLER)
    covered += [dict(estimate=name, **key, truth=truth[name], **share(hits, r), width=width / r, method=method)
                for (name, method), (hits, width) in found.items()]
    true, found = three(draw, rng, n, gap, r)
    covered += [dict(estimate=f"{name} of 3 classes", **key, truth=true[name], **share(hits, r), width=width / r) for name, (hits, width) in found.items()]
    change, r = {name: truth[name] - base[name] for name in truth}, max(1, round(CHANGES[n][gap > 0] * replicates))
    found = repeated(lambda step: changed_parts(pool, rng, n, gap, change, step), n, r, SMALLER)
    found |= {(k, "exact limits"): v for k, v in repeated(lambda step: changed(pool, rng, n, gap, change, step, True), n, r, SMALLER).items()}
    for (name, method), (hits, width, low_p) in found.items():
        covered.append(dict(estimate=f"change of {name}", **key, truth=change[name], **share(hits, r), width=width / r, method=method))
        tests.append(dict(test=f"change of {name}", **key, **share(low_p, r), method=method))
    return covered, tests


PARTS_OF_WORK = {"first": first_part, "second": second_part, "third": third_part}


def merged(path: Path, rows: list[dict]) -> pd.DataFrame:
    "The rows, and those of the file that are about something else"
    new = pd.DataFrame([dict(method="") | row for row in rows])
    new = new[[c for c in new if c != "method"] + ["method"]]
    if not path.exists(): return new
    old = pd.read_csv(path, keep_default_na=False)
    old = old if "method" in old else old.assign(method="")
    keys = [old.columns[0], "n", "shape", "gap", "method"]
    same = pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    return pd.concat([old[~same], new], ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--part", choices=PARTS_OF_WORK, help="of the work; all of it where none is named")
    parser.add_argument("--shape", choices=SHAPES, help="of the confidences; all of them where none is named")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "benchmarks", help="folder")
    args = parser.parse_args()
    shapes = [args.shape] if args.shape else list(SHAPES)
    for part in [args.part] if args.part else PARTS_OF_WORK:
        with threads_of_children(1), ProcessPoolExecutor(args.workers, get_context("spawn")) as executor:
            jobs = [executor.submit(PARTS_OF_WORK[part], n, shape, gap, args.replicates) for n in SIZES for shape in shapes for gap in GAPS]
            for job in tqdm(jobs, disable=None):
                for name, rows in ((name, rows) for name, rows in zip(("coverage", "refused"), job.result()) if rows):
                    path = args.out / f"{name}.csv"
                    merged(path, rows).to_csv(path, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
