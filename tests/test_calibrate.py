"""`xitcal calibrate`: the command line on files of every kind, and intervals that cover."""
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import xitcal
from scipy.special import softmax

from xitcal.calibration.calibrate import calibrate as make_table
from xitcal.calibration.calibrate import compare, readable
from xitcal.calibration.debiased import debiased_rms, null_distances, smooth_ece, smooth_ece_interval
from xitcal.calibration.intervals import mean_interval
from xitcal.calibration.prediction_files import read_file
from xitcal.calibration.tables import Decisions, estimates_of
from xitcal.core.errors import XitcalError
from xitcal.core.estimates import ESTIMATE_COLUMNS, possible_range

COLUMNS = {"language", *ESTIMATE_COLUMNS}
ESTIMATES = {"signed_ce", "debiased_ce", "ece_15", "smooth_ece", "nll", "brier"}
FOUR = ("signed_ce", "debiased_ce", "ece_15", "smooth_ece")
MORE = {"nll_confidence", "brier_confidence", "accuracy", "confidence", "above_99", "ece_15_mass", "mce_15", "mce_15_mass", "debiased_square_15",
        "debiased_root_15", "nll_calibration", "nll_refinement",
        "brier_calibration", "brier_refinement", "auroc", "aurc", "excess_aurc", "augrc", "calibration_slope", "calibration_intercept", "calibration_p"}


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
    assert "signed calibration error" in said and "sw" in said
    found = {kind: make_table(read_file(tmp_path / f"a.{kind}"), smooth=False) for kind in ("parquet", "jsonl")}
    found["csv"] = pd.read_csv(tmp_path / "out.csv").fillna({"why": ""})
    assert COLUMNS <= set(found["csv"]) and set(found["csv"].estimate) == ESTIMATES and len(found["csv"]) == 12
    for kind in ("csv", "jsonl"):
        pd.testing.assert_frame_equal(found[kind], found["parquet"], atol=1e-9)
    gap = found["csv"].query("estimate == 'signed_ce'")
    assert (gap.low > 0).all() and (gap.n == 400).all() # twice as loud is over-confident


def test_a_baseline_adds_paired_changes(tmp_path):
    predictions(2.).to_parquet(tmp_path / "loud.parquet")
    predictions(1.)[10:].to_parquet(tmp_path / "plain.parquet")
    said = calibrate(tmp_path / "loud.parquet", "--baseline", tmp_path / "plain.parquet", "--by", "language", "--out", tmp_path / "out.parquet", "--fast")
    assert "10 decisions without a partner left out" in said
    table = pd.read_parquet(tmp_path / "out.parquet").set_index(["language", "estimate"])
    assert table.loc[("en", "change_nll"), "low"] > 0 and table.loc[("en", "change_signed_ce"), "n"] == 390


def test_all_compares_the_parts_of_scores_too(tmp_path):
    "A louder model knows as much and is worse calibrated; the parts' changes are their scores'; a group that cannot be cross-fitted has none"
    plain, loud = predictions(1., n=400), predictions(3., n=400)
    for name, table in dict(plain=plain, loud=loud).items(): table.to_parquet(tmp_path / f"{name}.parquet")
    said = calibrate(tmp_path / "loud.parquet", "--baseline", tmp_path / "plain.parquet", "--out", tmp_path / "out.parquet", "--fast", "--all")
    found = pd.read_parquet(tmp_path / "out.parquet").query("estimate.str.startswith('change_')").set_index(["language", "estimate"])
    assert "calibration term of NLL" in said.split("Change against")[1]
    for _, rows in found.groupby("language"):
        mine = rows.droplevel("language")
        assert len(mine) == 9 and mine.low["change_nll_calibration"] > 0 and mine.p["change_nll_calibration"] < .05
        assert mine.low["change_nll_refinement"] < 0 < mine.high["change_nll_refinement"]
        for score in ("nll", "brier"):
            parts = mine.value[f"change_{score}_calibration"] + mine.value[f"change_{score}_refinement"]
            assert parts == pytest.approx(mine.value[f"change_{score}_confidence"], abs=2e-3)
    few = compare(*(t.groupby("language").head(1) for t in (loud, plain)), all_estimates=True).set_index("estimate")
    empty = few.index.str.endswith(("calibration", "refinement"))
    assert empty.sum() == 2 * 4 and few.value[empty].isna().all() and few.p[empty].isna().all() and few.value[~empty].notna().all()


