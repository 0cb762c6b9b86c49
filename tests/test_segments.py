"""Segments and promises: the statistic against a loop, its size, what it can find, and bad input in one sentence."""
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import xitcal

from xitcal.calibration.promises import coverage_p, promise_table, worst_slab
from xitcal.calibration.segments import grouping_loss, mass_buckets, multicalibration
from xitcal.core.errors import XitcalError
from xitcal.predictions.events import toy_predictions


def events(n=200, gap=0., seed=0, languages="ab", share=0.):
    "Decisions of each of some languages, over-confident by `gap` in the first; an example has one in each"
    rng = np.random.default_rng(seed)
    k = len(languages)
    c = rng.beta(6, 1.5, (n, k))
    u = np.where(rng.random((n, k)) < np.sqrt(share), rng.random((n, 1)), rng.random((n, k)))
    right = u < np.clip(c - gap * (np.arange(k) == 0), 0, 1)
    return pd.DataFrame(dict(language=list(languages) * n, example=np.arange(n).repeat(k), confidence=c.ravel(), correct=right.ravel()))


def test_the_range_is_the_largest_sum_over_any_range_of_confidences():
    table = events(60, gap=.2)
    found = multicalibration(table, ["language"], draws=19).set_index("segment")
    bins = np.ceil(table.confidence.rank() / len(table) * 20 - 1e-9).astype(int) - 1
    gap, ranges = table.confidence - table.correct, [(low, high) for low in range(20) for high in range(low, 20)]
    for language in "ab":
        sums = [gap[(table.language == language) & bins.between(*ends)].sum() for ends in ranges]
        assert found.range_ce[f"language {language}"] * 60 == pytest.approx(np.abs(sums).max(), rel=1e-4)


@pytest.mark.parametrize("share", [0, .8])
def test_calibrated_models_have_a_bad_segment_as_often_as_they_should(share):
    low = [multicalibration(events(100, seed=i, share=share, languages="abcd"), ["language"], draws=99).p.min() <= .05 for i in range(80)]
    assert np.mean(low) < .14  # 5 % and four standard errors


def test_the_smallest_error_is_found_in_about_four_of_five():
    smallest = multicalibration(events(300), ["language"], draws=199).set_index("segment").smallest["language a"]
    found = [multicalibration(events(300, gap=smallest, seed=i), ["language"], draws=99).set_index("segment").p["language a"] <= .05 for i in range(60)]
    assert .65 < np.mean(found) < .97


def test_the_worst_segment_is_the_one_that_was_made_wrong():
    found = multicalibration(events(400, gap=.15, languages="abc"), ["language"], draws=199)
    assert found.segment[0] == "language a" and found.p[0] < .01 and found.mce[0] == found.mce.max()


def test_rows_in_another_order_say_the_same():
    table = events(150, gap=.1)
    one, other = (multicalibration(t, ["language"], draws=99).set_index("segment").sort_index() for t in (table, table.sample(frac=1, random_state=0)))
    assert np.allclose(one[["n", "signed_ce"]], other[["n", "signed_ce"]]) and np.allclose(one.range_ce, other.range_ce, atol=.02)


@pytest.mark.parametrize("change, by, sentence", [
    (dict(language="a"), ["language"], "All rows have the same language, so there are no segments to compare"),
    ({}, [], "Segments need a column at least"), ({}, ["langage"], "did you mean 'language'"),
    (dict(confidence=1.5), ["language"], "but a probability lies in"), (dict(correct=.5), ["language"], "it must be true or false")])
def test_bad_input_is_one_sentence(change, by, sentence):
    with pytest.raises(XitcalError, match=sentence) as told:
        multicalibration(events(50).assign(**change), by, draws=9)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("change", [dict(confidence=.8), dict(correct=True), dict(confidence=1., correct=True), dict(confidence=1., correct=False)])
def test_one_answer_for_everything_has_numbers(change):
    found = multicalibration(events(50).assign(**change), ["language"], draws=49)
    assert np.isfinite(found.select_dtypes("number")).all(axis=None) and found.p.between(0, 1).all()


def test_small_segments_are_left_out_and_missing_values_are_a_segment():
    table = events(100).assign(script=["x"] * 20 + ["y"] * 100 + [None] * 80)
    found = multicalibration(table, ["script"], draws=19)
    assert set(found.segment) == {"all of it", "script y", "script missing"}


def test_buckets_keep_equal_values_together():
    made = mass_buckets(pd.Series([1, 1, 1, 1, 5, 9]))
    assert made.tolist()[:4] == ["1"] * 4 and made.nunique() <= 3


def test_grouping_loss_needs_every_posterior():
    with pytest.raises(XitcalError, match="Decision 1 has the posterior nan"):
        grouping_loss(np.array([.5, .6]), np.array([.5, np.nan]), np.zeros(2, int))


# ---- promises

