"""`xitcal calibrate`: the command line on files of every kind, and intervals that cover."""
import json

import numpy as np
import pandas as pd
import pytest
from conftest import xitcal
from scipy.special import softmax

from xitcal.calibrate import calibrate as make_table
from xitcal.calibrate import read_file
from xitcal.groups import debiased_rms, mean_interval, smooth_ece_interval

COLUMNS = {"language", "estimate", "value", "low", "high", "null_floor", "n"}
ESTIMATES = {"signed_gap", "debiased_rms_ce", "ece_15", "smooth_ece", "nll", "brier"}


def calibrate(*words, ok=True) -> str:
    "Output of the command; the one line it says when it fails"
    done = xitcal("calibrate", *map(str, words), check=ok)
    if ok:
        return done.stdout
    assert done.returncode and len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def predictions(louder: float, n=400, seed=0) -> pd.DataFrame:
    "Logits `louder` times those of the truth, in two languages with the same examples"
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(2 * n, 3)) * 1.5
    label = [rng.choice(3, p=p) for p in softmax(truth, axis=1)]
    return pd.DataFrame(dict(logits=list(louder * truth), label=label, language=np.repeat(["en", "sw"], n), example=[f"e{i}" for i in range(n)] * 2))


def test_a_file_of_each_kind_gives_the_same_tidy_table(tmp_path):
    table = predictions(2.)
    table.to_parquet(tmp_path / "a.parquet")
    table.assign(logits=[json.dumps(list(z)) for z in table.logits]).to_csv(tmp_path / "a.csv", index=False)
    probs = table.assign(probs=[softmax(z) for z in table.logits]).drop(columns="logits")
    probs.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    said = calibrate(tmp_path / "a.csv", "--out", tmp_path / "out.csv", "--fast")
    assert "signed_gap" in said and "sw" in said
    found = {kind: make_table(read_file(tmp_path / f"a.{kind}"), smooth=False) for kind in ("parquet", "jsonl")}
    found["csv"] = pd.read_csv(tmp_path / "out.csv")
    assert COLUMNS <= set(found["csv"]) and set(found["csv"].estimate) == ESTIMATES and len(found["csv"]) == 12
    for kind in ("csv", "jsonl"):
        pd.testing.assert_frame_equal(found[kind], found["parquet"], atol=1e-9)
    gap = found["csv"].query("estimate == 'signed_gap'")
    assert (gap.low > 0).all() and (gap.n == 400).all() # twice as loud is over-confident


def test_a_baseline_adds_paired_changes(tmp_path):
    predictions(2.).to_parquet(tmp_path / "loud.parquet")
    predictions(1.)[10:].to_parquet(tmp_path / "plain.parquet")
    said = calibrate(tmp_path / "loud.parquet", "--baseline", tmp_path / "plain.parquet", "--by", "language", "--out", tmp_path / "out.parquet", "--fast")
    assert "10 decisions without a partner left out" in said
    table = pd.read_parquet(tmp_path / "out.parquet").set_index(["language", "estimate"])
    assert table.loc[("en", "change_nll"), "low"] > 0 and table.loc[("en", "change_signed_gap"), "n"] == 390


def test_what_cannot_be_is_one_sentence(tmp_path):
    table = predictions(1.)
    table.to_parquet(tmp_path / "a.parquet")
    assert "did you mean 'language'" in calibrate(tmp_path / "a.parquet", "--by", "langage", ok=False)
    assert "estimates are written as" in calibrate(tmp_path / "a.parquet", "--out", tmp_path / "a.xlsx", ok=False)


# --- intervals: the fast version; the full one is scripts/coverage.py ------------------------------------------------------

SHAPES = {"beta": lambda rng, n: rng.beta(6, 1.5, n), "saturated": lambda rng, n: np.where(rng.random(n) < .6, 1., rng.beta(4, 1.5, n))}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gap", [0, .05])
def test_intervals_cover(shape, gap, n=100, replicates=2000):
    rng = np.random.default_rng([n, int(100 * gap), len(shape)])
    c = SHAPES[shape](rng, n * replicates)
    p = np.clip(c - gap, 0, 1)
    y, group, big = rng.random(len(c)) < p, np.repeat(np.arange(replicates), n), SHAPES[shape](rng, 1_000_000)
    bound = 3 * np.sqrt(.05 * .95 / replicates)
    for value, right, wrong, truth in ((c - y, c - 1, c, (big - np.clip(big - gap, 0, 1)).mean()),
                                       ((c - y) ** 2, (1 - c) ** 2, c ** 2, (np.clip(big - gap, 0, 1) * (1 - 2 * big) + big ** 2).mean())):
        _, low, high = mean_interval(value, right, wrong, group)
        assert .93 - bound < ((low <= truth) & (truth <= high)).mean() < .97 + bound
    truth = np.sqrt(((big - np.clip(big - gap, 0, 1)) ** 2).mean())
    _, low, high = debiased_rms(c, y, group)
    assert ((low <= truth + 1e-9) & (truth <= high)).mean() > .93 - bound


def test_decisions_of_one_example_are_not_taken_for_independent():
    rng = np.random.default_rng(0)
    c = rng.beta(6, 1.5, 20_000)
    y = rng.random(len(c)) < c
    four, cluster, group = np.repeat(np.arange(len(c)), 4), np.repeat(np.arange(len(c)), 4), np.repeat(np.arange(200), 400)
    _, low, high = mean_interval((c - y)[four], (c - 1)[four], c[four], group, cluster)
    covered = ((low <= 0) & (0 <= high)).mean()
    _, low, high = mean_interval((c - y)[four], (c - 1)[four], c[four], group)
    assert covered > .9 > .85 > ((low <= 0) & (0 <= high)).mean()
    assert smooth_ece_interval(c[four], y[four], group, cluster, draws=50)[2].mean() > smooth_ece_interval(c[four], y[four], group, draws=50)[2].mean()


def test_three_hundred_groups_fit_into_memory_and_keep_their_order(tmp_path):
    rng = np.random.default_rng(0)
    n = 300 * 200
    table = pd.DataFrame(dict(confidence=rng.beta(6, 1.5, n), correct=rng.random(n) < .8, cell=np.repeat(np.arange(300), 200)))
    table.to_parquet(tmp_path / "many.parquet")
    calibrate(tmp_path / "many.parquet", "--by", "cell", "--out", tmp_path / "out.csv", "--fast")
    found = pd.read_csv(tmp_path / "out.csv").query("estimate == 'signed_gap'").set_index("cell")
    expected = table.groupby("cell").apply(lambda t: (t.confidence - t.correct).mean(), include_groups=False)
    np.testing.assert_allclose(found.value, expected, atol=1e-9)
