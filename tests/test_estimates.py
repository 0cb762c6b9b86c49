"""Bins, ranking, groups: the same as netcal and scikit-learn where these are right; netcal 1.4.0's faults beside our value and one by hand."""
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from xitcal.calibration.binned import bin_gaps, binned_ece, classwise_ece, classwise_null, largest_error, null_bins
from xitcal.calibration.decomposition import fit_correction, score_parts
from xitcal.calibration.ranking import aurc, aurc_interval, auroc_interval, excess_aurc, optimal_aurc
from xitcal.calibration.recalibrators import fit_temperature
from xitcal.calibration.significance import calibration_test, paired_means, paired_parts
from xitcal.calibration.tables import class_table, estimate_table
from xitcal.core.errors import XitcalError
from xitcal.predictions.events import event_statistics, toy_predictions

netcal = pytest.importorskip("netcal.metrics")
VERSION = "netcal 1.4.0: if this fails, netcal was mended"


def draw(n, k, louder=2.0, seed=0):
    "Probabilities (float64) of a model that is too loud, and labels"
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (n, k))
    p, q = (np.exp(t * z) / np.exp(t * z).sum(1, keepdims=True) for t in (1, louder))
    return q, (p.cumsum(1)[:, :-1] <= rng.random((n, 1))).sum(1)


def top(p, label):
    return p.max(1), (p.argmax(1) == label).astype(int), np.zeros(len(p), int)


def by_hand(c, y, edges):
    "ECE and MCE by a loop over bins [low, high), the last one closed"
    gaps, sizes = [], []
    for low, high in zip(edges, edges[1:]):
        mine = (c >= low) & ((c < high) | (high == edges[-1]))
        if mine.any():
            gaps.append(abs(c[mine].mean() - y[mine].mean()))
            sizes.append(mine.sum())
    return np.dot(gaps, sizes) / len(c), max(gaps)


# --- where others are right, the same -----------------------------------------------------------------------------------

@pytest.mark.parametrize("bins", [5, 10, 15, 20, 25, 50, 100])
@pytest.mark.parametrize("k", [2, 3, 9])
def test_any_number_of_bins_equals_netcal_and_the_loop(k, bins):
    c, y, g = top(*draw(600, k))
    hand = by_hand(c, y, np.linspace(0, 1, bins + 1))
    assert (binned_ece(c, y, g, bins)[0], largest_error(c, y, g, bins)[0]) == pytest.approx(hand, abs=1e-12)
    assert netcal.ECE(bins).measure(c, y) == pytest.approx(hand[0], abs=1e-12)
    assert netcal.MCE(bins).measure(c, y) == pytest.approx(hand[1], abs=1e-12)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_equal_mass_equals_netcal_and_scikit_learn_without_ties(bins):
    c, y, g = top(*draw(300, 3))
    ours = binned_ece(c, y, g, bins, mass=True)[0]
    assert netcal.ECE(bins, equal_intervals=False).measure(c, y) == pytest.approx(ours, abs=1e-12)
    true, said = calibration_curve(y, c, n_bins=bins, strategy="quantile")
    assert np.abs(true - said).mean() == pytest.approx(ours, abs=1e-12)  # 300 / bins decisions in each


def test_groups_are_what_each_group_gives_alone():
    p, label = draw(900, 4)
    c, y, _ = top(p, label)
    g = np.repeat([0, 1, 2], [100, 300, 500])
    for make in (binned_ece, largest_error, lambda *a: binned_ece(*a, mass=True), aurc, excess_aurc, lambda *a: auroc_interval(*a)[1]):
        alone = [make(c[g == i], y[g == i], np.zeros((g == i).sum(), int))[0] for i in range(3)]
        assert make(c, y, g) == pytest.approx(alone, abs=1e-12)
    assert classwise_ece(p, label, g) == pytest.approx([classwise_ece(p[g == i], label[g == i])[0] for i in range(3)], abs=1e-12)