def rows(language="en", low=0, high=600, n=600, **options):
    table = toy_predictions(["xnli"], ["none"], seeds=(0,), n=n, **options)
    number = pc.cast(pc.list_element(pc.split_pattern(table["example"], "-"), 1), pa.int64())
    keep = pc.and_(pc.greater_equal(number, low), pc.less(number, high))
    return table.filter(keep if language is None else pc.and_(keep, pc.equal(table["language"], language)))


def test_one_language_and_the_same_examples():
    found = promise_table(rows("de", 0, 300), rows("en", 300))
    assert found.language.tolist() == ["de"] and found.p_breaks.between(0, 1).all()
    with pytest.raises(XitcalError, match="both a calibration row and a test row"):
        promise_table(rows(None), rows("en", 300))
    with pytest.raises(XitcalError, match="English has promised nothing"):
        promise_table(rows(None), rows("en", 600))


def test_the_chance_of_a_coverage_is_uniform_where_the_promise_holds():
    rng = np.random.default_rng(0)
    limits = np.sort(rng.random((3000, 99)), axis=1)[:, 89]  # the 90th of 99
    p = coverage_p(rng.binomial(200, limits), 200, 99)
    assert (p <= .05).mean() == pytest.approx(.05, abs=.015) and (p <= .5).mean() == pytest.approx(.5, abs=.05)


def test_a_slab_is_judged_on_rows_that_did_not_choose_it():
    rng = np.random.default_rng(0)
    p = [float(coverage_p(*worst_slab(rng.random(400) < .9, rng.normal(size=(400, 3)), seed=i, directions=50), 10_000)) for i in range(120)]
    assert np.mean(np.array(p) <= .05) < .13


# ---- the command

def test_the_command_line_names_the_worst_segments(tmp_path):
    events(200, gap=.2).to_csv(tmp_path / "mine.csv", index=False)
    out = xitcal("calibrate", tmp_path / "mine.csv", "--fast", "--segments", "language", fresh=True).stdout
    assert "The worst of 3 segments" in out and "language a" in out


def test_numbers_with_an_empty_cell_are_still_cut_into_buckets():
    table = events(100)
    numbers = multicalibration(table.assign(length=np.arange(200)), ["length"], draws=19)
    text = table.assign(length=np.arange(200).astype(str))
    text.loc[0, "length"] = "" # as a text file with one empty cell is read
    found = multicalibration(text, ["length"], draws=19)
    assert len(found) == len(numbers) == 4 and "length missing" not in set(found.segment)


@pytest.mark.parametrize("blank, n, words", [("", 40, "they are a segment of their own."), (" ", 40, "they are a segment of their own."),
                                             ("NA", 12, r"they are too few for a segment of their own (30) and count in the others alone.")])
def test_the_command_line_says_how_many_cells_are_empty(tmp_path, blank, n, words):
    table = events(100).assign(length=np.arange(200).astype(str))
    table.loc[:n - 1, "length"] = blank
    table.to_csv(tmp_path / "a.csv", index=False)
    out = xitcal("calibrate", tmp_path / "a.csv", "--fast", "--segments", "length").stdout
    assert f"{n} of 200 rows have no length; {words}" in out
    assert ("length missing" in out) == (n >= 30) and f"length {n} to" in out


@pytest.mark.parametrize("options, sentence", [
    (["--segments", "langauge"], "Unknown column 'langauge' in a.csv: did you mean 'language'?"), (["--segments", ","], "Segments need a column at least"),
    (["--by", "langauge", "--segments", "language"], "Unknown column 'langauge' in a.csv: did you mean 'language'?"),
    (["--segments", "empty"], "No row has a value in the column empty")])
def test_a_column_that_is_not_there_is_told_before_anything_is_computed(tmp_path, options, sentence):
    "Also where another fault of the file would be found by computing: a label that is none"
    table = events(20).assign(empty="")
    if "empty" not in options[1]:
        table = table.assign(correct="maybe")
    if options[1] == ",":
        table = events(20)
    table.to_csv(tmp_path / "a.csv", index=False)
    said = xitcal("calibrate", tmp_path / "a.csv", *options, check=False)
    assert said.returncode == 2 and sentence in said.stderr and said.stderr.count("\n") == 1 and not said.stdout


def test_lists_make_no_segments(tmp_path):
    events(20).assign(words=[["a"]] * 40).to_parquet(tmp_path / "a.parquet")
    for option in ("--segments", "--by"):
        assert "a.parquet, row 1: words holds a list" in xitcal("calibrate", tmp_path / "a.parquet", option, "words", check=False).stderr


def test_a_name_for_each_row_makes_no_segments():
    table = events(60)
    with pytest.raises(XitcalError, match="No segment by name has 30 decisions"):
        multicalibration(table.assign(name=[f"row {i}" for i in range(len(table))]), ["name"], draws=19)