def test_what_cannot_be_is_one_sentence(tmp_path):
    table = predictions(1.)
    table.to_parquet(tmp_path / "a.parquet")
    assert "did you mean 'language'" in calibrate(tmp_path / "a.parquet", "--by", "langage", ok=False)
    assert "estimates are written as" in calibrate(tmp_path / "a.parquet", "--out", tmp_path / "a.xlsx", ok=False)


def test_places_that_cannot_be_written_are_told_as_what_they_are(tmp_path):
    "A folder in the place of a file, and a file in the place of a folder; no word of a store, which the user does not have"
    predictions(1., n=20).to_parquet(tmp_path / "a.parquet")
    for option in ("--out", "--figure"):
        assert "is a folder, and a file shall be written; name a file." in calibrate(tmp_path / "a.parquet", option, tmp_path, ok=False)
    said = calibrate(tmp_path / "a.parquet", "--fast", "--out", tmp_path / "a.parquet" / "x.csv", ok=False)
    assert "The folder" in said and "a.parquet' is a file, not a folder; choose another place" in said and "store" not in said
    assert "predictions are written as" in xitcal("predictions", "--store", tmp_path, "--out", tmp_path / "x.xlsx", check=False).stderr


@pytest.mark.parametrize("text, sentence", [
    ("confidence,correct\n.5,1,1\n.6,0,1\n", "a row has more cells than the header has names"), ("confidence,correct\n.5,1\n.6\n", "row 2: correct ''"),
    ("confidence,correct,example\n.5,1,a\n.6,0,\n", "row 2: the name of its example is missing; name all examples, or leave the column out"),
    ("logits,label\n\"[1, 2]\",1e30\n", "row 1: label 1e+30 is outside the 2 classes"), ("logits,label\n,0\n", "row 1: logits '' is no list")])
def test_rows_of_text_that_cannot_be_meant(tmp_path, text, sentence):
    (tmp_path / "a.csv").write_text(text)
    assert sentence in calibrate(tmp_path / "a.csv", ok=False)


def test_spaces_around_names_of_columns_are_no_part_of_them(tmp_path):
    (tmp_path / "a.csv").write_text("confidence , correct\n.5,1\n.6,0\n")
    assert list(read_file(tmp_path / "a.csv")) == ["confidence", "correct"]


def test_lists_and_nothing_are_no_names():
    table = predictions(1., n=20)
    for column in ("example", "language", "seed"):
        with pytest.raises(XitcalError, match=f"predictions, row 1: {column} holds a list"):
            make_table(table.assign(**{column: [["a"]] * len(table)}))
    with pytest.raises(XitcalError, match="predictions, row 4: logits has no number"):
        make_table(table.assign(logits=[None if i == 3 else z for i, z in enumerate(table.logits)]))


def test_a_seed_with_empty_cells_is_paired_by_its_number():
    "1 in one file and 1.0 in another, whose column has an empty cell, are one seed"
    table = predictions(1., n=40)
    mine, other = table.assign(seed=1), table.assign(seed=np.where(np.arange(len(table)) < 10, np.nan, 1.))
    assert compare(mine, other, []).n.eq(len(table) - 10).all()


def test_a_baseline_with_logits_does_not_hinder_renormalising(tmp_path):
    table = predictions(1., n=30)
    probs = [np.exp(z - z.max()) for z in table.logits]
    table.drop(columns="logits").assign(probs=[(p / p.sum()).round(2) for p in probs]).to_parquet(tmp_path / "a.parquet")
    table.to_parquet(tmp_path / "b.parquet")
    assert "Change against b.parquet" in calibrate(tmp_path / "a.parquet", "--fast", "--renormalise", "--baseline", tmp_path / "b.parquet")


def test_logits_that_are_all_minus_infinity_name_their_row(tmp_path):
    table = predictions(1., n=4)
    table.at[5, "logits"] = np.full(3, -np.inf)
    table.to_parquet(tmp_path / "a.parquet")
    assert "a.parquet, row 6: logits [-inf, -inf, -inf] give no class a probability" in calibrate(tmp_path / "a.parquet", ok=False)
    table.at[5, "logits"] = np.array([-np.inf, 2., -np.inf])  # one class is certain
    assert make_table(table, smooth=False).value.notna().all()


