"""How many seeds an effect needs: the formula against studies that are made and judged by the study's own intervals."""
import numpy as np
import pytest

from xitcal.core.errors import XitcalError
from xitcal.inference.block_sums import BLOCKS
from xitcal.inference.power import detectable, power, power_table, seeds_needed, spreads
from xitcal.inference.seeds import over_seeds


def made(effect, seeds, sigma, epsilon, studies, seed=0):
    "Studies with a known effect, spread over seeds, and error over examples: (seeds, studies, 1 + blocks)"
    rng = np.random.default_rng(seed)
    blocks = effect + sigma * rng.normal(size=(seeds, studies, 1)) + epsilon * np.sqrt(BLOCKS) * rng.normal(size=(1, studies, BLOCKS))
    whole = blocks.mean(-1, keepdims=True)
    return np.concatenate([whole, (BLOCKS * whole - blocks) / (BLOCKS - 1)], -1)


@pytest.mark.parametrize("effect, seeds, sigma, epsilon", [(1, 3, .3, .1), (1, 5, .8, .2), (.5, 5, .1, .15), (.7, 10, 1, .1), (0, 3, 1, 0), (0, 5, .3, .3)])
def test_power_is_what_made_studies_show(effect, seeds, sigma, epsilon):
    found = over_seeds(made(effect, seeds, sigma, epsilon, 4000))
    share = ((found["low"] > 0) | (found["high"] < 0)).mean()
    assert power(effect, seeds, sigma, epsilon) == pytest.approx(share, abs=.025) # three binomial standard errors at one half
    if effect == 0:
        assert power(effect, seeds, sigma, epsilon) < .053


def test_the_spreads_of_a_study_are_found_again():
    many = made(0, 4, .5, .2, 1500)
    found = [spreads(many[:, i]) for i in range(many.shape[1])]
    assert np.mean([f["between_seeds"] ** 2 for f in found]) == pytest.approx(.25, rel=.06)
    assert np.mean([f["examples"] ** 2 for f in found]) == pytest.approx(.04, rel=.06)
    assert np.mean([f["upper"] > .5 for f in found]) == pytest.approx(.8, abs=.035)


def test_seeds_needed_is_the_smallest_number_that_suffices():
    for effect, sigma, epsilon in ((1, 1, .1), (.5, .2, .05), (3, .1, .1)):
        n = seeds_needed(effect, sigma, epsilon)
        assert power(effect, n, sigma, epsilon) >= .8 and (n == 2 or power(effect, n - 1, sigma, epsilon) < .8)
        assert detectable(n, sigma, epsilon) <= effect * 1.02
    assert seeds_needed(.1, .01, 1) is None # no number of seeds helps where examples lack


def test_what_cannot_be_planned_is_one_sentence():
    with pytest.raises(XitcalError, match="at least two"):
        power_table({"x": made(1, 1, 1, 1, 1)[:, 0]})
    with pytest.raises(XitcalError, match="plan at least two"):
        power(1, 1, 1, 1)
