"""Tests of calibration that others offer, each of many samples at once, for `benchmarks/contest.py`.

All take confidences (n,), whether each decision was right (n,) and the number of the sample (n,), and give a p-value for each sample. None of them knows of
clusters but the last two. What probcal 0.4.0 has too is compared with it in tests/test_contest.py."""
from functools import cache

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, logit
from scipy.stats import chi2, norm, rankdata, t

from xitcal.calibration.binned import mass_bins
from xitcal.calibration.debiased import mass_bin_count
from xitcal.calibration.intervals import imagined_mean

ENDS = 1e-6 # logits are of confidences this far from 0 and 1


def walk(c, y, group):
    """Partial sums of (right − confidence) in the order of the confidences over the standard deviation of the whole sum under calibration, read where a
    confidence ends (Arrieta-Ibarra et al. 2022, JMLR 23): lowest and highest of each sample, 0 among them"""
    order = np.lexsort((c, group))
    c, g, gap = c[order], group[order], (y - c)[order]
    total = np.cumsum(gap)
    before = np.concatenate([[0.], total[np.flatnonzero(np.diff(g))]])[g]
    last = np.append((np.diff(c) != 0) | (np.diff(g) != 0), True)
    starts = np.flatnonzero(np.diff(g[last], prepend=-1))
    steps = (total - before)[last]
    scale = np.sqrt(np.maximum(np.bincount(g, c * (1 - c)), 1e-300))
    return np.minimum(np.minimum.reduceat(steps, starts), 0) / scale, np.maximum(np.maximum.reduceat(steps, starts), 0) / scale


def kolmogorov_smirnov(c, y, group):
    "Largest absolute partial sum; its limit is the largest absolute value of a Brownian motion on [0, 1] (MAPIE, probcal)"
    low, high = walk(c, y, group)
    x, k = np.maximum(np.maximum(-low, high), 1e-3)[:, None], np.arange(50)
    return 1 - (4 / np.pi * (-1.) ** k / (2 * k + 1) * np.exp(-((2 * k + 1) * np.pi / x) ** 2 / 8)).sum(1)


def kuiper(c, y, group):
    "Range of the partial sums; its limit is the range of a Brownian motion (Feller 1951; MCGrad's ECCE, MAPIE's `kuiper_p_value`)"
    low, high = walk(c, y, group)
    x, k = np.maximum(high - low, .3)[:, None], np.arange(1, 60)
    return np.clip((8 * (-1.) ** (k - 1) * k * norm.sf(k * x)).sum(1), 0, 1)


def spiegelhalter(c, y, group):
    "Spiegelhalter 1986: the Brier score minus its expectation over its standard deviation"
    weight = 1 - 2 * c
    z = np.bincount(group, (y - c) * weight) / np.sqrt(np.maximum(np.bincount(group, weight ** 2 * c * (1 - c)), 1e-300))
    return 2 * norm.sf(np.abs(z))


