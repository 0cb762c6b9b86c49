"""How often the intervals of notebook 31b cover what they estimate: `python scripts/coverage.py --replicates 10000`

Every setting is a number of decisions N, a shape of the confidences and a constant gap between confidence and chance; the truth is that of ten
million decisions' confidences. Writes benchmarks/coverage.csv: the share of replicates whose 95 % interval covers, its binomial standard
error, and the mean width."""
import argparse
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xitcal.groups import debiased_rms, mean_interval

SHAPES = {"Beta(6, 1.5)": lambda rng, n: rng.beta(6, 1.5, n), "60 % at 1": lambda rng, n: np.where(rng.random(n) < .6, 1., rng.beta(4, 1.5, n)),
          "uniform on [.5, 1]": lambda rng, n: .5 + .5 * rng.random(n)}
SIZES, GAPS, CHUNK = (100, 500, 2490), (0, .02, .05, .10), 2_000_000 # decisions at a time
SMALLEST = 1e-6 # confidences stay this far from 0 and 1 in the NLL


def scores(c: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    "Of decisions with confidence c, the value if right and if wrong, by estimate"
    kept = np.clip(c, SMALLEST, 1 - SMALLEST)
    return {"signed_gap": (c - 1, c), "nll": (-np.log(kept), -np.log(1 - kept)), "brier": ((1 - c) ** 2, c ** 2)}


def truths(draw, rng, gap: float) -> dict[str, float]:
    "Population values"
    c = draw(rng, 10_000_000)
    p = np.clip(c - gap, 0, 1)
    means = {name: float((p * right + (1 - p) * wrong).mean()) for name, (right, wrong) in scores(c).items()}
    return means | {"debiased_rms_ce": float(np.sqrt(((c - p) ** 2).mean()))}


def covered(draw, rng, n: int, gap: float, truth: dict[str, float], replicates: int) -> dict[str, tuple[int, float]]:
    "Number of replicates that cover, and the sum of widths, by estimate"
    c = draw(rng, n * replicates)
    y, group = rng.random(len(c)) < np.clip(c - gap, 0, 1), np.repeat(np.arange(replicates), n)
    intervals = {name: mean_interval(np.where(y, right, wrong), right, wrong, group)[1:] for name, (right, wrong) in scores(c).items()}
    intervals["debiased_rms_ce"] = debiased_rms(c, y, group)[1:]
    return {name: (int(((low <= truth[name] + 1e-9) & (truth[name] <= high)).sum()), float((high - low).sum())) for name, (low, high) in intervals.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "coverage.csv")
    args, rows = parser.parse_args(), []
    for n, shape, gap in tqdm([(n, s, g) for n in SIZES for s in SHAPES for g in GAPS], disable=None):
        rng, total = np.random.default_rng([n, zlib.crc32(shape.encode()), round(1000 * gap)]), {}
        truth, left = truths(SHAPES[shape], rng, gap), args.replicates
        while left:
            step = min(left, max(1, CHUNK // n))
            for name, (hits, width) in covered(SHAPES[shape], rng, n, gap, truth, step).items():
                total[name] = np.add(total.get(name, (0, 0)), (hits, width))
            left -= step
        for name, (hits, width) in total.items():
            share = hits / args.replicates
            rows.append(dict(estimate=name, n=n, shape=shape, gap=gap, truth=truth[name], replicates=args.replicates, covered=share,
                             standard_error=np.sqrt(share * (1 - share) / args.replicates), width=width / args.replicates))
        pd.DataFrame(rows).to_csv(args.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