def test_groups_cannot_have_the_names_of_the_result(tmp_path):
    table = predictions(1., n=20)
    table.assign(n=1).to_parquet(tmp_path / "a.parquet")
    assert "cannot be told apart by a column 'n'" in calibrate(tmp_path / "a.parquet", "--by", "n", ok=False)
    for name in ("estimate", "value", "low", "high", "expected", "examples", "baseline", "change", "p", "unpaired"):
        for make in (make_table, lambda t, by: compare(t, t, by)):
            with pytest.raises(XitcalError, match=f"by a column '{name}': the table of estimates has one of that name; rename it") as error:
                make(table.assign(**{name: "x"}), ["language", name])
            assert "\n" not in str(error.value)
    other = make_table(table.assign(text="x"), ["language", "text", "language"], smooth=False)  # a name that the readable table needs no more; one said twice
    assert list(other)[:3] == ["language", "text", "estimate"] and readable(other).index.names == ["language", "text"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_languages_called_na_stay_words(tmp_path, kind):
    words = ["NA", "nan", "null", "None", "007", "inf", "sw"]
    table = pd.DataFrame(dict(language=np.repeat(words, 20), seed=np.tile([2, 10], 70), confidence=np.tile([.6, .9], 70), correct=np.arange(140) % 3 > 0))
    path = tmp_path / f"a.{kind}"
    write = dict(csv=lambda t: t.to_csv(path, index=False), tsv=lambda t: t.to_csv(path, sep="\t", index=False),
                 jsonl=lambda t: t.to_json(path, orient="records", lines=True), parquet=lambda t: t.to_parquet(path))[kind]
    write(table)
    read = read_file(path)
    assert all(read[name].tolist() == table[name].tolist() for name in ("language", "confidence", "seed"))
    found = make_table(read, ["language", "seed"], smooth=False)
    assert set(found.language) == set(words) and found.seed.unique().tolist() == [2, 10]  # a number is in the order of numbers
    pd.testing.assert_frame_equal(found, make_table(table, ["language", "seed"], smooth=False), atol=1e-9)
    write(table[:20].assign(language="nan"))  # a file with nothing else
    assert set(make_table(read_file(path), smooth=False).language) == {"nan"}


@pytest.mark.parametrize("rows, sentence", [
    ("confidence,correct\n.5,1\n,1", "row 2: confidence '' is no number"), ("confidence,correct\n.5,1\nNA,1", "row 2: confidence 'NA' is no number"),
    ("confidence,correct\n.5,1\n.5,", "row 2: correct '' is neither true nor false"),
    ('probs,label\n"[.5, .5]",1\n,1', "row 2: probs '' is no list of numbers"), ('probs,label\n"[0.5, 0.5]",1\n"[0.5, 0.5]",', "row 2: label '' is no index")])
def test_an_empty_cell_among_numbers_is_refused_with_its_row(tmp_path, rows, sentence):
    (tmp_path / "a.csv").write_text(rows.replace("[.5, .5]", "[0.5, 0.5]") + "\n")
    with pytest.raises(XitcalError, match=sentence):
        make_table(read_file(tmp_path / "a.csv"))


# --- floors ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("everything", [False, True])
def test_every_one_of_the_six_has_a_floor(everything):
    table = make_table(predictions(2., n=100), smooth=False, all_estimates=everything).set_index("estimate")
    assert table.expected[list(ESTIMATES)].notna().all() and (table.expected["signed_ce"] == 0).all()
    for name in ("debiased_ce", "smooth_ece"):
        assert ((0 < table.expected[name]) & (table.expected[name] < table.value[name])).all()  # twice as loud is above


@pytest.mark.parametrize("tokens", [1, 4])
def test_drawn_floors_are_the_mean_of_calibrated_models(tokens):
    rng = np.random.default_rng(tokens)
    c, group = rng.beta(6, 1.5, 300 * 200), np.repeat(np.arange(300), 200)
    def made(right, **options): return estimates_of(Decisions(c, right, group, **options, smooth=False), FOUR)
    table = made(rng.random(len(c)) < c, example=np.arange(len(c)) // tokens, draws=80)
    off = table.assign(off=table.value - table.expected).groupby("estimate").off
    assert (off.mean().abs() < 4 * off.std() / np.sqrt(300) + 1e-4).all(), (off.mean() / off.std()).to_dict()
    pd.testing.assert_series_equal(made(rng.random(len(c)) < c - .1, draws=8).expected, made(np.ones(len(c)), draws=8).expected)  # of the confidences alone


def test_a_drawn_error_is_that_of_the_estimates_themselves():
    "Draw by draw, with groups of different size, tied confidences and decisions that share an example"
    rng = np.random.default_rng(0)
    c, group = np.concatenate([rng.beta(6, 1.5, n) for n in (1, 60, 900)] + [np.ones(30)]), np.repeat([0, 1, 2, 3], [1, 60, 900, 30])
    cluster = np.arange(len(c)) // 3
    rms, smooth = null_distances(c, group, cluster, draws=5, seed=7)
    same = np.random.default_rng(7)
    for i in range(5):
        y = same.random(len(c)) < c
        assert rms[:, i] == pytest.approx(debiased_rms(c, y, group, cluster)[0], abs=1e-12)
        assert smooth[:, i] == pytest.approx(smooth_ece(c, y, group), abs=2 ** -12)


# --- all estimates --------------------------------------------------------------------------------------------------------

def test_all_estimates_keep_the_six_and_their_columns(tmp_path):
    table = predictions(2.)
    table.to_parquet(tmp_path / "a.parquet")
    said = calibrate(tmp_path / "a.parquet", "--all", "--fast", "--out", tmp_path / "out.csv")
    assert "MCE-15 has none: it is a maximum over bins" in said and "excess AURC" in said
    found, six = pd.read_csv(tmp_path / "out.csv").fillna({"why": ""}), make_table(table, smooth=False)
    assert list(found) == list(six) and set(found.estimate) == ESTIMATES | MORE | {"classwise_ece_15"} and len(found) == 56
    pd.testing.assert_frame_equal(found[found.estimate.isin(ESTIMATES)].reset_index(drop=True), six, check_dtype=False, atol=1e-9)
    wide = found.set_index(["language", "estimate"])
    assert wide.xs("mce_15", level="estimate")[["low", "high"]].isna().all(axis=None) and wide.xs("mce_15", level="estimate").expected.notna().all()
    assert (wide.xs("calibration_p", level="estimate").value < .05).all() # twice as loud
    assert wide.loc[("en", "classwise_ece_15"), "value"] > wide.loc[("en", "classwise_ece_15"), "expected"]


def test_one_statistic_of_the_test_of_calibration(tmp_path):
    "It was decided on beforehand; the six stay as they are"
    table = predictions(1.2)
    table.to_parquet(tmp_path / "a.parquet")
    said = calibrate(tmp_path / "a.parquet", "--statistic", "line", "--fast", "--out", tmp_path / "out.csv")
    assert "p of the test of calibration" in said and "The last p-value tests whether each decision is right with the chance" in said
    found = pd.read_csv(tmp_path / "out.csv").fillna({"why": ""})
    pd.testing.assert_frame_equal(found[found.estimate.isin(ESTIMATES)].reset_index(drop=True), make_table(table, smooth=False),
                                  check_dtype=False, atol=1e-9)
    line, gap = (make_table(table, smooth=False, statistic=name).query("estimate == 'calibration_p'").value for name in ("line", "gap"))
    assert found[found.estimate == "calibration_p"].value.tolist() == line.tolist() and (line != gap).all()
    said = calibrate(tmp_path / "a.parquet", "--fast")
    assert "p-value" not in said
    assert "did you mean 'line'?" in calibrate(tmp_path / "a.parquet", "--statistic", "lines", ok=False)


def test_each_of_all_is_what_its_definition_says():
    "Against scikit-learn and plain sums, of one group of a file with languages in a mixed order"
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import roc_auc_score
    table = predictions(2.).sample(frac=1, random_state=0)
    found = make_table(table, smooth=False, all_estimates=True).query("language == 'sw'").set_index("estimate").value
    own = table[table.language == "sw"]
    p = softmax(np.stack(own.logits), axis=1)
    c, y = p.max(1), p.argmax(1) == own.label
    assert found["accuracy"] == pytest.approx(y.mean()) and found["confidence"] == pytest.approx(c.mean())
    assert found["above_99"] == pytest.approx((c > .99).mean()) and found["auroc"] == pytest.approx(roc_auc_score(y, c))
    wrong = 1 - y.to_numpy(float)[np.argsort(-c)]
    assert found["aurc"] == pytest.approx((wrong.cumsum() / np.arange(1, 401)).mean())
    assert found["excess_aurc"] == pytest.approx(found["aurc"] - (np.sort(wrong).cumsum() / np.arange(1, 401)).mean())
    right, said = calibration_curve(y, c, n_bins=15)
    assert found["mce_15"] == pytest.approx(np.abs(right - said).max())
    classes = []
    for k in range(3):
        right, said = calibration_curve(own.label == k, p[:, k], n_bins=15)
        size = np.histogram(p[:, k], np.linspace(0, 1, 16))[0]
        classes.append((np.abs(right - said) * size[size > 0]).sum() / 400)
    assert found["classwise_ece_15"] == pytest.approx(np.mean(classes))
    for score in ("nll", "brier"):
        assert found[f"{score}_calibration"] + found[f"{score}_refinement"] == pytest.approx(found[f"{score}_confidence"], abs=1e-5)
    assert found["brier_confidence"] == pytest.approx(((c - y) ** 2).mean())


EDGES = {"one right": ([.7], [1]), "one wrong": ([.7], [0]), "one certain and wrong": ([1.], [0]),
         "pairs": ([.5, .9] * 4, [0, 1] * 4), "constant": ([.8] * 20, [1] * 15 + [0] * 5),
         "all right": (np.linspace(.4, 1, 20), [1] * 20), "all wrong": (np.linspace(.4, 1, 20), [0] * 20), "certain": ([1.] * 20, [1] * 20),
         "certain and wrong": ([1.] * 20, [0] * 20), "nought": ([0.] * 5, [0] * 5)}
SINGLE = {"one right", "one wrong", "one certain and wrong"}


@pytest.mark.parametrize("names", [*([name] for name in EDGES), list(EDGES)], ids=[*EDGES, "together"])
@pytest.mark.parametrize("examples", ["own", "one"])
def test_edges_have_a_meaning_or_are_empty(names, examples):
    "No warning; what is undefined is empty, and only that"
    table = pd.concat([pd.DataFrame(dict(who=name, confidence=EDGES[name][0], correct=EDGES[name][1])) for name in names], ignore_index=True)
    table["example"] = table.who if examples == "one" else table.index.astype(str)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make_table(table, ["who"], all_estimates=True)
        readable(found)
    assert set(found.estimate) == set(FOUR) | MORE and len(found) == len(names) * len({*FOUR, *MORE})
    for name, part in found.groupby("who"):
        parts = {f"{s}_{x}" for s in ("nll", "brier") for x in ("calibration", "refinement")} | {"debiased_square_15", "debiased_root_15"}
        undefined = (parts if name in SINGLE or examples == "one" else set()) | ({"auroc"} if len(set(EDGES[name][1])) == 1 else set())
        assert set(part.estimate[part.value.isna()]) == undefined
        value = part.set_index("estimate").value
        assert value["accuracy"] == np.mean(EDGES[name][1]) and value["confidence"] == pytest.approx(np.mean(EDGES[name][0]))
        held = part.dropna(subset=["value", "low"])
        least = np.array([possible_range(name)[0] for name in held.estimate]) # an estimate without bias may be below it
        assert (held.low <= np.maximum(held.value, least) + 1e-9).all() and (held.value <= held.high + 1e-9).all()
        assert part[part.estimate.isin(["mce_15", "ece_15", "ece_15_mass", "calibration_p"])][["low", "high"]].isna().all(axis=None)


def test_class_wise_error_only_where_rows_have_the_same_classes():
    rng = np.random.default_rng(0)
    def rows(k, n, who): return pd.DataFrame(dict(logits=[rng.normal(size=k).tolist() for _ in range(n)], label=rng.integers(0, k, n), who=who))
    mixed = pd.concat([rows(2, 40, "two"), rows(4, 40, "four"), rows(3, 20, "mixed"), rows(2, 20, "mixed")], ignore_index=True).sample(frac=1, random_state=0)
    found = make_table(mixed, ["who"], all_estimates=True, smooth=False).query("estimate == 'classwise_ece_15'").set_index("who")
    for who in ("two", "four"):
        alone = make_table(mixed[mixed.who == who], ["who"], all_estimates=True, smooth=False).query("estimate == 'classwise_ece_15'")
        assert found.value[who] == pytest.approx(alone.value.iloc[0], abs=1e-12) and 0 < found.expected[who] < 1
    assert np.isnan(found.value["mixed"]) and np.isnan(found.expected["mixed"])
    one_label = make_table(rows(3, 30, "x").assign(label=1), all_estimates=True, smooth=False).set_index("estimate")
    assert 0 < one_label.value["classwise_ece_15"] < 1


@pytest.mark.parametrize("k", [2, 3])
def test_the_floor_of_a_score_is_its_mean_for_calibrated_models(k):
    rng = np.random.default_rng(k)
    p = softmax(rng.normal(size=(200, k)) * 2, axis=1)
    def scored(label): return make_table(pd.DataFrame(dict(probs=list(p), label=label)), smooth=False).set_index("estimate")
    floor = scored(p.argmax(1)).expected
    drawn = (p.cumsum(1)[:, None, :-1] <= rng.random((200, 3000, 1))).sum(2) # (rows, models)
    nll = -np.log(np.take_along_axis(p, drawn, 1)).mean(0)
    brier = ((p ** 2).sum(1)[:, None] - 2 * np.take_along_axis(p, drawn, 1) + 1).mean(0)
    for name, values in (("nll", nll), ("brier", brier)):
        assert floor[name] == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(3000))
    assert scored(drawn[:, 0]).value["nll"] == pytest.approx(nll[0], abs=1e-9)


def test_all_estimates_are_read_downwards_and_the_six_across():
    table = predictions(2., n=40)
    assert len(readable(make_table(table, smooth=False))) == 2
    assert len(readable(make_table(table.drop(columns="language"), smooth=False))) == 6
    assert len(readable(make_table(table, smooth=False, all_estimates=True))) == 56


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
    found = pd.read_csv(tmp_path / "out.csv").query("estimate == 'signed_ce'").set_index("cell")
    expected = table.groupby("cell").apply(lambda t: (t.confidence - t.correct).mean(), include_groups=False)
    np.testing.assert_allclose(found.value, expected, atol=1e-9)


@pytest.mark.parametrize("n", range(2, 16))
def test_limits_of_few_rows_are_possible(n):
    rng, groups = np.random.default_rng(n), 40
    tables = []
    for spread, right in ((3, True), (8, True), (8, False)): # calm, sure, sure and wrong
        z = rng.normal(0, spread, (n * groups, 3))
        label = [rng.choice(3, p=p) for p in softmax(z, axis=1)] if right else rng.integers(0, 3, len(z))
        tables.append(pd.DataFrame(dict(logits=list(z), label=label, g=np.repeat(np.arange(groups), n), example=np.tile(np.arange(n), groups))))
    table = pd.concat([t.assign(g=t.g + groups * i) for i, t in enumerate(tables)], ignore_index=True)
    found = make_table(table, ["g"], all_estimates=True)
    least, most = np.array([possible_range(name) for name in found.estimate]).T
    limited = found.low.notna()
    assert limited.sum() > 10 * 3 * groups
    assert (found.low[limited] >= least[limited]).all() and (found.high[limited] <= most[limited]).all() and (found.low <= found.high)[limited].all()
    changes = compare(table.assign(logits=[z / 3 for z in table.logits]), table, ["g"], all_estimates=True)
    room = np.array([np.subtract(*possible_range(name)[::-1]) for name in changes.estimate])
    assert (changes.low >= -room).all() and (changes.high <= room).all()


def test_figures_of_one_file_of_two_and_of_many_groups(tmp_path):
    predictions(2.).to_parquet(tmp_path / "a.parquet")
    predictions(1.).to_parquet(tmp_path / "b.parquet")
    said = calibrate(tmp_path / "a.parquet", "--baseline", tmp_path / "b.parquet", "--fast", "--figure", tmp_path / "new" / "out.svg")
    drawn = (tmp_path / "new" / "out.svg").read_text()
    assert f"Figure: {tmp_path / 'new' / 'out.svg'}" in said and drawn.startswith("<?xml") and "of 2" not in said
    many = predictions(2.).assign(part=np.arange(800) % 40)
    many.to_parquet(tmp_path / "many.parquet")
    said = calibrate(tmp_path / "many.parquet", "--by", "part", "--fast", "--figure", tmp_path / "many.png")
    assert "the 12 groups with most decisions, of 40" in said
    assert "ends in '.gif'; figures are drawn as .svg, .png, .pdf" in calibrate(tmp_path / "a.parquet", "--figure", "out.gif", ok=False)
