"""How often intervals hold what they estimate, and how often tests refuse: `python scripts/coverage.py --replicates 10000`

Every setting is a number of decisions N, a shape of the confidences and a constant gap between confidence and chance; the truth is that of two
million decisions. Writes benchmarks/coverage.csv, the share of replicates whose 95 % interval holds the truth (notebooks 31b, 31bc, 31bd), with its
binomial standard error and the mean width, and benchmarks/refused.csv, the share of replicates in which a test has p < .05 (notebook 31bd): at gap
0 its size, elsewhere its power. `SHARES` says how many of the replicates each of them gets."""
import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr
from tqdm.auto import tqdm

from xitcal.groups import debiased_rms, mean_interval, smooth_ece, smooth_ece_interval
from xitcal.measures import score_parts
from xitcal.parts import fit_correction
from xitcal.significance import calibration_test, paired_means

SHAPES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "60 % at 1": lambda rng, n: np.where(rng.random(n) < .6, 1., rng.beta(4, 1.5, n)),
          "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n)}
SIZES, GAPS = (100, 500, 2490), (0, .02, .05, .10)
SHARES = {"means": .4, "debiased": .4, "parts": .4, "smooth": .1, "calibrated": 1, "power": .1, "paired": 1, "paired power": .2}
SMALLEST, CHUNK = 1e-6, 1_000_000 # confidences stay this far from 0 and 1 in the NLL; decisions at a time


def scores(c: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    "Of decisions with confidence c, the value if right and if wrong, by estimate"
    kept = np.clip(c, SMALLEST, 1 - SMALLEST)
    return {"signed_gap": (c - 1, c), "nll_confidence": (-np.log(kept), -np.log(1 - kept)), "brier_confidence": ((1 - c) ** 2, c ** 2)}


def means(c, y, group, fold) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: mean_interval(np.where(y, *v), *v, group)[1:] for name, v in scores(c).items()}


def debiased(c, y, group, fold): return {"debiased_rms_ce": debiased_rms(c, y, group)[1:]}


def parts(c, y, group, fold): return {name: v[1:] for name, v in score_parts(c, y, group, fold).items()}


def smooth(c, y, group, fold): return {"smooth_ece": smooth_ece_interval(c, y, group)[1:]}


def truths(c: np.ndarray, p: np.ndarray) -> dict[str, float]:
    "Population values"
    found = {name: float((p * right + (1 - p) * wrong).mean()) for name, (right, wrong) in scores(c).items()}
    one, kept = np.zeros(len(c), int), np.clip(c, 1e-12, 1 - 1e-12)
    found |= {"debiased_rms_ce": float(np.sqrt(((c - p) ** 2).mean())), "smooth_ece": float(smooth_ece(c, p, one)[0])}
    z = np.clip(np.log(kept) - np.log1p(-kept), -15, 15)
    a, b = fit_correction(z, p, one, np.ones(len(c)))[0]
    for name, score in (("nll", lambda z, y: np.logaddexp(0, z) - y * z), ("brier", lambda z, y: (expit(z) - y) ** 2)):
        before, after = (float((p * score(x, 1.) + (1 - p) * score(x, 0.)).mean()) for x in (z, a + b * z))
        found |= {f"{name}_calibration": before - after, f"{name}_refinement": after}
    return found


def held(make, draw, rng, n, gap, truth, replicates) -> dict[str, tuple[int, float]]:
    "Number of replicates whose interval holds the truth (to 1e-9; smooth ECE to its grid), and the sum of widths, by estimate"
    c = draw(rng, n * replicates)
    y, group = rng.random(len(c)) < np.clip(c - gap, 0, 1), np.repeat(np.arange(replicates), n)
    slack = {"smooth_ece": 1 / 512}
    return {name: (int(((low <= truth[name] + slack.get(name, 1e-9)) & (truth[name] <= high + slack.get(name, 0))).sum()), float((high - low).sum()))
            for name, (low, high) in make(c, y, group, np.arange(len(c)) % 5).items()}