def test_table_agrees_with_scikit_learn():
    events = event_statistics(toy_predictions(["pawsx"], n=300, seeds=(0,)))
    table = estimate_table(events, ["intermediate", "language"], draws=5).set_index(["intermediate", "language", "estimate"]).sort_index()
    for (condition, code), part in events.groupby(["intermediate", "language"], observed=True):
        c, y = part.confidence.to_numpy(), part.correct.to_numpy()
        row = table.loc[(condition, code)].value
        assert row["auroc"] == pytest.approx(roc_auc_score(y, c), abs=1e-12)
        assert row["brier_confidence"] == pytest.approx(brier_score_loss(y, c), abs=1e-12)
        assert row["nll_confidence"] == pytest.approx(log_loss(y, c), abs=1e-9)
        assert row["nll"] == pytest.approx(row["nll_confidence"], abs=1e-9)  # with two classes all is said by the decision
        assert row["brier"] == pytest.approx(2 * row["brier_confidence"], abs=1e-12)
        assert row["nll_calibration"] + row["nll_refinement"] == pytest.approx(row["nll_confidence"], abs=1e-5)


# --- risk and coverage --------------------------------------------------------------------------------------------------

def test_risk_coverage_by_hand():
    "Right, wrong, right, wrong: risks 0, 1/2, 1/3, 1/2; a perfect order has 0, 0, 1/3, 1/2"
    c, y, one = np.array([.9, .8, .7, .6]), np.array([1, 0, 1, 0]), np.zeros(4, int)
    assert aurc(c, y, one)[0] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert optimal_aurc(2, 4) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert excess_aurc(c, y, one)[0] == pytest.approx(1 / 2 / 4)
    assert aurc(-c, y, one)[0] == pytest.approx((1 + 1 / 2 + 2 / 3 + 1 / 2) / 4)


def test_the_order_of_rows_does_not_matter_where_confidences_are_tied():
    rng = np.random.default_rng(0)
    c, y = np.where(rng.random(500) < .6, 1., rng.beta(6, 1.5, 500)), rng.random(500) < .8
    g, o = np.zeros(500, int), rng.permutation(500)
    for make in (aurc, excess_aurc, lambda *a: auroc_interval(*a)[0], lambda *a: binned_ece(*a, mass=True), lambda *a: aurc_interval(*a)[2]):
        assert make(c, y, g) == pytest.approx(make(c[o], y[o], g), abs=1e-12)


def test_no_mistake_is_no_certainty():
    "100 decisions, all right: AURC 0, and an upper end above it; AUROC is not defined"
    c, y, g = np.random.default_rng(0).beta(6, 1.5, 100), np.ones(100), np.zeros(100, int)
    value, low, high = aurc_interval(c, y, g)
    assert value == 0 and low == 0 and .005 < high < .1
    assert all(np.isnan(x).all() for x in auroc_interval(c, y, g))


# --- what there is no interval for --------------------------------------------------------------------------------------

def test_what_has_no_interval_says_why_and_the_rest_has_one():
    table = estimate_table(event_statistics(toy_predictions(["xnli", "pawsx", "xquad"], n=60, seeds=(0,))), ["target", "language"], draws=5)
    bare = table[table.low.isna()]
    assert {x.rsplit("_", 1)[0] for x in bare.estimate[bare.value.notna()]} == {"ece", "mce", "ece_15", "mce_15", "debiased_square", "debiased_root"}
    assert bare.why.str.startswith(("no interval: ", "undefined: ")).all() and table.n.gt(0).all()
    assert table[table.estimate.str.contains("ce_15")].expected.notna().all()


def test_with_logits_the_full_scores_have_exact_floors_and_classes_their_error():
    toy = toy_predictions(["xnli", "panx", "xquad"], intermediates=["none"], languages=("en", "sw"), seeds=(0,), n=150)
    events, keys = event_statistics(toy), ["target", "language"]
    table = estimate_table(events, keys, draws=40, logits=toy["logits"]).set_index([*keys, "estimate"]).sort_index()
    rng = np.random.default_rng(0)
    for (target, language), part in events.groupby(keys, observed=True):
        z = np.stack(toy["logits"].to_pandas()[part.index]).astype(float)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        drawn = (p.cumsum(1)[:, None, :-1] <= rng.random((len(p), 2000, 1))).sum(2)  # (rows, models)
        at = np.take_along_axis(p, drawn, 1)
        for name, values in (("nll", -np.log(at).mean(0)), ("brier", ((p ** 2).sum(1)[:, None] - 2 * at + 1).mean(0))):
            assert table.expected[target, language, name] == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(2000))
            assert table.why[target, language, name] == ""
        row = table.loc[(target, language, "classwise_ece_15")]
        if target == "xquad":
            assert np.isnan(row.value) and np.isnan(row.expected) and row.why.startswith("undefined: a row has other classes")
            continue
        assert row.value == pytest.approx(classwise_ece(p, part.label.to_numpy())[0], abs=1e-12) and np.isnan(row.low) and row.why.startswith("no interval")
        assert row.expected == pytest.approx(classwise_null(p, draws=200, seed=3).mean(), rel=.1)


