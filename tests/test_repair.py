"""Recalibration of anybody's predictions: maps that repair what they should, judge nothing by their own rows, and survive as JSON."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import xitcal
from scipy.special import log_softmax, softmax

from xitcal.calibration.intervals import example_groups
from xitcal.calibration.prediction_files import read_file, renormalise, write_table
from xitcal.calibration.recalibrators import BBQ, RECALIBRATORS, Histogram, Isotonic
from xitcal.calibration.repair import Recalibration, before_after, choose_family, labelled_part, read_map
from xitcal.core.errors import XitcalError

FULL = [n for n, (takes, _) in RECALIBRATORS.items() if takes in ("logits", "classes")]
ALONE = [n for n, (takes, _) in RECALIBRATORS.items() if takes == "confidence"]


def predictions(n=300, seed=0, twice=2.0, languages=("en", "sw"), k=3, shift=0.0) -> pd.DataFrame:
    "Logits `twice` those of the truth in every language; `shift` more for class 0 in all but the first"
    rng = np.random.default_rng(seed)
    parts = []
    for i, language in enumerate(languages):
        truth = rng.normal(0, 1.5, (n, k))
        label = (softmax(truth, axis=1).cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)
        parts.append(
            pd.DataFrame(
                dict(
                    logits=list(twice * truth + shift * (i > 0) * np.eye(k)[0]),
                    label=label,
                    language=language,
                    example=[f"{seed}-{language}-{j}" for j in range(n)],
                )
            )
        )
    return pd.concat(parts, ignore_index=True)


def alone(n=800, seed=0) -> pd.DataFrame:
    "Confidence and correct of a system that is too sure"
    rng = np.random.default_rng(seed)
    chance = rng.beta(6, 1.5, n)
    return pd.DataFrame(dict(confidence=1 / (1 + ((1 - chance) / chance) ** 2), correct=rng.random(n) < chance, example=[f"{seed}-{i}" for i in range(n)]))


def command(*words, ok=True) -> str:
    "Output of `xitcal recalibrate`; the one line it says when it fails"
    done = xitcal("recalibrate", *map(str, words), check=ok)
    if ok:
        return done.stdout
    assert done.returncode and len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


# --- maps -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*FULL, *ALONE])
@pytest.mark.parametrize("regime", ["shared", "per-language", "shrunk"])
def test_every_family_repairs_other_rows_in_every_regime_and_comes_back_from_json(method, regime):
    fitted = Recalibration(method, regime).fit(predictions())
    other = predictions(seed=1)
    change = before_after(other, fitted)
    assert set(change.language) == {"en", "sw"} and (change[change.estimate == "nll"].change < 0).all()
    after = fitted.transform(other)
    assert np.abs(np.exp(np.stack(after.logits)).sum(1) - 1).max() < 1e-9
    again = Recalibration.from_json(fitted.to_json())
    assert np.array_equal(np.stack(again.transform(other).logits), np.stack(after.logits)) and again.to_json() == fitted.to_json()


@pytest.mark.parametrize("method", ALONE)
def test_a_confidence_alone_gets_every_map_of_a_confidence(method):
    fitted = Recalibration(method).fit(alone())
    after, expected = fitted.transform(alone(seed=1)), RECALIBRATORS[method][1]().fit(alone().confidence, alone().correct).transform(alone(seed=1).confidence)
    assert after.confidence.to_numpy() == pytest.approx(expected, abs=1e-12) and list(after) == list(alone())
    assert before_after(alone(seed=1), fitted).set_index("estimate").change["nll_confidence"] < 0
    assert np.array_equal(Recalibration.from_json(fitted.to_json()).transform(alone(seed=1)).confidence, after.confidence)


def test_shared_is_one_fit_per_language_is_many_and_shrunk_lies_between():
    table, other = predictions(shift=2.0), predictions(seed=1, shift=2.0)
    made = {regime: np.stack(Recalibration("vector", regime).fit(table).transform(other).logits) for regime in ("shared", "per-language", "shrunk")}
    z, y = np.stack(table.logits), table.label.to_numpy()
    en, sw = (table.language == code for code in ("en", "sw"))
    there = {code: np.stack(other.logits)[other.language == code] for code in ("en", "sw")}
    english, own = (RECALIBRATORS["vector"][1]().fit(z[rows], y[rows]) for rows in (en, sw))
    whole = RECALIBRATORS["vector"][1]().fit(z, y)
    assert made["shared"] == pytest.approx(whole.transform(np.stack(other.logits)))
    assert made["per-language"][other.language == "sw"] == pytest.approx(own.transform(there["sw"]))
    w = 300 / 350
    expected = log_softmax(w * own.transform(there["sw"]) + (1 - w) * english.transform(there["sw"]), axis=1)
    assert made["shrunk"][other.language == "sw"] == pytest.approx(expected)
    assert made["shrunk"][other.language == "en"] == pytest.approx(english.transform(there["en"]))


def test_a_language_without_labels_gets_the_english_map_or_the_shared_one_or_is_refused():
    table, new = predictions(), predictions(seed=1, languages=("de",))
    english = Recalibration("temperature").fit(table[table.language == "en"])
    assert np.stack(Recalibration("temperature", "shrunk").fit(table).transform(new).logits) == pytest.approx(np.stack(english.transform(new).logits))
    Recalibration("temperature").fit(table).transform(new)
    with pytest.raises(XitcalError, match="no map for language de of new.csv: the regime 'per-language' was fitted on en, sw"):
        Recalibration("temperature", "per-language").fit(table).transform(new, "new.csv")


def test_a_map_of_confidence_keeps_the_proportions_of_the_other_classes():
    table, other = predictions(), predictions(seed=1)
    before, after = softmax(np.stack(other.logits), axis=1), np.exp(np.stack(Recalibration("platt").fit(table).transform(other).logits))
    top = before.argmax(1)
    rows = np.arange(len(top))
    c = softmax(np.stack(table.logits), axis=1)
    fit = RECALIBRATORS["platt"][1]().fit(c.max(1), c.argmax(1) == table.label)
    assert after[rows, top] == pytest.approx(fit.transform(before.max(1)))
    rest = [np.delete(p, t) / np.delete(p, t).sum() for p, t in zip(before, top)]
    assert np.array([np.delete(p, t) / np.delete(p, t).sum() for p, t in zip(after, top)]) == pytest.approx(np.array(rest))


def test_probabilities_stay_probabilities_and_other_columns_follow():
    table = predictions()
    p = softmax(np.stack(table.logits), axis=1)
    table = table.drop(columns="logits").assign(probs=list(p), text="x", prediction=p.argmax(1), confidence=p.max(1), correct=p.argmax(1) == table.label)
    after = Recalibration("matrix").fit(table[::2]).transform(table[1::2])
    q = np.stack(after.probs)
    assert list(after) == list(table) and q.sum(1) == pytest.approx(1) and (after.text == "x").all() and list(after.index) == list(table.index[1::2])
    assert (
        after.confidence.to_numpy(float) == pytest.approx(q.max(1))
        and (after.prediction == q.argmax(1)).all()
        and (after.correct == (after.prediction == after.label)).all()
    )


def test_a_probability_of_nought_does_not_break_a_map():
    table = predictions()
    p = softmax(np.stack(table.logits), axis=1).round(3)
    table = renormalise(table.drop(columns="logits").assign(probs=list(p)))
    assert (p == 0).any()
    for method in ("temperature", "dirichlet", "beta"):
        assert np.isfinite(np.stack(Recalibration(method).fit(table[::2]).transform(table[1::2]).probs)).all()


def test_rows_that_are_not_scored_stay_as_they_are():
    table = predictions()
    fitted, other = Recalibration("temperature").fit(table), predictions(seed=1)
    other.loc[::3, "label"] = -100
    after = fitted.transform(other)
    same = [np.array_equal(a, b) for a, b in zip(after.logits, other.logits)]
    assert same == [i % 3 == 0 for i in range(len(other))]


def test_maps_of_netcal_and_scikit_learn_are_theirs_to_the_last_digits():
    "Fitted once, kept as points: the same numbers as those libraries give, also at the edges of bins"
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    from netcal.binning import BBQ as theirs
    from netcal.binning import HistogramBinning
    from sklearn.isotonic import IsotonicRegression

    table = alone()
    c, y = table.confidence.to_numpy(), table.correct.to_numpy(int)
    at = np.clip(np.concatenate([np.linspace(0, 1, 1001), np.arange(1, 12) / 12, c]), 1e-7, 1 - 1e-7)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        made = {
            Isotonic: IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(c, y),
            Histogram: HistogramBinning(bins=10).fit(c, y),
            BBQ: theirs().fit(c, y),
        }
        said = {ours: np.clip(model.transform(at), 1 / 802, 801 / 802) for ours, model in made.items()}
    for ours, expected in said.items():
        assert ours().fit(c, y).transform(at) == pytest.approx(expected, abs=1e-12), ours


# --- the choice ------------------------------------------------------------------------------------------------------------


def test_the_choice_is_by_nll_of_rows_that_did_not_fit():
    "By hand for a temperature: folds are dealt by the hash of the example, the loss is that of the held-out rows"
    table = predictions(n=200)
    found = choose_family(table).set_index("method")
    z, y, fold = np.stack(table.logits), table.label.to_numpy(), example_groups(table.example, 5)
    loss = np.empty(len(y))
    for f in range(5):
        fit = RECALIBRATORS["temperature"][1]().fit(z[fold != f], y[fold != f])
        loss[fold == f] = -fit.transform(z[fold == f])[np.arange((fold == f).sum()), y[fold == f]]
    plain = -log_softmax(z, axis=1)[np.arange(len(y)), y]
    assert found.nll["temperature"] == pytest.approx(loss.mean()) and found.change["temperature"] == pytest.approx((loss - plain).mean())
    assert found.nll["none"] == pytest.approx(plain.mean()) and found.change["none"] == 0
    assert set(found.index) == {"none", *FULL, *ALONE} and found.nll.is_monotonic_increasing
    assert Recalibration().fit(table).method_ == found.index[0]


def test_a_map_that_knows_its_rows_by_heart_is_not_chosen():
    "Every label of a row is noise, so that only `none` or what hardly moves can be best; the fit on its own rows would be better"
    rng = np.random.default_rng(0)
    table = predictions(n=60, twice=1.0).assign(label=rng.integers(0, 3, 120))
    found = choose_family(table).set_index("method")
    own = Recalibration("isotonic").fit(table)
    assert before_after(table, own, [], same_rows=True).set_index("estimate").change["nll"] < found.change["isotonic"]


def test_decisions_of_an_example_stay_in_one_fold():
    table = predictions(n=60)
    tokens = pd.concat([table, table.assign(label=(table.label + 1) % 3)], ignore_index=True)
    assert (
        choose_family(tokens).set_index("method").nll["temperature"]
        > choose_family(tokens.assign(example=np.arange(len(tokens)))).set_index("method").nll["temperature"] - 0.02
    )
    assert len(set(zip(example_groups(tokens.example, 5), tokens.example))) == tokens.example.nunique()


def test_a_calibrated_system_is_left_nearly_as_it_is():
    fitted = Recalibration().fit(predictions(n=1500, twice=1.0))
    change = before_after(predictions(n=1500, seed=1, twice=1.0), fitted, []).set_index("estimate").change
    assert abs(change["nll"]) < 5e-3 and abs(change["signed_ce"]) < 0.02


# --- rows that were used ----------------------------------------------------------------------------------------------------


def test_rows_that_fitted_a_map_do_not_judge_it():
    table, other = predictions(), predictions(seed=1)
    fitted = Recalibration("temperature").fit(table)
    mixed = pd.concat([other, table[:3]], ignore_index=True)
    with pytest.raises(XitcalError, match=r"3 of 603 rows of mine are of examples that the map was fitted on, the first '0-en-0'"):
        fitted.transform(mixed, "mine")
    assert len(fitted.transform(mixed, same_rows=True)) == 603 and len(fitted.unused(mixed)) == 600
    with pytest.raises(XitcalError, match="are of examples that the map was fitted on"):
        before_after(table.assign(language="de"), fitted)  # a translation has the labels of its source
    assert len(fitted.transform(table.drop(columns="label"))) == 600  # nothing is judged
    assert "0-en-0" not in fitted.to_json()  # hashes, no names


@pytest.mark.parametrize("fit, judge", [(["example"], []), ([], ["example"])])
def test_rows_without_names_judge_only_when_asked(fit, judge):
    fitted = Recalibration("temperature").fit(predictions().drop(columns=fit))
    other = predictions(seed=1).drop(columns=judge)
    with pytest.raises(XitcalError, match="has no column example, so nobody can say"):
        fitted.transform(other)
    assert (before_after(other, fitted, same_rows=True).query("estimate == 'nll'").change < 0).all()


def test_intervals_of_the_report_are_paired_and_of_the_rows_that_judge():
    from xitcal.calibration.calibrate import compare

    fitted, other = Recalibration("temperature").fit(predictions()), predictions(seed=1)
    expected = compare(other.assign(logits=[z / fitted.maps_[""][0].temperature_ for z in other.logits]), other)
    pd.testing.assert_frame_equal(before_after(other, fitted), expected)


# --- what is refused ---------------------------------------------------------------------------------------------------------

ONE = predictions().assign(logits=lambda t: [z + [20, 0, 0] for z in t.logits])
REFUSED = [
    (predictions()[:5], {}, "mine has 5 labelled examples; a map needs 10"),
    (predictions().assign(label=lambda t: [z.argmax() for z in t.logits]), {}, "Every decision of mine is right"),
    (predictions().assign(label=lambda t: [z.argmin() for z in t.logits]), {}, "Every decision of mine is wrong"),
    (ONE, {}, "mine gives one answer, class 0, in 100.0 % of its rows"),
    (predictions(languages=("de",)), dict(regime="shrunk"), r"mine is all in one language \(de\); the regime 'shrunk' needs English"),
    (predictions(languages=("de", "sw")), dict(regime="shrunk"), r"mine has no rows in English \(en\)"),
    (predictions().drop(columns="language"), dict(regime="per-language"), "mine has no language, which the regime 'per-language' needs"),
    (predictions()[:305], dict(regime="per-language"), "Language sw of mine has 5 labelled examples; a map of its own needs 10"),
    (predictions(), dict(regime="share"), "did you mean 'shared'"),
    (predictions(), dict(method="temprature"), "did you mean 'temperature'"),
    (predictions(), dict(method="spans"), "needs the length of every answer"),
    (alone(), dict(method="vector"), "needs logits or probs, and mine has confidence and correct alone"),
    (
        predictions().assign(logits=lambda t: [z[: 2 + i % 2] for i, z in enumerate(t.logits)], label=0),
        dict(method="matrix"),
        "mine has rows of 2 to 3 candidates",
    ),
    (
        predictions().assign(logits=lambda t: [softmax(z).round(2) for z in t.logits]).rename(columns=dict(logits="probs")),
        {},
        "because they are rounded to 2 digits",
    ),
]


@pytest.mark.parametrize("table, options, sentence", REFUSED, ids=[s[-40:] for *_, s in REFUSED])
def test_what_allows_no_map_is_one_sentence(table, options, sentence):
    with pytest.raises(XitcalError, match=sentence) as error:
        Recalibration(**options).fit(table, "mine")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "other, sentence",
    [
        (predictions(seed=1, k=4), "fitted on 3 classes, and theirs has 4 classes"),
        (alone(seed=1), "fitted on 3 classes, and theirs has confidence alone"),
        (
            predictions(seed=1).assign(logits=lambda t: [z[: 2 + i % 2] for i, z in enumerate(t.logits)], label=0),
            "and theirs has candidates of different numbers",
        ),
    ],
)
@pytest.mark.parametrize("method", ["temperature", "vector", "none"])
def test_a_map_of_other_classes_is_refused(method, other, sentence):
    with pytest.raises(XitcalError, match=sentence):
        Recalibration(method).fit(predictions()).transform(other, "theirs")


def test_a_map_of_classes_of_other_names_is_refused():
    table, other = predictions(), predictions(seed=1)
    table.attrs["classes"], other.attrs["classes"] = ["no", "perhaps", "yes"], ["a", "b", "c"]
    fitted = Recalibration.from_json(Recalibration("vector").fit(table).to_json())
    with pytest.raises(XitcalError, match="fitted on the classes no, perhaps, yes, and theirs has a, b, c"):
        fitted.transform(other, "theirs")


def test_a_temperature_of_candidates_takes_any_number_of_them():
    table = predictions().assign(
        logits=lambda t: [z[: 2 + i % 2] for i, z in enumerate(t.logits)], label=lambda t: [min(y, 1 + i % 2) for i, y in enumerate(t.label)]
    )
    after = Recalibration("temperature").fit(table).transform(predictions(seed=1, k=5))
    assert {len(z) for z in after.logits} == {5}


def altered(value, at=()):
    "Every way of emptying or altering one field of a map: the place, and what stands there"
    if at:
        yield from ((at, new) for new in (..., None, {}, [], "x", -1, 0.5, float("nan"), [None], [[1]]) if new is ... or new != value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from altered(part, (*at, key))
    elif isinstance(value, list) and value:
        yield from altered(value[0], (*at, 0))


def with_change(held, at, new):
    "A copy of a map with one field replaced, or left out"
    made = json.loads(json.dumps(held))
    place = made
    for key in at[:-1]:
        place = place[key]
    if new is ...:
        del place[at[-1]]
    else:
        place[at[-1]] = new
    return made


@pytest.mark.parametrize(
    "method, regime",
    [("temperature", "shrunk"), ("vector", "shared"), ("structured", "shared"), ("platt", "shared"), ("venn_abers", "per-language")],
)
def test_a_map_that_was_altered_anywhere_is_one_sentence(method, regime):
    "Also where the altered map would still give numbers, which would be wrong"
    good = json.loads(Recalibration(method, regime).fit(predictions(n=60)).to_json())
    many = 0
    for at, new in altered(good):
        with pytest.raises(XitcalError, match=r"^map.json (is nothing that|is not as|has the format)") as error:
            Recalibration.from_json(json.dumps(with_change(good, at, new)), "map.json")
        assert "\n" not in str(error.value) and str(error.value).endswith(".")
        many += 1
    assert many > 150


def test_the_sentence_names_what_was_altered(tmp_path):
    good = json.loads(Recalibration("platt").fit(alone()).to_json())
    state = good["maps_"][""] | dict(state={})
    for change, words in (
        (dict(maps_={"": state}), r"\(maps_ altered or missing\)"),
        (dict(examples_=[], regime="shrunk"), r"\(examples_, regime altered or missing\)"),
        (dict(format=1), "has the format 1, and this version of xitcal reads 2; make it again with `xitcal recalibrate fit`"),
        (dict(checksums={}), r"\(checksums altered or missing\)"),
    ):
        (tmp_path / "map.json").write_text(json.dumps(good | change))
        with pytest.raises(XitcalError, match=words):
            read_map(tmp_path / "map.json")
    for text in ("", "[1]", "{}", "null", json.dumps({k: v for k, v in good.items() if k != "maps_"})):
        (tmp_path / "map.json").write_text(text)
        with pytest.raises(XitcalError, match="map.json is nothing that"):
            read_map(tmp_path / "map.json")
    with pytest.raises(XitcalError, match="There is no map"):
        read_map(tmp_path / "gone.json")


def test_the_command_line_says_that_a_map_was_altered(tmp_path):
    table = predictions(n=40)
    write_table(table, tmp_path / "a.csv")
    held = json.loads(Recalibration("temperature").fit(table).to_json())
    held["maps_"][""]["state"] = {}
    (tmp_path / "map.json").write_text(json.dumps(held))
    said = command("apply", tmp_path / "a.csv", "--map", tmp_path / "map.json", "--out", tmp_path / "b.csv", ok=False)
    assert "map.json is not as `xitcal recalibrate fit` wrote it (maps_ altered or missing); make it again." in said


def test_where_all_rows_were_used_for_fitting_the_sentence_says_so():
    table = alone()
    fitted = Recalibration("platt").fit(table)
    with pytest.raises(XitcalError, match="All 800 rows of a.csv were used for fitting: the map was fitted on their examples"):
        fitted.unused(table, "a.csv")
    with pytest.raises(XitcalError, match="a.csv has no column example, so nobody can say .*; add it, or leave out --unused"):
        fitted.unused(table.drop(columns="example"), "a.csv")


def test_names_that_are_numbers_are_the_same_in_every_file():
    "1 and 1.0 are one example, so that a file whose column has an empty cell does not judge its own map"
    table = alone().assign(example=np.arange(800))
    fitted = Recalibration("platt").fit(table)
    other = pd.concat([table.assign(example=np.arange(800.0)), alone(seed=1).assign(example=np.arange(800.0, 1600))])
    assert len(fitted.unused(other)) == 800


@pytest.mark.parametrize("change, sentence", [
    (dict(example=None), "mine, row 1: the name of its example is missing"), (dict(example=[["a"]] * 600), "mine, row 1: example holds a list"),
    (dict(language=[["en"]] * 600), "mine, row 1: language holds a list")])
def test_names_that_cannot_be_meant_are_one_sentence(change, sentence):
    for use in (Recalibration("temperature").fit, Recalibration("temperature").fit(predictions(seed=1)).transform):
        with pytest.raises(XitcalError, match=sentence):
            use(predictions().assign(**change), "mine")


def test_a_missing_language_is_named_where_the_regime_needs_it():
    table = predictions().assign(language=lambda t: [None, *t.language[1:]])
    with pytest.raises(XitcalError, match="mine, row 1, has no language, which the regime 'per-language' needs"):
        Recalibration("temperature", "per-language").fit(table, "mine")
    assert np.isfinite(np.stack(Recalibration("temperature").fit(table).transform(predictions(seed=1)).logits)).all()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_decisions_beside_the_logits_are_replaced_in_text_files_too(tmp_path, kind):
    table = predictions(n=40)
    fitted = Recalibration("vector").fit(table)
    other = predictions(n=40, seed=1).assign(prediction=0, confidence=0.5, correct=True)
    write_table(other, tmp_path / f"a.{kind}")
    write_table(fitted.transform(read_file(tmp_path / f"a.{kind}")), tmp_path / f"b.{kind}")
    found, logits = read_file(tmp_path / f"b.{kind}"), np.stack(fitted.transform(other).logits)
    right = logits.argmax(1) == other.label
    assert found.prediction.tolist() == logits.argmax(1).tolist() and found.correct.astype(str).tolist() == [str(x) for x in right]
    assert found.confidence.to_numpy() == pytest.approx(softmax(logits, axis=1).max(1))
    with pytest.raises(XitcalError, match="mine, row 1: prediction is 'cat', and a map writes numbers there"):
        fitted.transform(other.assign(prediction="cat"), "mine")


def test_renormalise_says_in_its_own_words_what_it_refuses(tmp_path):
    rows = dict(probs=[[0.2, 0.3, 0.5], [0.333333, 0.333333, 0.323334]], label=[0, 1])
    pd.DataFrame(rows).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    plain, asked = (xitcal("calibrate", tmp_path / "a.jsonl", *more, check=False).stderr for more in ([], ["--renormalise"]))
    assert "a.jsonl, row 2: probs sum to 0.99 and not to 1." in plain
    assert "a.jsonl, row 2: probs sum to 0.99, and they are not divided by their sum: they have 6 digits" in asked and asked.count("\n") == 1
    for row, words in (([0.5, 0.4], "rounding to 2 digits moves the sum of 2 by at most 0.01"), ([0.0, 0.0], "probs sum to 0, and they are not divided"),
                       ([40.0, 60.0], "these are percentages"), ([-0.1, 0.5], "are not all in"), ([0.5], "probs has one number"), ([], "probs has no number")):
        with pytest.raises(XitcalError, match=words):
            renormalise(pd.DataFrame(dict(probs=[row], label=[0])))
    kept = renormalise(pd.DataFrame(dict(probs=[[9.0, 9.0], [0.33, 0.66]], label=[-100, 0])))
    assert list(kept.probs[0]) == [9, 9] and sum(kept.probs[1]) == pytest.approx(1, abs=1e-12)


def test_rounded_probabilities_say_so_and_are_renormalised_when_asked(tmp_path):
    table = predictions().assign(probs=lambda t: [softmax(z).round(2) for z in t.logits]).drop(columns="logits")
    write_table(table, tmp_path / "a.csv")
    said = xitcal("calibrate", tmp_path / "a.csv", check=False)
    assert (
        said.returncode == 2
        and re.search(r"probs sum to (0.99|1.01), because they are rounded to 2 digits; ask .*--renormalise", said.stderr)
        and said.stderr.count("\n") == 1
    )
    assert "ECE-15" in xitcal("calibrate", tmp_path / "a.csv", "--renormalise", "--fast").stdout
    again = renormalise(read_file(tmp_path / "a.csv"))
    assert np.stack(again.probs).sum(1) == pytest.approx(1, abs=1e-12)
    with pytest.raises(XitcalError, match="sum to 0.7, and they are not divided by their sum"):
        Recalibration().fit(renormalise(pd.DataFrame(dict(probs=[[0.5, 0.2]] * 20, label=[0, 1] * 10))))


# --- the command line ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_command_line_does_what_python_does(tmp_path, kind):
    table = predictions()
    write_table(table, tmp_path / f"a.{kind}")
    said = command("fit", tmp_path / f"a.{kind}", "--method", "vector", "--regime", "shrunk", "--examples", 100, "--out", tmp_path / "maps" / "map.json")
    assert "vector, shrunk, fitted on 200 rows of 200 examples" in said
    refused = command("apply", tmp_path / f"a.{kind}", "--map", tmp_path / "maps" / "map.json", "--out", tmp_path / f"b.{kind}", ok=False)
    assert "200 of 600 rows" in refused and "--unused" in refused and not (tmp_path / f"b.{kind}").exists()
    said = command("apply", tmp_path / f"a.{kind}", "--map", tmp_path / "maps" / "map.json", "--out", tmp_path / f"b.{kind}", "--unused")
    assert "400 rows in" in said and "Change" in said and "NLL" in said
    fitted = Recalibration("vector", "shrunk").fit(labelled_part(table, 100))
    expected = fitted.transform(fitted.unused(table))
    found = read_file(tmp_path / f"b.{kind}")
    logits = [json.loads(z) if isinstance(z, str) else z for z in found.logits]
    assert np.array_equal(np.stack(logits), np.stack(expected.logits)) and found.example.tolist() == expected.example.tolist()


def test_the_command_line_chooses_and_applies_without_labels(tmp_path):
    alone(300).to_csv(tmp_path / "a.csv", index=False)
    said = command("fit", tmp_path / "a.csv", "--out", tmp_path / "map.json")
    assert "method" in said and "standard_error" in said and "shared, fitted on 300 rows" in said
    alone(50, seed=1).drop(columns="correct").to_csv(tmp_path / "new.csv", index=False)
    said = command("apply", tmp_path / "new.csv", "--map", tmp_path / "map.json", "--out", tmp_path / "b.csv")
    assert "50 rows in" in said and "Change" not in said
    assert "is a folder, and a file shall be written" in command("fit", tmp_path / "a.csv", "--out", tmp_path, ok=False)
    assert "Unknown column 'nope' in a.csv" in command(
        "apply", tmp_path / "a.csv", "--map", tmp_path / "map.json", "--out", tmp_path / "b.csv", "--by", "nope", ok=False
    )
    said = command("apply", tmp_path / "a.csv", "--map", tmp_path / "map.json", "--out", tmp_path / "b.csv", "--unused", ok=False)
    assert "All 300 rows of a.csv were used for fitting" in said
    assert "predictions are written as" in command("apply", tmp_path / "new.csv", "--map", tmp_path / "map.json", "--out", tmp_path / "b.xlsx", ok=False)
    assert "There is no map" in command("apply", tmp_path / "new.csv", "--map", tmp_path / "no.json", "--out", tmp_path / "b.csv", ok=False)
    assert "one must remain to judge it" in command("fit", tmp_path / "a.csv", "--examples", 300, "--out", tmp_path / "map.json", ok=False)


def test_repeated_rows_are_named_before_a_map_is_fitted(tmp_path):
    table = predictions()
    pd.concat([table, table[:7]]).to_parquet(tmp_path / "a.parquet")
    said = command("fit", tmp_path / "a.parquet", "--method", "temperature", "--out", tmp_path / "map.json")
    assert "a.parquet: 7 rows have the same language, example as another row" in said and "temperature, shared, fitted on 607 rows" in said
    table.to_parquet(tmp_path / "b.parquet")
    assert "as another row" not in command("fit", tmp_path / "b.parquet", "--method", "temperature", "--out", tmp_path / "map.json")
