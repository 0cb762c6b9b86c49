"""The contest of tests of calibration: rivals agree with those who have them, p-values are uniform, and the committed table says what the page says."""
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from xitcal.calibration.significance import TEST_STATISTICS, _binned_squares, calibration_test, shared_covariance, simulated_gaps
from xitcal.report.contest import OUR_CHANGES, OURS, change_sizes, change_words, contest_words, read_contest, sizes

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import calibration_tests as rivals  # noqa: E402
import changes  # noqa: E402
import contest  # noqa: E402


def samples(many=12, n=150, seed=0, ties=False):
    "Confidences, whether right, sample: calibrated"
    rng = np.random.default_rng(seed)
    c = rng.beta(6, 1.5, many * n)
    c = c.round(1) if ties else c
    return c, (rng.random(many * n) < c).astype(float), np.arange(many).repeat(n)


# ---- rivals

@pytest.mark.parametrize("ties", [False, True])
def test_partial_sums_and_spiegelhalter_are_those_of_probcal(ties):
    from probcal.metrics import ecce, spiegelhalter_z
    c, y, group = samples(ties=ties)
    low, high = rivals.walk(c, y, group)
    scale = np.sqrt(np.bincount(group, c * (1 - c))) / np.bincount(group)
    for i in range(12):
        mine = group == i
        assert np.maximum(-low, high)[i] * scale[i] == pytest.approx(ecce(y[mine], c[mine]).stat_max, rel=1e-9)
        assert rivals.spiegelhalter(c, y, group)[i] == pytest.approx(spiegelhalter_z(y[mine], c[mine]).p_value, rel=1e-6)


def test_kernel_test_is_that_of_probcal():
    "Same statistic and bandwidth, other resamples: p-values differ by their noise alone"
    from probcal.metrics.kernel import skce_test
    c, y, group = samples(many=6, n=100)
    mine = rivals.kernel(c, y, group, draws=1999)
    theirs = [skce_test(y[group == i], c[group == i], n_boot=1999).p_value for i in range(6)]
    assert np.abs(mine - theirs).max() < .04


def test_limits_of_the_partial_sums():
    "95 % points of the largest absolute value and of the range of a Brownian motion, by simulation"
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(4000, 2000)), axis=1) / np.sqrt(2000)
    top, bottom = np.maximum(walk.max(1), 0), np.minimum(walk.min(1), 0)
    for values, at in ((np.maximum(top, -bottom), 2.241), (top - bottom, 2.498)):
        assert np.quantile(values, .95) == pytest.approx(at, abs=.08)
    c, y, group = samples(many=3000, n=100)
    for test in (rivals.kolmogorov_smirnov, rivals.kuiper, rivals.spiegelhalter):
        assert (test(c, y, group) <= .05).mean() == pytest.approx(.045, abs=.02)


def test_distribution_of_the_belt_after_selection():
    "One degree is χ² with two degrees of freedom; two have the closed form of Nattino et al. 2014"
    grid, below = rivals._selected(1)
    assert np.interp(5.991, grid, below) == pytest.approx(.95, abs=2e-3)
    k, x = chi2.ppf(.95, 1), 9.
    grid, below = rivals._selected(2)
    closed = (chi2.cdf(x, 1) - .95 - np.sqrt(2 / np.pi) * np.exp(-x / 2) * (np.sqrt(x) - np.sqrt(k))) / .05
    assert np.interp(x, grid, below) == pytest.approx(closed, abs=5e-3)


def test_the_belt_is_a_likelihood_ratio():
    import statsmodels.api as sm
    from scipy.special import logit
    c, y, group = samples(many=4, n=400)
    for i in range(4):
        z = logit(c[group == i])
        fitted = sm.Logit(y[group == i], np.column_stack([np.ones(400), z])).fit(disp=0)
        best, _ = rivals._fit(np.column_stack([np.ones(400), z]), y[group == i], np.zeros(400, int), np.array([[0., 1.]]))
        assert best[0] == pytest.approx(fitted.llf, abs=1e-5)


# ---- ours

def test_full_correlation_is_the_largest_covariance():
    rng = np.random.default_rng(0)
    c, example = np.array([.6, .9, .75, .5]), np.array([0, 0, 0, 1])
    u = rng.random((2, 200_000))[example]
    right = u < c[:, None]
    simulated = np.cov(right[:3])
    assert shared_covariance(c, np.zeros(4, int), example, 1)[0] == pytest.approx(simulated.sum() - np.trace(simulated), abs=.01)