def test_logits_that_are_not_the_events_are_refused():
    toy = toy_predictions(["xnli"], intermediates=["none"], seeds=(0,), n=20)
    events = event_statistics(toy)
    for logits, sentence in ((toy["logits"].to_pylist()[1:], "logits of 59 events, but 60"), (toy["logits"].to_pylist()[::-1], "Event 0 has confidence"),
                             ([[float("nan")] * 3] * 60, "Event 0 has confidence")):
        with pytest.raises(XitcalError, match=sentence) as error:
            estimate_table(events, ["language"], draws=2, logits=logits)
        assert "\n" not in str(error.value)
    mixed = pd.DataFrame(dict(confidence=[.5, .5, .4], correct=[True, False, True], label=[0, 1, 2], model="m"))  # rows of two and of three classes
    found = estimate_table(mixed, ["model"], draws=2, logits=[[0., 0.], [0., 0.], np.log([.3, .3, .4])]).set_index("estimate")
    assert np.isnan(found.value["classwise_ece_15"])
    same = estimate_table(mixed[:2], ["model"], draws=2, logits=[[0., 0.], [0., 0.]]).set_index("estimate")
    assert same.value["classwise_ece_15"] == pytest.approx(0)  # .5 for both, and one of each


def test_floors_are_what_calibrated_models_have():
    rng = np.random.default_rng(1)
    c = rng.beta(6, 1.5, 200 * 300)
    events = pd.DataFrame(dict(model=np.repeat(np.arange(200), 300), confidence=c, correct=rng.random(len(c)) < c))
    table = estimate_table(events, ["model"], draws=20)
    mean, error = (table.assign(off=table.value - table.expected).groupby("estimate").off.agg(f) for f in ("mean", lambda x: x.std() / np.sqrt(len(x))))
    known = mean.dropna().index
    assert len(known) >= 15 and (mean[known].abs() < 4 * error[known] + 1e-4).all(), (mean / error).round(1).to_dict()
    covered = table[table.estimate.isin(["signed_ce", "auroc", "aurc", "nll_calibration"])].merge(mean.rename("off"), on="estimate")
    gap = covered[covered.estimate == "signed_ce"]
    assert .9 < ((gap.low <= 0) & (0 <= gap.high)).mean() <= 1


# --- netcal's faults ----------------------------------------------------------------------------------------------------

def test_two_classes_are_another_event_for_netcal():
    "A model that leans to class 0: wrong about the class, much less about its decisions. By hand: confidence .6 with one of two right, .9 with two of two"
    p, label = np.array([[.6, .4], [.1, .9], [.6, .4], [.1, .9]]), np.array([0, 1, 1, 1])
    c, y, g = top(p, label)
    assert binned_ece(c, y, g, 10)[0] == pytest.approx((2 * abs(.6 - .5) + 2 * .1) / 4)
    p, label = draw(2000, 2, louder=1)
    p = p * [.7, .3] / (p * [.7, .3]).sum(1, keepdims=True)
    c, y, g = top(p, label)
    theirs = netcal.ECE(15).measure(p, label)
    assert theirs == pytest.approx(binned_ece(p[:, 1], label, g)[0], abs=1e-12), VERSION
    assert theirs == pytest.approx(classwise_ece(p, label)[0], abs=1e-9)  # which is what it should be called
    assert abs(theirs - by_hand(c, y, np.linspace(0, 1, 16))[0]) > .03
    assert binned_ece(c, y, g)[0] == pytest.approx(by_hand(c, y, np.linspace(0, 1, 16))[0], abs=1e-12)