def pairs(pool, rng, n, gap, replicates):
    "Two models on the same rows: confidences that go together, errors that share their luck in four of five; the first is too sure by the gap"
    ease = rng.normal(size=n * replicates)
    c, d = (pool[(ndtr(np.sqrt(.8) * ease + np.sqrt(.2) * rng.normal(size=len(ease))) * len(pool)).astype(int)] for _ in range(2))
    luck = rng.random(len(ease))
    other = np.where(rng.random(len(luck)) < .8, luck, rng.random(len(luck)))
    return (c, luck < np.clip(c - gap, 0, 1)), (d, other < d), np.repeat(np.arange(replicates), n)


def changed(pool, rng, n, gap, truth, replicates) -> dict[str, tuple[int, float, int]]:
    "Number of replicates whose interval holds the change, sum of widths, and number with p < .05, by estimate"
    (c, y), (d, w), group = pairs(pool, rng, n, gap, replicates)
    found = {}
    for (name, mine), theirs in zip(scores(c).items(), scores(d).values()):
        _, low, high, p = paired_means((np.where(y, *mine), *mine), (np.where(w, *theirs), *theirs), group)
        found[name] = int(((low <= truth[name] + 1e-9) & (truth[name] <= high)).sum()), float((high - low).sum()), int((p < .05).sum())
    return found


def refused(draw, rng, n, gap, replicates) -> tuple[int]:
    "Number of replicates that the test of calibration refuses"
    c = draw(rng, n * replicates)
    y, group = rng.random(len(c)) < np.clip(c - gap, 0, 1), np.repeat(np.arange(replicates), n)
    return (int((calibration_test(c, y, group, draws=199, seed=int(rng.integers(1 << 31))) <= .05).sum()),)


def repeated(make, n, replicates):
    "Sum of what `make(step)` returns over steps that fit into memory; dictionaries entry by entry"
    total, left = None, replicates
    while left:
        step = min(left, max(1, CHUNK // n))
        made = make(step)
        made = {k: np.array(v) for k, v in made.items()} if isinstance(made, dict) else np.array(made)
        total = made if total is None else {k: total[k] + made[k] for k in made} if isinstance(made, dict) else total + made
        left -= step
    return total


def setting(n: int, shape: str, gap: float, replicates: int) -> tuple[list[dict], list[dict]]:
    "Rows of both tables for one setting"
    rng, draw = np.random.default_rng([n, zlib.crc32(shape.encode()), round(1000 * gap)]), SHAPES[shape]
    sample = draw(rng, 2_000_000)
    pool, truth, key = np.sort(sample), truths(sample, np.clip(sample - gap, 0, 1)), dict(n=n, shape=shape, gap=gap)
    base, covered, tests = truths(sample, sample), [], []
    def times(kind): return max(1, round(SHARES[kind] * replicates))
    def share(hits, r): return dict(replicates=r, share=hits / r, standard_error=np.sqrt(hits / r * (1 - hits / r) / r))
    for kind, make in (("means", means), ("debiased", debiased), ("parts", parts), ("smooth", smooth)):
        found = repeated(lambda step: held(make, draw, rng, n, gap, truth, step), n, times(kind))
        r = times(kind)
        covered += [dict(estimate=name, **key, truth=truth[name], **share(hits, r), width=width / r) for name, (hits, width) in found.items()]
    r, change = times("paired power" if gap else "paired"), {name: truth[name] - base[name] for name in scores(pool[:1])}
    for name, (hits, width, low_p) in repeated(lambda step: changed(pool, rng, n, gap, change, step), n, r).items():
        covered.append(dict(estimate=f"change of {name}", **key, truth=change[name], **share(hits, r), width=width / r))
        tests.append(dict(test=f"change of {name}", **key, **share(low_p, r)))
    r = times("power" if gap else "calibrated")
    tests.append(dict(test="calibrated", **key, **share(repeated(lambda step: refused(draw, rng, n, gap, step), n, r)[0], r)))
    return covered, tests


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "benchmarks", help="folder")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as executor:
        jobs = [executor.submit(setting, n, shape, gap, args.replicates) for n in SIZES for shape in SHAPES for gap in GAPS]
        found = [job.result() for job in tqdm(jobs, disable=None)]
    for name, tables in zip(("coverage", "refused"), zip(*found)):
        pd.DataFrame([row for table in tables for row in table]).to_csv(args.out / f"{name}.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
