"""How long mining takes beside a loop over pairs as in XTREME's script, and how much memory: `python benchmarks/mining.py`

20,000 by 20,000 random vectors of width 1024, k = 4, one thread. Both use the same neighbours; the loop scores each candidate with a call of
its own, as XTREME's `score_candidates` does, on a part of the sentences, and is extrapolated. Writes mining.csv."""
import argparse
import os
import resource
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from xitcal.mining import NEIGHBOURS, _best, mine, neighbours  # noqa: E402

faiss.omp_set_num_threads(1)


def loop(x, y, index, own, others):
    "One candidate at a time: a dot product and two means"
    scores = np.zeros(index.shape)
    for i in range(len(index)):
        for j in range(index.shape[1]):
            k = index[i, j]
            scores[i, j] = x[i].dot(y[k]) / ((own[i] + others[k]) / 2)
    return scores.argmax(1)


def timed(what, *args):
    begin = time.perf_counter()
    return what(*args), time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--part", type=int, default=2_000, help="sentences that the loop scores")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("mining.csv"))
    args, rng = parser.parse_args(), np.random.default_rng(0)
    x, y = (rng.standard_normal((args.sentences, 1024), np.float32) for _ in range(2))
    for v in (x, y): v /= np.linalg.norm(v, axis=1, keepdims=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs, whole = timed(mine, x, y)
    peak = [m / 2**10 for m in (before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)]
    (there, search), (back, search_back) = timed(neighbours, x, y), timed(neighbours, y, x)
    own, others = there[0].mean(1), back[0].mean(1)
    (found, _), scored = timed(_best, *there, own, others)
    (slow, by_loop) = timed(loop, x[:args.part], y, there[1][:args.part], own[:args.part], others)
    assert (np.take_along_axis(there[1][:args.part], slow[:, None], 1)[:, 0] == found[:args.part]).mean() > .999 # ties aside
    by_loop *= 2 * args.sentences / args.part # both directions
    table = pd.DataFrame([dict(sentences=args.sentences, width=1024, k=NEIGHBOURS, pairs=len(pairs.margin), mine_seconds=whole,
                               neighbours_seconds=search + search_back, margins_seconds=2 * scored,
                               loop_seconds_extrapolated=by_loop, margins_ratio=by_loop / (2 * scored), whole_ratio=(search + search_back + by_loop) / whole,
                               peak_mebibytes=peak[1], peak_mebibytes_before=peak[0],
                               vectors_mebibytes=(x.nbytes + y.nbytes) / 2**20)])
    table.to_csv(args.out, index=False, float_format="%.4g")
    print(table.T.to_string())


if __name__ == "__main__":
    main()
