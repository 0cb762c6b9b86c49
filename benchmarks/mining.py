"""How long mining takes beside a loop over pairs as in XTREME's script, what events of retrieval cost, and how much memory: `python benchmarks/mining.py`

Random vectors of width 1024, one thread. `mine` and the loop: 20,000 by 20,000, k = 4; both use the same neighbours, the loop scores each candidate with a
call of its own, as XTREME's `score_candidates` does, on a part of the sentences, and is extrapolated. `nearest` (the 50 best of each query and the log-sum
of all others) and faiss, which finds the 50 best alone: 10,000 queries in a pool of 100,000. Each is measured in a fresh process; seconds are processor
seconds, memory is the peak of the process, less what it held with the vectors. Writes mining.csv."""
import argparse
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402

from xitcal.kinds.mining import NEIGHBOURS, _best, mine, neighbours  # noqa: E402
from xitcal.kinds.retrieval import KEPT, nearest  # noqa: E402

WIDTH = 1024


def vectors(*sizes):
    "Random vectors of length 1"
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((n, WIDTH), np.float32) for n in sizes]
    for v in found: v /= np.sqrt(np.einsum("ij,ij->i", v, v))[:, None] # without a second array of this size: memory is measured
    return found


def timed(what, *args):
    "What it gives, and its processor seconds"
    begin = time.process_time()
    return what(*args), time.process_time() - begin


def peak():
    "Peak memory of this process in MiB"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def loop(x, y, index, own, others):
    "One candidate at a time: a dot product and two means"
    scores = np.zeros(index.shape)
    for i in range(len(index)):
        for j in range(index.shape[1]):
            k = index[i, j]
            scores[i, j] = x[i].dot(y[k]) / ((own[i] + others[k]) / 2)
    return scores.argmax(1)


def measured(what, queries, pool):
    "Seconds and memory of one function on fresh vectors"
    faiss.omp_set_num_threads(1), torch.set_num_threads(1)
    x, y = vectors(queries, pool)
    calls = {"mine": lambda: len(mine(x, y).margin), "faiss": lambda: faiss.knn(x, y, KEPT, metric=faiss.METRIC_INNER_PRODUCT)[1].shape[1],
             "nearest": lambda: nearest(x, y, np.full(queries, -1))[0].shape[1]}
    timed(nearest, x[:8], y[:100], np.full(8, -1)) # libraries are loaded
    before, (found, seconds) = peak(), timed(calls[what])
    return dict(what=what, queries=queries, pool=pool, width=WIDTH, found=found, seconds=seconds, vectors_mebibytes=(x.nbytes + y.nbytes) / 2**20,
                extra_mebibytes=peak() - before)


def margins(sentences, part):
    "Seconds of all margins at once, and of the loop, extrapolated from a part"
    faiss.omp_set_num_threads(1)
    x, y = vectors(sentences, sentences)
    (there, search), (back, search_back) = timed(neighbours, x, y), timed(neighbours, y, x)
    own, others = there[0].mean(1), back[0].mean(1)
    (found, _), scored = timed(_best, *there, own, others)
    slow, by_loop = timed(loop, x[:part], y, there[1][:part], own[:part], others)
    assert (np.take_along_axis(there[1][:part], slow[:, None], 1)[:, 0] == found[:part]).mean() > .999 # ties aside
    both = dict(queries=sentences, pool=sentences, width=WIDTH, found=NEIGHBOURS)
    return [dict(what="search both ways", seconds=search + search_back, **both), dict(what="margins at once", seconds=2 * scored, **both),
            dict(what="margins by a loop", seconds=by_loop * 2 * sentences / part, **both)]


def fresh(what, *args):
    "A result from a process of its own"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one: return one.submit(what, *args).result()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--part", type=int, default=2_000, help="sentences that the loop scores")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("mining.csv"))
    args = parser.parse_args()
    rows = [fresh(measured, "mine", args.sentences, args.sentences), *fresh(margins, args.sentences, args.part),
            fresh(measured, "nearest", args.queries, args.pool), fresh(measured, "faiss", args.queries, args.pool)]
    table = pd.DataFrame(rows)
    table.to_csv(args.out, index=False, float_format="%.4g")
    print(table.to_string())


if __name__ == "__main__":
    main()