@pytest.mark.parametrize("share", [.6, 1.])
def test_saturated_confidence_stops_netcals_equal_mass_bins_and_not_ours(share):
    rng = np.random.default_rng(0)
    c, y = np.where(rng.random(1500) < share, 1., rng.beta(6, 1.5, 1500)), (rng.random(1500) < .8).astype(int)
    with pytest.raises(ValueError, match="numerically 0"):
        netcal.ECE(15, equal_intervals=False).measure(c, y)
    order = np.argsort(c, kind="stable")
    first = np.searchsorted(c[order], c[order])  # rank of the first with this confidence
    at = first * 15 // 1500
    hand = sum((at == b).mean() * abs(c[order][at == b].mean() - y[order][at == b].mean()) for b in np.unique(at))
    assert binned_ece(c, y, np.zeros(1500, int), 15, mass=True)[0] == pytest.approx(hand, abs=1e-12)


def test_bin_edges_are_netcals():
    "A confidence on an edge belongs to the bin above, 1.0 to the last"
    c, y = np.linspace(0, 1, 11), np.arange(11) % 2
    for bins in (5, 10):
        hand = by_hand(c, y, np.linspace(0, 1, bins + 1))
        assert binned_ece(c, y, np.zeros(11, int), bins)[0] == pytest.approx(hand[0], abs=1e-12)
        assert netcal.ECE(bins).measure(c, y) == pytest.approx(hand[0], abs=1e-12)


def test_rows_without_a_number_vanish_in_netcal_and_are_named_here():
    p, label = draw(2000, 3)
    broken = p.copy()
    broken[5:205] = np.nan
    assert np.isfinite(netcal.ECE(15).measure(broken, label)), VERSION
    with pytest.raises(XitcalError, match="Row 5 has a probability that is no number"):
        classwise_ece(broken, label)
    events = pd.DataFrame(dict(confidence=np.where(np.arange(9) == 4, np.nan, .8), correct=True, model="m"))
    with pytest.raises(XitcalError, match="Event 4"):
        estimate_table(events, ["model"])


def test_percent_logits_and_ignored_labels_pass_netcal_and_are_refused_here():
    p, label = draw(2000, 3)
    ignored = np.where(np.arange(2000) < 300, -100, label)
    right = netcal.ECE(15).measure(p[300:], label[300:])
    assert netcal.ECE(15).measure(p, ignored) > 1.3 * right, VERSION
    assert np.isfinite(netcal.ECE(15).measure(100 * p, label)) and np.isfinite(netcal.ECE(15).measure(np.log(p), label)), VERSION
    refused = (p, ignored, "Row 0 has label -100"), (100 * p, label, "percentages"), (np.log(p), label, "logits"), (p[:, :2], label, "sums to")
    for bad, labels, sentence in refused:
        for make in (classwise_ece, class_table):
            with pytest.raises(XitcalError, match=sentence):
                make(bad, labels)


def test_a_slice_without_one_label_stops_netcal_and_not_ours():
    p, label = draw(300, 3)
    for some in (label < 2, label == 1):
        with pytest.raises(RuntimeError):
            netcal.ECE(15).measure(p[some], label[some])
        rows = p[some], label[some]
        hand = np.mean([by_hand(rows[0][:, k], rows[1] == k, np.linspace(0, 1, 16))[0] for k in range(3)])
        assert classwise_ece(*rows)[0] == pytest.approx(hand, abs=1e-12)  # the class that is absent counts: its probability is an error
        assert class_table(*rows)["class"].nunique() == 3 and classwise_null(rows[0], draws=3).shape == (1, 3)


def test_netcals_adaptive_error_is_a_mean_over_bins():
    "ACE of netcal weighs a bin of one decision like one of a thousand; Nixon's adaptive error has bins of equal mass"
    c, y, g = top(*draw(2000, 3))
    gap, weight = bin_gaps(c, y, g)
    assert netcal.ACE(15).measure(c, y) == pytest.approx(np.abs(gap[weight > 0]).mean(), abs=1e-12), VERSION
    assert abs(netcal.ACE(15).measure(c, y) - binned_ece(c, y, g, mass=True)[0]) > .005


