"""Recalibrators against a known truth and at the edges, regimes that never see a row twice, decisions that keep their promise."""
import warnings

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from xitcal.languages import XitcalError
from xitcal.recalibration import RECALIBRATORS, MatrixScaling, Platt, SpanLogistic, Temperature, span_features


def softmax(z):
    return np.exp(log_softmax(z, axis=1))


def draw(z, rng):
    "Labels drawn from softmax(z)"
    return (softmax(z).cumsum(1) < rng.random((len(z), 1))).sum(1).clip(max=z.shape[1] - 1)


def of(takes):
    return [name for name, (kind, _) in RECALIBRATORS.items() if kind == takes]


# --- every recalibrator, at once --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", of("logits") + of("classes"))
@pytest.mark.parametrize("k", [2, 3, 9])
def test_a_loud_model_is_quietened_and_a_calibrated_one_left_alone(name, k):
    rng = np.random.default_rng(k)
    z = rng.normal(0, 1.5, (3000, k))
    y, nll = draw(z, rng), lambda logs, y: -logs[np.arange(len(y)), y].mean()
    fitted = RECALIBRATORS[name][1]().fit((2.5 * z[:1500]).astype(np.float32), y[:1500])
    after, true = nll(fitted.transform(2.5 * z[1500:]), y[1500:]), nll(log_softmax(z[1500:], axis=1), y[1500:])
    assert nll(log_softmax(2.5 * z[1500:], axis=1), y[1500:]) - true > 10 * (after - true) and after - true < .05
    same = RECALIBRATORS[name][1]().fit(z[:1500], y[:1500])
    assert nll(same.transform(z[1500:]), y[1500:]) - true < .03


@pytest.mark.parametrize("name", of("confidence"))
def test_maps_of_confidence_see_float32_as_float64_and_rise(name):
    rng = np.random.default_rng(0)
    p = rng.beta(6, 1.5, 400)
    c, right = expit(2 * np.log(p / (1 - p))), rng.random(400) < p
    single, double = (RECALIBRATORS[name][1]().fit(c.astype(t), right).transform(np.linspace(.05, .999, 50)) for t in (np.float32, np.float64))
    assert np.abs(single - double).max() < .02
    if name in ("platt", "beta", "isotonic"):  # maps that never turn the order of two decisions around
        assert (np.diff(double) >= -1e-12).all()


@pytest.mark.parametrize("name", of("confidence"))
@pytest.mark.parametrize("right", [np.ones(12), np.zeros(12), np.arange(12) % 2])
@pytest.mark.parametrize("confidence", [np.full(12, .8), np.ones(12), np.zeros(12), np.linspace(.3, 1, 12)])
def test_no_map_of_confidence_ever_says_never_or_always(name, right, confidence):
    g = RECALIBRATORS[name][1]().fit(confidence, right).transform(np.array([0, .3, .8, 1.]))
    assert ((g > 0) & (g < 1)).all()


def test_temperature_and_matrix_on_a_matrix_of_one_class_only():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3))
    found = MatrixScaling().fit(z, np.zeros(50, int)).transform(z)  # a label that two of three classes never have
    assert np.isfinite(found).all() and found.argmax(1).max() == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Temperature().fit(np.zeros((10, 3)), np.zeros(10, int)).temperature_ > 0  # constant: any temperature is as good
        assert np.isfinite(Temperature().fit(z, z.argmax(1)).transform(z)).all()
    assert any("lies at its bound" in str(w.message) for w in caught)


def test_candidates_are_for_temperature_only():
    lists, label = [[1., 2.], [0., 1., 5.], [3., 1.]], [1, -1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.exp(Temperature().fit(lists, label).transform(lists)).sum(1) == pytest.approx(np.ones(3))
    for name in of("classes"):
        with pytest.raises(XitcalError, match="needs the same classes in every row") as error:
            RECALIBRATORS[name][1]().fit(lists, label)
        assert "\n" not in str(error.value)


def test_spans_without_information_are_platts_map():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 2))  # two entries: the margin is the log-odds of confidence once more; lengths are all the same
    features = span_features(logits, logits.argmax(1), np.ones(4000))
    right = rng.random(4000) < expit(.5 * features[:, 0])
    c = expit(features[:, 0])
    assert np.abs(SpanLogistic().fit(features, right).transform(features) - Platt().fit(c, right).transform(c)).max() < .02
