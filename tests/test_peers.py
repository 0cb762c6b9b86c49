"""torchmetrics 1.9.0, relplot 1.0.3 and scikit-learn 1.9: the same where they are right, their faults where they are not.

If a test of a fault fails, the peer was mended: delete the test, and compare without the exception (netcal's are in test_calibration.py).
The peers are imported within the tests, as they take seconds."""
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from xitcal.calibration.binned import binned_ece, classwise_ece, largest_error, width_bins
from xitcal.calibration.calibrate import calibrate
from xitcal.calibration.debiased import smooth_ece
from xitcal.calibration.prediction_files import read_decisions
from xitcal.calibration.ranking import auroc
from xitcal.core.errors import XitcalError


def draw(n, k, louder=2., seed=0):
    "float64 probabilities of a model that is `louder` than the truth, and labels"
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (n, k))
    p = softmax(z, axis=1)
    return softmax(louder * z, axis=1), (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)


def one(c): return np.zeros(len(c), int)
def ece(c, y): return float(binned_ece(np.asarray(c, float), np.asarray(y, float), one(c))[0])
def mce(c, y): return float(largest_error(np.asarray(c, float), np.asarray(y, float), one(c))[0])
def smooth(c, y): return float(smooth_ece(np.asarray(c, float), np.asarray(y, float), one(c))[0])


# --- torchmetrics -----------------------------------------------------------------------------------------------------

def multiclass(p, y, norm="l1"):
    "torchmetrics' error of the top label"
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error
    return float(multiclass_calibration_error(torch.as_tensor(p), torch.as_tensor(y), np.shape(p)[1], 15, norm))


@pytest.mark.parametrize("n", [1, 20, 300, 2490])
@pytest.mark.parametrize("k", [2, 3, 17])
def test_torchmetrics_multiclass_errors_are_ours(n, k):
    """To float32, into which it turns confidences whatever they were: 24 bits, rounded once a row in a sum, hence 3e-6 at N = 2,490.
    Its bins hold their lower edge, as ours."""
    for seed in range(5):
        p, y = draw(n, k, seed=seed)
        c, right = p.max(1), p.argmax(1) == y
        assert multiclass(p, y) == pytest.approx(ece(c, right), abs=3e-6)
        assert multiclass(p, y, "max") == pytest.approx(mce(c, right), abs=3e-6)


def test_torchmetrics_auroc_is_ours():
    import torch
    from torchmetrics.functional.classification import binary_auroc
    rng = np.random.default_rng(0)
    for c in (rng.beta(6, 1.5, 2000), np.round(rng.beta(6, 1.5, 2000), 1)): # without and with ties
        y = rng.random(2000) < c
        assert float(binary_auroc(torch.tensor(c), torch.tensor(y).long())) == pytest.approx(auroc(c, y)[0], abs=1e-6)