def test_simulated_models_are_as_correlated_as_the_model():
    rng = np.random.default_rng(0)
    u, cluster = contest.outcomes(rng, 4000, 10, .5)
    c = rng.beta(6, 1.5, 4000)
    _, shares = simulated_gaps(c, u < c, np.zeros(4000, int), cluster, np.zeros(4000, int), 1, 50, 0)
    assert shares[0, 0] == pytest.approx(.5, abs=.08) and shares[0, 1:].mean() == pytest.approx(shares[0, 0], abs=.03)


def test_decisions_alone_in_their_example_are_independent():
    c, y, group = samples()
    assert (calibration_test(c, y, group, np.arange(len(c)), draws=99) == calibration_test(c, y, group, draws=99)).all()


def test_the_order_of_rows_with_the_same_confidence_does_not_matter():
    c, y, one = np.full(60, .8), np.arange(60) < 48, np.zeros(60, int)
    assert calibration_test(c, y, one) == calibration_test(c, y[::-1], one) == 1


@pytest.mark.parametrize("statistic", TEST_STATISTICS)
def test_each_statistic_rejects_few_calibrated_models_with_many_errors_and_sees_a_gross_one(statistic):
    rng = np.random.default_rng(3)
    c, cluster, group = rng.uniform(.6, .95, 200 * 200), np.arange(200 * 200) // 5, np.arange(200).repeat(200)
    u = np.where(rng.random(len(c)) < .8, rng.random(cluster[-1] + 1)[cluster], rng.random(len(c)))
    p = {name: calibration_test(c, u < chance, group, cluster, draws=99, statistic=statistic) for name, chance in (("calm", c), ("wrong", c - .5))}
    assert (p["calm"] <= .05).mean() < .09 and (p["wrong"] <= .05).mean() > .9
    sure = calibration_test(np.append(c[:40], 1.), np.append(u[:40] < c[:40], False), np.zeros(41, int), draws=99, statistic=statistic)
    assert sure == [.01] # certain, and wrong


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_few_decisions_have_a_p_value(n):
    p = calibration_test(np.full(n, .7), np.ones(n), np.zeros(n, int), np.zeros(n, int), draws=99)
    assert .01 <= p[0] <= 1


def test_groups_do_not_depend_on_their_neighbours_clusters():
    "Translations are clusters of one decision in a group of one language"
    c, y, _ = samples(many=1, n=400)
    language, item = np.arange(400) % 4, np.arange(400) // 4
    assert (calibration_test(c, y, language, item, draws=99) == calibration_test(c, y, language, draws=99)).all()


def test_squares_of_bins_are_those_of_a_loop():
    rng = np.random.default_rng(3)
    gaps, variance, more = rng.normal(size=(3, 32, 5)), rng.random((3, 32)), 1 + rng.random((3, 5))
    found = _binned_squares(gaps, variance, more)
    for group in range(3):
        for draw in range(5):
            bins = [(gaps[group, i:i + 4, draw].sum() ** 2, variance[group, i:i + 4].sum()) for i in range(0, 32, 4)]
            assert found[group, draw] == pytest.approx(sum(square / var for square, var in bins) / more[group, draw])


def test_what_was_adopted_is_nearest_where_it_is_used():
    "Of the portfolios that were tried, by the committed table; all have their size there"
    tried = pd.read_csv(ROOT / "benchmarks" / "portfolios.csv")
    used = {"independent": "line parabola range scan", **dict.fromkeys(("tokens of a sentence", "an item in five languages"), "line parabola scan bins")}
    for dependence, portfolio in used.items():
        rows = tried[(tried.dependence == dependence) & (tried.invalid == 0)]
        ours = rows[(rows.portfolio == portfolio) & (rows.rule == "harmonic mean") & (rows.correlation == "as estimated")].iloc[0]
        assert ours.far_behind <= rows.far_behind.min() + (dependence == "independent") and ours.power == rows.power.max()


# ---- the committed table

@pytest.fixture(scope="module")
def table(): return read_contest(ROOT / "benchmarks" / "contest.csv")


def test_every_setting_is_there(table):
    keys = table.groupby(["dependence", "n", "confidences", "error"]).test.nunique()
    assert len(keys) == 3 * 3 * 4 * 6 and set(keys) == {11}
    assert set(table.dependence) == set(contest.DEPENDENCE) and set(table.error) == set(contest.ERRORS)


def test_ours_has_its_size(table):
    ours = sizes(table)[lambda t: t.test == OURS]
    assert ours.share.mean() < .055
    free = ours[ours.dependence == "independent"]
    assert not free.invalid.any()