def hosmer_lemeshow(c, y, group, less=0):
    "χ² of ten bins of equal mass with 10 degrees of freedom, right for a model not fitted to these rows; `less` 2, a common default, is for one that was"
    slot, n = group * 10 + mass_bins(c, group, 10), (group.max() + 1) * 10
    size, expected, seen = (np.bincount(slot, x, n) for x in (np.ones(len(c)), c, y))
    variance = expected * (1 - expected / np.maximum(size, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(variance > 1e-9, (seen - expected) ** 2 / variance, np.where(np.abs(seen - expected) > 1e-9, np.inf, 0))
    return chi2.sf(each.reshape(-1, 10).sum(1), 10 - less)


def _fit(powers, y, group, beta):
    "Logistic regression on the first columns of `powers` in each sample, by Newton's method with halved steps: log-likelihood and coefficients"
    many, width = group.max() + 1, beta.shape[1]
    x = powers[:, :width]
    def likelihood(beta):
        z = (x * beta[group]).sum(1)
        return np.bincount(group, y * z - np.logaddexp(0, z), many)
    best = likelihood(beta)
    for _ in range(30):
        p = expit((x * beta[group]).sum(1))
        slope = np.column_stack([np.bincount(group, (y - p) * x[:, i], many) for i in range(width)])
        bend = np.empty((many, width, width))
        for i in range(width):
            for j in range(i + 1):
                bend[:, i, j] = bend[:, j, i] = np.bincount(group, p * (1 - p) * x[:, i] * x[:, j], many)
        bend += 1e-7 * np.eye(width)
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        step *= np.minimum(1, 5 / np.maximum(np.abs(step).max(1), 1e-12))[:, None]
        for _ in range(6):
            after = likelihood(beta + step)
            step[after < best] /= 2
            if (after >= best).all(): break
        step[after < best] = 0
        gain = np.maximum(after - best, 0)
        beta, best = beta + step, best + gain
        if gain.max() < 1e-7: break
    return best, beta


@cache
def _selected(degree, gate=chi2.ppf(.95, 1), step=.005, top=100.):
    """Distribution function, on a grid, of the likelihood-ratio statistic when the forward selection stops at a degree: χ² with two degrees of freedom plus,
    for each further degree, a χ² with one that is above the gate (the independent increments from which Nattino et al. 2014 derive theirs)"""
    edges = np.arange(0, top + step, step)
    mass = np.diff(chi2.cdf(edges, 2))
    above = np.diff(np.maximum(chi2.cdf(edges, 1), .95)) / .05
    size = 2 * len(mass)
    both = np.fft.irfft(np.fft.rfft(mass, size) * np.fft.rfft(above, size) ** (degree - 1), size)[:len(mass)]
    return edges[1:] + (degree - 1) * step / 2, np.cumsum(both)


def calibration_belt(c, y, group):
    """Nattino, Finazzi and Bertolini 2014 (givitiR, external): logistic regression on a polynomial of the logit whose degree, one to four, grows while its
    likelihood-ratio test has p < .05; likelihood ratio against the confidences themselves"""
    z = logit(np.clip(c, ENDS, 1 - ENDS))
    many, size = group.max() + 1, np.bincount(group)
    mean = np.bincount(group, z) / size
    spread = np.sqrt(np.maximum(np.bincount(group, (z - mean[group]) ** 2) / size, 1e-12))
    x = (z - mean[group]) / spread[group]
    powers = x[:, None] ** np.arange(5)
    plain = np.bincount(group, y * z - np.logaddexp(0, z))
    best, beta = _fit(powers, y, group, np.column_stack([mean, spread]))
    degree, going = np.ones(many, int), np.ones(many, bool)
    for width in (3, 4, 5):
        if not going.any(): break
        rows, number = going[group], np.cumsum(going) - 1
        more, beta = _fit(powers[rows], y[rows], number[group[rows]], np.column_stack([beta, np.zeros(len(beta))]))
        gained = 2 * (more - best[going]) > chi2.ppf(.95, 1)
        at = np.flatnonzero(going)
        best[at[gained]], degree[at[gained]], beta = more[gained], width - 1, beta[gained]
        going[at[~gained]] = False
    p, statistic = np.ones(many), 2 * (best - plain)
    for m in range(1, 5):
        grid, below = _selected(m)
        p[degree == m] = 1 - np.interp(statistic[degree == m], grid, below)
    return np.clip(p, 0, 1)


def _bandwidth(s):
    "Median distance of two confidences of each sample (rows), or their mean distance where that is 0"
    if s.shape[1] > 120: # as many random pairs as there are decisions
        pairs = np.abs(s - np.random.default_rng(0).permuted(s, axis=1))
    else:
        pairs = np.abs(s[:, :, None] - s[:, None, :])[:, *np.triu_indices(s.shape[1], 1)]
    middle = np.median(pairs, axis=1)
    return np.where(middle > 0, middle, np.maximum(pairs.mean(1), 1e-6))


def _decayed(v, grow):
    "Σ over j ≤ i of v_j exp(−(s_i − s_j) / h) along the last axis, for s in rising order and `grow` exp(s / h)"
    return np.cumsum(v * grow, axis=-1) / grow


def kernel(c, y, group, draws=199, seed=0, bandwidth=None):
    """Widmann, Lindsten and Zachariah 2019 (arXiv 1910.11385): unbiased squared kernel calibration error with Laplace's kernel and the median distance as its
    bandwidth, tested by the centred bootstrap of its U-statistic (appendix G; probcal's `skce_test`). All samples have the same size"""
    order = np.lexsort((c, group))
    s, r = (x[order].reshape(group.max() + 1, -1) for x in (c, y - c))
    n, rng, found = s.shape[1], np.random.default_rng(seed), []
    step = max(1, int(5e6 // (n * draws)))
    for first in range(0, len(s), step):
        a, v = s[first:first + step], r[first:first + step]
        h = _bandwidth(a)[:, None] if bandwidth is None else bandwidth
        grow = np.exp(np.maximum((a - a.max(1, keepdims=True)) / h, -600)) # what is further away weighs nothing anyhow
        left = _decayed(v, grow)
        row = v * (left + (_decayed(v[:, ::-1], 1 / grow[:, ::-1])[:, ::-1]) - v) # of the kernel matrix of v
        seen = (row.sum(1) - (v ** 2).sum(1)) / (n - 1)
        mean, all_ = row / n, row.sum(1, keepdims=True) / n ** 2
        count = rng.multinomial(n, np.full(n, 1 / n), draws).astype(float)
        w = count * v[:, None]
        square = 2 * (w * _decayed(w, grow[:, None])).sum(2) - (w ** 2).sum(2)
        centred = square - 2 * n * mean @ count.T + n ** 2 * all_
        diagonal = (v ** 2 - 2 * mean + all_) @ count.T
        found.append((1 + ((centred - diagonal) / (n - 1) >= seen[:, None]).sum(1)) / (draws + 1))
    return np.concatenate(found)


def t_cal_statistics(c, y, group):
    """Debiased square of the binned error, (1 / n) Σ over bins of ((Σ r)² − Σ r²) / size, in 2, 4, … bins of equal width up to 2^⌊2 log₂(n / √log n)⌋
    (Lee et al. 2022, arXiv 2203.01850, equation 3 and section 4.2): (samples, levels)"""
    order = np.lexsort((c, group))
    c, g, r = c[order], group[order], (c - y)[order]
    many, n = g[-1] + 1, len(c) // (g[-1] + 1)
    levels, found = int(2 * np.log2(n / np.sqrt(np.log(n)))), []
    for b in range(1, levels + 1):
        bin_ = np.minimum((c * 2. ** b).astype(np.int64), 2 ** b - 1)
        starts = np.flatnonzero((np.diff(bin_, prepend=-1) != 0) | (np.diff(g, prepend=-1) != 0))
        total, squares = np.add.reduceat(r, starts), np.add.reduceat(r ** 2, starts)
        size = np.diff(np.append(starts, len(c)))
        found.append(np.bincount(g[starts], (total ** 2 - squares) / size, many) / n)
    return np.column_stack(found)


def t_cal(c, y, group, limits):
    "Adaptive T-Cal at the 5 % level: 0 where any of its statistics is above its limit (`t_cal_limits`), 1 elsewhere"
    return np.where((t_cal_statistics(c, y, group) > limits).any(1), 0., 1.)


def t_cal_limits(draw, rng, n, samples=3000):
    "Quantile 1 − .05 / levels of each statistic over calibrated samples of the population, which stand for consistency resampling of each"
    c = draw(rng, n * samples)
    found = t_cal_statistics(c, (rng.random(len(c)) < c).astype(float), np.repeat(np.arange(samples), n))
    return np.quantile(found, 1 - .05 / found.shape[1], axis=0)


def robust_gap(c, y, group, cluster):
    "t-test of the signed calibration error whose standard error sums over clusters, as the library's interval has it (with pseudo-observations)"
    _, centre, error, df = imagined_mean(c - y, [(c - 1, 2), (c, 2)], group, cluster)
    return 2 * t.sf(np.abs(centre) / error, df)


def gap_and_bins(c, y, group, cluster, draws=199, seed=0):
    """What `calibration_test` was before this contest: signed error and χ² of bins of equal mass, ranked among simulated calibrated models in which all
    decisions of a cluster are fully correlated"""
    rng, many, n = np.random.default_rng(seed), group.max() + 1, len(c)
    slot = group * 15 + mass_bins(c, group, mass_bin_count(np.bincount(group)))
    member = csr_array((np.ones(n, np.float32), (slot, np.arange(n))), shape=(many * 15, n))
    u = rng.random((cluster.max() + 1, draws), dtype=np.float32)[cluster]
    sums = np.concatenate([(member @ (c - y))[:, None], member @ (c[:, None] - (u < c[:, None].astype(np.float32)))], axis=1).reshape(many, 15, -1)
    expected = np.maximum(np.bincount(slot, c * (1 - c), many * 15), 1e-9).reshape(many, 15, 1)
    share = [rankdata(-np.round(v, 4), "max", axis=-1) for v in (np.abs(sums.sum(1)), (sums ** 2 / expected).sum(1))]
    return (rankdata(np.minimum(*share), "max", axis=-1) / (draws + 1))[:, 0]