def test_torchmetrics_binary_error_is_of_class_1_and_not_of_the_decision():
    """Its documentation says top-label calibration error (its issue 2519). The number is our class-wise error, which both classes share;
    that of the decision is another, and the multi-class task has it."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error
    p, y = np.array([[.8, .2], [.8, .2], [.2, .8], [.2, .8]]), np.array([0, 0, 1, 0])
    # by hand: class 1 has .2, .2 of which none is, gap .2, and .8, .8 of which one is, gap .3. Decisions: four at .8, three of them right
    theirs = float(binary_calibration_error(torch.tensor(p[:, 1]), torch.tensor(y), 15))
    assert theirs == pytest.approx(.25, abs=1e-6) and classwise_ece(p, y)[0] == pytest.approx(.25, abs=1e-12)
    assert ece(p.max(1), p.argmax(1) == y) == pytest.approx(.05, abs=1e-12) and multiclass(p, y) == pytest.approx(.05, abs=1e-6)


def test_torchmetrics_gives_confidence_1_a_bin_of_its_own():
    "The last of its 16 edges opens a 16th bin. By hand: 1 (wrong) and .95 (right) share the last of 15 bins, gap (1 − .05) / 2; apart they are (1 + .05) / 2"
    p, y = np.array([[1., 0.], [.95, .05]]), np.array([1, 0])
    assert ece([1., .95], [0, 1]) == pytest.approx(.475, abs=1e-12)
    assert multiclass(p, y) == pytest.approx(.525, abs=1e-6)
    assert mce([1., .95], [0, 1]) == pytest.approx(.475, abs=1e-12) and multiclass(p, y, "max") == pytest.approx(1, abs=1e-6)


def test_torchmetrics_takes_logits_within_0_and_1_for_probabilities():
    "So the same rows give another error when they come in other batches. A file of ours says what it has by the name of the column"
    import torch
    from torchmetrics.classification import MulticlassCalibrationError
    z, y = np.array([[.9, .1], [.2, .8], [3., -1.], [-2., 1.]]), np.array([0, 1, 0, 0])
    p = softmax(z, axis=1)
    ours = ece(p.max(1), p.argmax(1) == y)
    found = []
    for batches in ([slice(0, 4)], [slice(0, 2), slice(2, 4)]):
        metric = MulticlassCalibrationError(2, 15)
        for batch in batches: metric.update(torch.tensor(z[batch]), torch.tensor(y[batch]))
        found.append(float(metric.compute()))
    assert found[0] == pytest.approx(ours, abs=1e-6) and abs(found[1] - ours) > .05
    file = pd.DataFrame(dict(logits=list(z), label=y))
    assert np.allclose(pd.concat([read_decisions(file[:2])[0], read_decisions(file[2:])[0]]).confidence, p.max(1), atol=1e-12)


def test_torchmetrics_float32_sums_drift_and_ours_do_not():
    "A million decisions at .95 of which 95 % are right: no error. Its float32 sum of confidences is off by 1 %, of float64 input as well"
    n = 1_000_000
    y = (np.arange(n) % 20 == 0).astype(int)
    assert ece(np.full(n, .95), 1 - y) == pytest.approx(0, abs=1e-9)
    assert multiclass(np.tile([.95, .05], (n, 1)), y) > .005


def test_torchmetrics_auroc_ties_what_float32_logits_saturate():
    "Four logits in perfect order: sigmoid in float32 makes 1 of all of them, and of no order .5"
    import torch
    from torchmetrics.functional.classification import binary_auroc
    z, y = torch.tensor([30., 25., 20., 19.]), torch.tensor([1, 1, 0, 0])
    assert float(binary_auroc(z, y)) == .5 and float(binary_auroc(z.double(), y)) == 1
    assert auroc(z.numpy(), y.numpy())[0] == 1


@pytest.mark.filterwarnings("ignore:No negative samples")
def test_torchmetrics_auroc_of_one_outcome_is_0_and_ours_is_none():
    import torch
    from torchmetrics.functional.classification import binary_auroc
    assert float(binary_auroc(torch.tensor([.5, .6]), torch.tensor([1, 1]))) == 0
    assert np.isnan(auroc(np.array([.5, .6]), np.array([1, 1]))[0])


@pytest.mark.parametrize("p, y, sentence", [
    ([[np.nan, .5], [.2, .8]], [0, 1], "not finite"), ([[.5, .6], [.2, .8]], [0, 1], "sum to 1.1"),
    ([[10., 90.], [20., 80.]], [1, 1], "percentages"), ([[.1, .9], [.2, .8]], [-7, 1], "outside the 2 classes")])
def test_torchmetrics_takes_what_we_refuse(p, y, sentence):
    "NaN, rows that do not sum to one, percentages (for logits), and a negative label when its checks are off, as they are for speed: a number without a word"
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error
    assert 0 <= float(multiclass_calibration_error(torch.tensor(p), torch.tensor(y), 2, 15, validate_args=False)) <= 1
    with pytest.raises(XitcalError, match=f"row 1: .*{sentence}"): calibrate(pd.DataFrame(dict(probs=p, label=y)))


# --- relplot ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("gap", [0, .05, .2])
@pytest.mark.parametrize("n, grid", [(100, 2.5e-3), (1000, 3e-4), (5000, 3e-4)])
def test_relplot_smooth_error_is_ours(n, grid, gap):
    """At our bandwidth the smoothed error is the same to `grid`: it sums over 200 points that count the two ends in full and not by half, which weighs half a
    step (1/398) of what stands there, the more the fewer rows. Its own bandwidth is found by ten halvings of [0, 1] from above, so it is up to 2**-10
    too large and the error, which falls with it at a slope of about −1 at most, as much too small."""
    from relplot.metrics import smECE, smECE_sigma
    for seed in range(5):
        rng = np.random.default_rng(seed)
        c = rng.beta(6, 1.5, n)
        y = (rng.random(n) < c - gap).astype(float)
        ours = smooth(c, y)
        assert smECE_sigma(c, y, ours) == pytest.approx(ours, abs=grid)
        assert -2 ** -10 - grid < smECE(c, y) - ours < grid


def test_relplot_counts_confidence_1_by_half():
    """A reflected kernel has two images of a decision at 1 that coincide; relplot mirrors the grid without its end point and keeps one. Half of the
    decisions say 1 and 80 % of them are right, the others say ½ and are: by hand .5 · .2, however wide the kernel. relplot weighs the certain ones by half,
    (.25 · .2) / .75, and finds the right number when they say .998: never pass it saturated confidences as they are."""
    from relplot.metrics import smECE
    at = np.arange(4000)
    c = np.where(at % 2 == 0, 1., .5)
    y = np.where(c == 1, at % 10 != 0, at % 4 == 1).astype(float)
    assert y[c == 1].mean() == .8 and y[c < 1].mean() == .5
    assert smooth(c, y) == pytest.approx(.1, abs=1e-6)
    assert smECE(c, y) == pytest.approx(.2 * .25 / .75, abs=.003)
    assert smECE(np.where(c == 1, .998, .5), y) == pytest.approx(.1 - .001, abs=1.5e-3)
    assert smECE(1 - c, 1 - y) == pytest.approx(.2 * .25 / .75, abs=.003) # confidence 0 likewise


def test_relplot_takes_percentages():
    from relplot.metrics import smECE
    assert smECE(np.array([90., 80.]), np.array([1., 0.])) > 1
    with pytest.raises(XitcalError, match="percentages must be divided by 100"): calibrate(pd.DataFrame(dict(confidence=[90., 80.], correct=[1, 0])))


# --- scikit-learn -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k", [2, 3, 17])
def test_scikit_learn_scores_are_ours(k):
    "Its Brier score of two classes is of class 1, half of that of both, unless asked otherwise"
    from sklearn.metrics import brier_score_loss, log_loss
    p, y = draw(400, k, louder=1.)
    found = calibrate(pd.DataFrame(dict(probs=list(p), label=y)), smooth=False).set_index("estimate").value
    assert found["nll"] == pytest.approx(log_loss(y, p, labels=range(k)), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(y, p, labels=range(k), scale_by_half=False), abs=1e-12)
    if k == 2: assert found["brier"] == pytest.approx(2 * brier_score_loss(y, p[:, 1]), abs=1e-12)


def test_scikit_learn_curve_is_ours_between_edges_and_not_on_them():
    "Its bins hold their upper edge; ours, netcal's and torchmetrics' the lower. By hand, three bins: ⅓ belongs to the second"
    from sklearn.calibration import calibration_curve
    rng = np.random.default_rng(0)
    c = rng.beta(6, 1.5, 2000)
    y = rng.random(2000) < c - .05
    right, said = calibration_curve(y, c, n_bins=15)
    size = np.bincount(width_bins(c), minlength=15)
    assert ece(c, y) == pytest.approx((np.abs(right - said) * size[size > 0]).sum() / 2000, abs=1e-12)
    assert mce(c, y) == pytest.approx(np.abs(right - said).max(), abs=1e-12)
    right, said = calibration_curve([1, 0, 1], [.2, 1 / 3, .6], n_bins=3)
    assert said == pytest.approx([(.2 + 1 / 3) / 2, .6]) and width_bins(np.array([.2, 1 / 3, .6]), 3).tolist() == [0, 1, 1]


def test_scikit_learn_stops_at_a_slice_that_lacks_a_class_and_ours_does_not():
    from sklearn.metrics import brier_score_loss, log_loss
    p, y = draw(300, 3)
    p, y = p[y < 2], y[y < 2]
    for score in (log_loss, brier_score_loss):
        with pytest.raises(ValueError, match="different number of classes"): score(y, p)
    found = calibrate(pd.DataFrame(dict(probs=list(p), label=y)), smooth=False).set_index("estimate").value
    assert found["nll"] == pytest.approx(log_loss(y, p, labels=range(3)), abs=1e-9)
    assert found["brier"] == pytest.approx(brier_score_loss(y, p, labels=range(3)), abs=1e-9)