def test_one_stray_decision_makes_the_largest_error():
    "999 calibrated decisions at .95 and one wrong at .85: netcal and we say .85, and the floor is what a reader must see beside it"
    c = np.append(np.full(999, .95), .85)
    y = np.append(np.arange(999) % 20 > 0, False).astype(int)
    assert netcal.MCE(15).measure(c, y) == pytest.approx(.85)
    assert largest_error(c, y, np.zeros(1000, int))[0] == pytest.approx(.85)
    floor = null_bins(c, np.zeros(1000, int))[1]
    assert floor.mean() == pytest.approx(.85 * .15 * 2, abs=.06)  # right with .85: off by .15, or else by .85


def test_netcal_turns_decisions_round_below_chance_and_ours_warns():
    from netcal.scaling import TemperatureScaling
    p, label = draw(2000, 3)
    label = (label + 1) % 3
    scaling = TemperatureScaling()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaling.fit(p, label)
    assert scaling.temperature[0] < 0 and (scaling.transform(p).argmax(1) == label).mean() > 2 * (p.argmax(1) == label).mean(), VERSION
    with pytest.warns(UserWarning, match="lies at its bound"):
        assert fit_temperature(np.log(p), label) > 0


@pytest.mark.parametrize("gap", [0, .05, .1])
def test_parts_of_scores_are_unbiased_and_their_intervals_hold(gap):
    rng, n, groups = np.random.default_rng(7), 200, 600
    def drawn(size):
        c = rng.beta(6, 1.5, size)
        return c, np.clip(c - gap, 0, 1)
    c, p = drawn(1_000_000)
    z = np.log(c) - np.log1p(-c)
    a, b = fit_correction(z, p, np.zeros(len(c), int))[0]
    def nll(z): return (np.logaddexp(0, z) - p * z).mean()
    truth = {"nll_calibration": nll(z) - nll(a + b * z), "nll_refinement": nll(a + b * z)}
    c, p = drawn(n * groups)
    found = score_parts(c, rng.random(len(c)) < p, np.arange(groups).repeat(n), np.arange(len(c)) % 5)
    for name, true in truth.items():
        value, low, high = found[name]
        assert abs(value.mean() - true) < 4 * value.std() / np.sqrt(groups) + 2e-4, name
        assert (((low <= true + 1e-9) & (true <= high)).mean()) > .915, name # 600 draws of .93 are below .91 once in 40


def test_errors_that_cannot_be_seen_count_in_the_parts_of_scores():
    "Six in ten are certain and two in a hundred of them wrong: most samples of 100 show one such error or none"
    rng, n, groups, gap = np.random.default_rng(3), 100, 400, .02
    def drawn(size): return np.where(rng.random(size) < .6, 1., rng.beta(4, 1.5, size))
    c = np.clip(drawn(400_000), 1e-12, 1 - 1e-12)
    p, plain = np.clip(c - gap, 0, 1), np.log(c) - np.log1p(-c)
    z = plain.clip(-15, 15)
    a, b = fit_correction(z, p, np.zeros(len(c), int))[0]
    truth = (np.logaddexp(0, plain) - p * plain).mean() - (np.logaddexp(0, a + b * z) - p * (a + b * z)).mean()
    c, group = drawn(n * groups), np.arange(groups).repeat(n)
    y = rng.random(len(c)) < np.clip(c - gap, 0, 1)
    hold = {}
    for surest in (True, False):
        _, low, high = score_parts(c, y, group, np.arange(len(c)) % 5, surest=surest)["nll_calibration"]
        hold[surest] = ((low <= truth) & (truth <= high)).mean()
    assert hold[True] > .96 and hold[False] < .88
    same = [score_parts(c.clip(0, .99), y, group, np.arange(len(c)) % 5, surest=s) for s in (True, False)]
    for name in same[0]:  # without certain decisions both are the same
        np.testing.assert_allclose(same[0][name], same[1][name], atol=1e-12)