@pytest.mark.parametrize("dependence", ["independent", "tokens of a sentence", "an item in five languages"])
def test_ours_is_nearest_to_the_best(table, dependence):
    "On average no test that keeps its size in all settings loses fewer points to the best one that keeps it in a setting"
    mine = table[table.dependence == dependence]
    invalid = sizes(table).query("dependence == @dependence").set_index(["n", "confidences", "test"]).invalid
    power = mine[mine.error != "none"]
    valid = power[~invalid.loc[pd.MultiIndex.from_frame(power[["n", "confidences", "test"]])].to_numpy()]
    lost = valid.groupby(["n", "confidences", "error"]).share.transform("max") - valid.share
    always = [name for name, wrong in invalid.groupby("test").any().items() if not wrong and name != OURS]
    mean = lost.groupby(valid.test).mean()
    assert len(always) >= 2 and (mean[OURS] < mean[always]).all(), mean[[OURS, *always]]


def test_the_page_says_what_the_table_says(table):
    import json
    page = json.loads((ROOT / "nbs" / "results" / "trust" / "07_contest.ipynb").read_text())
    shown = "".join("".join(o["data"].get("text/markdown", "")) for c in page["cells"] for o in c.get("outputs", []) if "data" in o)
    assert contest_words(table) in shown


@pytest.mark.parametrize("confidences", contest.CONFIDENCES)
def test_errors_are_what_their_names_say(confidences):
    pool = np.sort(contest.CONFIDENCES[confidences](np.random.default_rng(0), 20_000))
    shapes = contest.error_shapes(pool)
    crossing = shapes["over-confident above the median, under-confident below"](pool)
    assert (crossing[pool > np.median(pool)] == 1).all() and (crossing[pool < np.median(pool)] == -1).all()
    assert .13 < shapes["one region"](pool).mean() < .17
    s = shapes["S-shaped"](pool)
    assert s[len(s) // 8] > .5 and s[7 * len(s) // 8] < -.5


# ---- paired tests of change

@pytest.mark.parametrize("scenario", changes.SCENARIOS)
def test_two_models_have_the_errors_of_their_scenario(scenario):
    "Confidence minus the chance of being right, and how large its calibration term is"
    rng, n = np.random.default_rng(0), 200_000
    pool = np.sort(rng.beta(6, 1.5, 50_000))
    shapes, (first, much, second, more) = contest.error_shapes(pool), changes.SCENARIOS[scenario]
    chance = [contest.chances(shapes[e], pool, 100, s) for e, s in ((first, much), (second, more))]
    models, group, cluster = changes.two_models(rng, n, 1, chance, 5, .8)
    gap = [(c - y).mean() for c, y in models]
    terms = [((c - p(c)) ** 2).mean() for p, (c, _) in zip(chance, models)]
    if scenario in changes.NO_CHANGE["over-confidence"]: assert gap[0] == pytest.approx(gap[1], abs=.006)
    same = scenario in changes.NO_CHANGE["calibration term"]
    assert (terms[0] == pytest.approx(terms[1], rel=.06, abs=1e-9)) == same
    aims = [(s * np.sqrt((pool * (1 - pool)).mean() / 100)) ** 2 for s in (much, more)]
    assert terms == pytest.approx(aims, rel=.06, abs=1e-9)
    assert np.corrcoef(models[0][0], models[1][0])[0, 1] > .5 and len(np.unique(cluster)) == n / 5 and set(group) == {0}


def test_paired_tests_on_a_few_samples():
    found = pd.DataFrame(changes.setting("an item in five languages", 100, "both calibrated", .2))
    assert set(found.question) == set(OUR_CHANGES) and not found.change.any() and (found.share < .12)[found.test.isin(OUR_CHANGES.values())].all()
    found = pd.DataFrame(changes.setting("independent", 100, "as wrong in the other direction", .2))
    assert found.set_index("test").share["paired_means"] > .8 and found.groupby("question").change.all().to_dict() == {
        "over-confidence": True, "calibration term": False}


def test_the_page_says_of_change_what_its_table_says():
    import json
    table = pd.read_csv(ROOT / "benchmarks" / "changes.csv")
    assert len(table.groupby(["dependence", "n", "scenario"])) == 3 * 3 * len(changes.SCENARIOS) and set(table.scenario) == set(changes.SCENARIOS)
    ours = change_sizes(table)[lambda t: t.test.isin(OUR_CHANGES.values())]
    assert ours.share.mean() < .06
    page = json.loads((ROOT / "nbs" / "results" / "trust" / "07_contest.ipynb").read_text())
    shown = "".join("".join(o["data"].get("text/markdown", "")) for c in page["cells"] for o in c.get("outputs", []) if "data" in o)
    assert change_words(table) in shown