def test_a_change_of_parts_is_that_of_both_models_and_the_same_model_has_none():
    rng, n, groups = np.random.default_rng(4), 200, 300
    ease = rng.normal(size=n * groups)
    c, d = (1 / (1 + np.exp(-(1.5 + ease + .5 * rng.normal(size=len(ease))))) for _ in range(2))
    u, group, fold = rng.random(len(c)), np.arange(groups).repeat(n), np.arange(len(c)) % 5
    loud = 1 / (1 + np.exp(-2 * np.log(c / (1 - c))))
    mine, theirs = (loud, u < c), (d, u < d)
    found, parts = paired_parts(mine, theirs, group, fold), [score_parts(*m, group, fold) for m in (mine, theirs)]
    for name, (change, low, high, p) in found.items():
        np.testing.assert_allclose(change, parts[0][name][0] - parts[1][name][0])
        assert (low <= change).all() and (change <= high).all() and ((p < .05) == ((low > 0) | (high < 0))).all(), name
    # .73 with a correlation of the terms that may be negative; without, intervals are too narrow and more is found
    assert (found["nll_calibration"][3] < .05).mean() > .7 and (paired_parts((c, u < c), theirs, group, fold)["nll_calibration"][3] < .05).mean() < .08
    same = paired_parts(theirs, theirs, group, fold)
    assert all((change == 0).all() and (p == 1).all() for change, _, _, p in same.values())


def test_changes_of_parts_hold_where_hardly_any_decision_is_wrong():
    "One in eighty of a calibrated model; its baseline is too modest. A sample of 100 in which neither errs once is no proof that nothing changed"
    rng, n, groups = np.random.default_rng(5), 100, 400
    def drawn(size):
        z = 5 + 1.2 * rng.normal(size=size)
        other, u = z + .5 * rng.normal(size=size), rng.random(size)
        second = np.where(rng.random(size) < .8, u, rng.random(size))
        return [(expit(score), expit(true), u < expit(true)) for score, true, u in ((z, z, u), (.8 * other, other, second))]
    def parts(c, p):
        z = np.log(c) - np.log1p(-c)
        a, b = fit_correction(z, p, np.zeros(len(z), int))[0]
        plain, after = ((np.mean(np.logaddexp(0, x) - p * x), np.mean(p * expit(-x) ** 2 + (1 - p) * expit(x) ** 2)) for x in (z, a + b * z))
        return dict(nll_calibration=plain[0] - after[0], nll_refinement=after[0], brier_calibration=plain[1] - after[1], brier_refinement=after[1])
    true = [parts(c, p) for c, p, _ in drawn(400_000)]
    group = np.arange(groups).repeat(n)
    models = [(c, y) for c, _, y in drawn(n * groups)]
    none = sum(np.bincount(group, ~y) for _, y in models) == 0
    assert none.mean() > .08  # of samples
    for name, (_, low, high, _) in paired_parts(*models, group, np.arange(len(group)) % 5).items():
        change = true[0][name] - true[1][name]
        hold = (low <= change) & (change <= high)
        assert hold.mean() > .91 and (name == "nll_calibration" or hold[none].mean() > .9), name


def test_the_test_of_calibration_has_its_size_and_sees_what_one_number_does_not():
    rng, n, groups = np.random.default_rng(8), 300, 600
    c, group = rng.beta(6, 1.5, n * groups), np.arange(groups).repeat(n)
    def refused(p): return (calibration_test(c, rng.random(len(c)) < p, group, draws=199) <= .05).mean()
    assert refused(c) < .08 # 600 draws of .05 are above .08 once in a thousand
    slope = np.where(c > np.quantile(c, .42), c - .08, c + .11) # right on average, wrong everywhere
    assert abs((c - slope).mean()) < .02 and refused(slope) > .6


def test_the_paired_test_has_its_size():
    "Whether the errors of two equal models come together or not"
    rng, n, groups = np.random.default_rng(9), 150, 1500
    c, d, u, other = rng.beta(6, 1.5, n * groups), rng.beta(6, 1.5, n * groups), rng.random(n * groups), rng.random(n * groups)
    for y, w in ((u < c, u < d), (u < c, other < d)):
        _, low, high, p = paired_means((c - y, c - 1, c), (d - w, d - 1, d), np.arange(groups).repeat(n))
        assert (p < .05).mean() < .07 and ((low <= 0) & (0 <= high)).mean() > .93
