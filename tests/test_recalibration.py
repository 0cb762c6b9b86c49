"""Recalibrators against a known truth and at the edges, regimes that never see a row twice, decisions that keep their promise."""
import json
import re
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from IPython.display import Markdown
from scipy.special import expit, log_softmax

from xitcal.calibration.recalibrators import (
    RECALIBRATORS,
    Dirichlet,
    MatrixScaling,
    Platt,
    SpanLogistic,
    StructuredMatrix,
    Temperature,
    fit_temperature,
    span_features,
)
from xitcal.calibration.regimes import recalibrate
from xitcal.calibration.thresholds import conformal_sets, conformal_threshold, selective, selective_table
from xitcal.calibration.transfer import carry_over, seed_ensembles
from xitcal.core.errors import XitcalError
from xitcal.core.schema import PREDICTION_SCHEMA
from xitcal.predictions.events import event_statistics, toy_predictions
from xitcal.report import sentences as findings
from xitcal.study.store import Store

PAGES = Path(__file__).parents[1] / "nbs" / "results"


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


@pytest.mark.parametrize("label", [np.zeros(40, int), np.arange(40) % 2, "right", "wrong"])
def test_a_structured_matrix_is_never_certain_and_never_warns(label):
    z = 3 * np.random.default_rng(0).normal(size=(40, 3))
    label = dict(right=z.argmax(1), wrong=z.argmin(1))[label] if isinstance(label, str) else label
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the temperature inside it lies at its bound
        p = np.exp(StructuredMatrix().fit(z, label).transform(100 * z))
    assert p.min() > 1e-6 and np.abs(p.sum(1) - 1).max() < 1e-9


@pytest.mark.parametrize("k", [2, 3, 9])
def test_on_few_rows_a_structured_matrix_is_nearer_to_the_truth_than_a_dirichlet_map(k):
    left, rng = {StructuredMatrix: 0, Dirichlet: 0}, np.random.default_rng(k)
    test = rng.normal(0, 1.5, (2000, k))
    logs = log_softmax(test, axis=1)
    for _ in range(5):
        z = rng.normal(0, 1.5, (15 * k, k))
        y = draw(z, rng)
        for cls in left:
            left[cls] += (np.exp(logs) * (logs - cls().fit(2 * z, y).transform(2 * test))).sum(1).mean() / 5
    assert left[StructuredMatrix] < left[Dirichlet]


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


# --- regimes ----------------------------------------------------------------------------------------------------------

def rows_of(targets, n=80, languages=("en", "de", "sw"), **options):
    "Test rows and English calibration rows of toy models, as data frames; no example is in both"
    both = toy_predictions(targets, languages=languages, n=2 * n, **options).to_pandas()
    late = both.example.str.extract(r"(\d+)$")[0].astype(int) >= n
    return both[~late], both[late & (both.language == "en")]


def table_of(frame):
    return pa.Table.from_pandas(frame, schema=toy_predictions(n=1).schema, preserve_index=False)


def judged(frame, **columns):
    "The frame with other labels or logits, and what follows from them"
    frame = frame.assign(**columns)
    p = [softmax(z.astype(float)[None])[0] for z in frame.logits]
    prediction = np.array([q.argmax() for q in p])
    return frame.assign(prediction=prediction, confidence=[q.max() for q in p], correct=prediction == frame.label)


@pytest.fixture(scope="module")
def toy():
    return rows_of(["xnli"], seeds=(0,))


@pytest.mark.parametrize("how", ["all right", "all wrong", "constant", "certain"])
def test_regimes_at_the_edges_give_numbers(toy, how):
    def bent(frame):
        if how == "constant":
            return judged(frame, logits=[np.array([1, 0, 0], np.float32)] * len(frame))
        if how == "certain":
            return judged(frame, logits=[np.float32(40) * z for z in frame.logits])
        return judged(frame, label=(frame.prediction + (how == "all wrong")) % 3)
    test, english = (bent(frame) for frame in toy)
    found = recalibrate(table_of(test), table_of(english), sizes=[10, 40], draws=2)
    assert found.table[["before", "after", "temperature"]].notna().all().all()
    assert set(found.table.regime) == {"english", "pooled", "own", "own, shrunken"}
    assert found.table.temperature.between(.049, 20.01).all()
    levels = carry_over(found.examples, "gain").query("what == 'level'")
    assert levels[["value", "low", "high"]].notna().all().all()


def test_labels_that_judge_never_fit(toy):
    test, english = toy
    before = recalibrate(table_of(test), table_of(english), sizes=[10, 40], draws=1)
    for regime, n in (("own", 10), ("own", 40), ("own, shrunken", 40), ("pooled", 0), ("english", 0)):
        mine = before.examples[(before.examples.regime == regime) & (before.examples.n == n) & (before.examples.language == "sw")]
        here = (test.language == "sw") & test.example.isin(set(mine.example.astype(str)))
        assert mine.rows.sum() == here.sum() == (len(test) // 3 if n == 0 else len(test) // 3 * (80 - n) // 80)
        other = judged(test, label=np.where(here, (test.label + 1) % 3, test.label))
        after = recalibrate(table_of(other), table_of(english), sizes=[10, 40], draws=1)
        pick = lambda found: found.table.query(f"regime == '{regime}' and n == {n} and language == 'sw' and estimate == 'nll'")
        assert pick(after).temperature.to_numpy() == pytest.approx(pick(before).temperature.to_numpy(), abs=1e-12)
        assert not np.allclose(pick(after).after, pick(before).after)


def test_five_hundred_labels_of_a_language_fit_what_the_others_judge():
    "1,200 examples of one language and 60 of English, which has too few and is named"
    test, english = rows_of(["xnli"], n=1200, languages=("en", "sw"), intermediates=["none"], seeds=(0,))
    test = test[(test.language == "sw") | (test.groupby("language", observed=True).cumcount() < 60)]
    found = recalibrate(table_of(test), table_of(english), sizes=[500], draws=1)
    own = found.table[(found.table.regime == "own") & (found.table.n == 500)].set_index("estimate")
    assert set(own.language) == {"sw"} and (own.labelled == 500).all() and (own.examples == 700).all() and not own.zero_shot.any()
    assert own.labels.unique().tolist() == ["n test examples of the language"]
    assert set(found.table.n[found.table.regime == "own, shrunken"]) == {500}
    missing = found.missing[found.missing.regime == "own"]
    assert missing[["language", "n"]].to_numpy().tolist() == [["en", 500]]
    assert missing.reason.iloc[0] == "1000 examples are needed, half of them to judge by; there are 60"
    names = set(found.examples.example[(found.examples.regime == "own") & (found.examples.n == 500)].astype(str))
    sw = test[test.language == "sw"]
    judging = sw.example.isin(names)
    assert judging.sum() == 700
    t = fit_temperature(np.stack(sw.logits[~judging]).astype(float), sw.label[~judging].to_numpy())  # of the 500 that do not judge, by another way
    assert own.temperature.to_numpy() == pytest.approx(t, rel=.005)
    logs = log_softmax(np.stack(sw.logits[judging]).astype(float) / own.temperature["nll"], axis=1)
    assert own.after["nll"] == pytest.approx(-logs[np.arange(700), sw.label[judging]].mean(), abs=1e-6)
    other = judged(test, label=np.where(test.example.isin(set(sw.example[judging])) & (test.language == "sw"), (test.label + 1) % 3, test.label))
    again = recalibrate(table_of(other), table_of(english), sizes=[500], draws=1).table.query("regime == 'own' and n == 500").set_index("estimate")
    assert again.temperature["nll"] == pytest.approx(own.temperature["nll"], abs=1e-12) and again.after["nll"] > own.after["nll"] + .1


@pytest.mark.parametrize("name", ["beta", "isotonic", "histogram", "vector"])
def test_other_families_have_all_regimes_by_the_same_call_and_never_see_what_judges_them(toy, name):
    test, english = toy
    def made(frame): return recalibrate(table_of(frame), table_of(english), sizes=[20], draws=1, recalibrator=name).table
    before = made(test)
    assert set(before.recalibrator) == {name} and set(before.estimate) == {"nll_confidence", "brier_confidence", "signed_ce", "debiased_root_15"}
    assert set(zip(before.regime, before.n)) == {("english", 0), ("pooled", 0), ("own", 20), ("own, shrunken", 20)}
    assert before[["before", "after", "english"]][before.estimate != "debiased_root_15"].notna().all().all()
    assert (before.zero_shot == (before.regime == "english")).all() and before.temperature.isna().all()
    same = lambda t, regime: t[(t.regime == regime) & (t.language == "sw") & (t.estimate == "signed_ce") & (t.intermediate == "none")]
    if name == "vector": return  # weighs classes: with other labels other decisions are right, and the confidence cannot be read off the gap
    wrong = judged(test, label=np.where(test.language == "sw", (test.label + 1) % 3, test.label))  # every label of the language is another
    after = made(wrong)
    def confidence(t, regime, frame):
        rows = frame[(frame.language == "sw") & (frame.intermediate == "none")]
        return same(t, regime).after.item() + rows.correct.mean()
    for regime in ("english", "pooled"):
        assert confidence(after, regime, wrong) == pytest.approx(confidence(before, regime, test), abs=1e-9)
    assert abs(same(after, "own").after.item() - same(before, "own").after.item()) > .005


def test_five_hundred_labels_fit_other_families_too_and_what_does_not_suit_is_named():
    test, english = rows_of(["xnli"], n=1000, languages=("sw",), intermediates=["none"], seeds=(0,))
    for name in ("isotonic", "vector"):
        table = recalibrate(table_of(test), table_of(english), sizes=[500], draws=1, recalibrator=name).table
        assert set(table.n) == set(table.labelled) == set(table.examples) == {500} and set(table.regime) == {"own"} and set(table.recalibrator) == {name}
    spans = recalibrate(*(table_of(f) for f in rows_of(["xnli", "xquad"], n=40, seeds=(0,))), sizes=[10], draws=1, recalibrator="vector")
    assert set(spans.table.target) == {"xnli"}
    assert spans.missing.query("target == 'xquad'").reason.tolist() == ["vector does not suit events of the sort answer"]
    with pytest.raises(XitcalError, match="nothing to recalibrate by vector"):
        recalibrate(*(table_of(f) for f in rows_of(["xquad"], n=40)), recalibrator="vector")


def test_a_sentence_is_labelled_whole_and_a_missing_seed_is_named():
    test, english = rows_of(["panx"], n=40)
    test = test[~((test.intermediate == "mnli") & (test.seed == 1))]
    found = recalibrate(table_of(test), table_of(english), sizes=[10, 20, 30], draws=2)
    own = found.examples[(found.examples.regime == "own") & (found.examples.n == 10)]
    assert set(own.rows % 4) == {0}  # a toy sentence has four tokens
    assert found.missing.n.tolist() == [30] and "there are 40" in found.missing.reason[0]
    changes = carry_over(found.examples, "gain").query("what == 'change'")
    assert set(changes.seeds) == {"0"} and set(carry_over(found.examples, "gain").query("intermediate == 'none'").seeds) == {"0, 1"}


def test_retrieval_without_phase_2_and_without_seed_is_everybodys_baseline():
    treated, base = toy_predictions(["tatoeba"], ["mnli"], ["de", "sw"], (0, 1), 60), toy_predictions(["tatoeba"], ["none"], ["de", "sw"], (None,), 60)
    found = recalibrate([treated, base], treated.slice(0, 0), sizes=[20], draws=1)
    assert set(found.table.regime) == {"pooled", "own"} and "no English calibration rows" in found.missing.reason[0]
    with pytest.raises(XitcalError, match="there are no English calibration rows"):
        carry_over(found.examples, "gain")


def test_rows_that_may_not_fit_are_refused(toy):
    test, english = map(table_of, toy)
    for wrong, sentence in ((english.set_column(english.column_names.index("language"), "language", pa.array(["sw"] * len(english))), "must be English"),
                            (test.filter(pa.compute.equal(test["language"], "en")), "both a calibration row and a test row")):
        with pytest.raises(XitcalError, match=sentence) as error:
            recalibrate(test, wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(XitcalError, match="a positive number of labelled examples, not 0"):
        recalibrate(test, english, sizes=[0])
    with pytest.raises(XitcalError, match="nothing to recalibrate"):
        recalibrate(test.slice(0, 0), english)


def test_an_ensemble_over_seeds_scores_better_than_its_members():
    table = toy_predictions(["xnli", "panx", "xquad"], seeds=(0, 1, 2), n=60)
    made = event_statistics(seed_ensembles(table))
    assert set(made.target) == {"xnli", "panx"} and made.seed.isna().all()  # answers list other candidates in each seed
    alone = event_statistics(table)
    for target in ("xnli", "panx"):
        assert made.nll[made.target == target].mean() < alone.nll[alone.target == target].mean()


# --- decisions --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("alpha", [.05, .1, .3])
@pytest.mark.parametrize("n", [10, 50, 300])
def test_conformal_sets_keep_their_promise_where_they_were_made(n, alpha):
    rng = np.random.default_rng(n)
    cover = np.mean([conformal_threshold(rng.random(n), alpha) for _ in range(3000)]) if n + 1 >= 1 / alpha else 1.
    rank = np.ceil((n + 1) * (1 - alpha) - 1e-9) / (n + 1)  # uniform scores: the threshold is its own coverage
    assert cover == pytest.approx(rank, abs=.01) or (rank == 1 and conformal_threshold(rng.random(n), alpha) == np.inf)


def test_sets_of_a_calibrated_model_cover_in_every_language_and_class():
    rng = np.random.default_rng(0)
    test, english = rows_of(["xnli"], n=400, intermediates=["none"], seeds=(0,))
    def fair(frame):
        z = rng.normal(0, 1.5, (len(frame), 3)).astype(np.float32)
        return judged(frame, logits=list(z), label=draw(z.astype(float), rng))
    sets = conformal_sets(table_of(fair(test)), table_of(fair(english)), sizes=[100], draws=2)
    assert (sets.coverage[sets.label.isna()] - .9).abs().max() < .06
    assert (sets.coverage - .9).abs().max() < .15 and set(sets.label.dropna()) == {0, 1, 2}  # a class has a third of the rows
    assert set(sets.variant) == {"marginal", "class-conditional", "Mondrian"} and sets.zero_shot.eq(sets.variant != "Mondrian").all()


def test_a_rare_class_is_covered_by_its_own_threshold_and_not_by_one_for_all():
    rng = np.random.default_rng(1)
    test, english = rows_of(["xnli"], n=1500, intermediates=["none"], seeds=(0,), languages=("en", "de"))
    def rare(frame):
        z = rng.normal(0, 1.5, (len(frame), 3)) + np.log([.75, .17, .08])
        return judged(frame, logits=list(z.astype(np.float32)), label=draw(z, rng))
    sets = conformal_sets(table_of(rare(test)), table_of(rare(english)), sizes=[], draws=0)
    each = sets[sets.label.notna()].set_index(["variant", "language", "label"]).coverage
    assert (each["class-conditional"] - .9).abs().max() < .09
    assert each["marginal"].xs(2, level="label").max() < .8 < each["marginal"].xs(0, level="label").min()
    counted = sets[sets.label.notna()].groupby(["variant", "language"]).n.sum()
    assert (counted == sets[sets.label.isna()].set_index(["variant", "language"]).n.loc[counted.index]).all()


def test_five_hundred_labels_of_a_language_set_its_threshold():
    test, _ = rows_of(["xnli"], n=1000, intermediates=["none"], seeds=(0,), languages=("sw",))
    sets = conformal_sets(table_of(test), table_of(test.iloc[:0]), draws=2)
    assert set(sets.labelled) == {20, 50, 100, 500}  # what is asked for where nothing is said
    own = sets[sets.labelled == 500]
    assert abs(own.coverage.item() - .9) < .04 and own.n.item() == 500 and not own.zero_shot.any()


def test_sets_at_the_edges(toy):
    test, english = toy
    certain = [judged(f, label=f.prediction, logits=[np.float32(40) * z for z in f.logits]) for f in toy]
    sets = conformal_sets(table_of(certain[0]), table_of(certain[1]), sizes=[20], draws=1)
    assert (sets.coverage[(sets.variant == "marginal") & (sets.language == "en") & sets.label.isna()] > .75).all() and sets["size"].between(0, 3).all()
    few = conformal_sets(table_of(test), table_of(english.groupby("intermediate", group_keys=False).head(5)), sizes=[20], draws=1)
    marginal = few[few.variant == "marginal"]
    assert (marginal.coverage == 1).all() and (marginal["size"] == 3).all()  # five rows promise nothing: every class is in the set


def test_candidates_have_marginal_sets_and_no_class_conditional_ones():
    test, english = rows_of(["xquad"], n=40)
    def cut(frame):
        longer = [z if i % 2 else np.r_[z, np.float32(-3)] for i, z in enumerate(frame.logits)]
        return judged(frame, logits=longer, label=np.where(frame.label < 0, 0, frame.label))
    sets = conformal_sets(table_of(cut(test)), table_of(cut(english)), sizes=[10], draws=1)
    assert set(sets.variant) == {"marginal", "Mondrian"}


def test_rejection_keeps_what_was_asked_in_english_and_all_for_one():
    test, english = rows_of(["xnli"], n=300)
    kept = selective_table(table_of(test), table_of(english), shares=[.5, .8, 1.])
    inside = kept[kept.language == "en"]
    assert (inside.kept - inside.asked).abs().max() < .1 and (kept[kept.asked == 1.].kept == 1).all()
    one = selective(np.array([.1, .2]), np.array([1, 0]), np.array([0, 1]), np.full(10, .9), shares=[.5])
    assert one.kept.eq(0).all() and one.risk.isna().all()  # nothing is as sure as English


# --- the two pages on stores that have calibration rows, fewer conditions, or one language ------------------------------------

def write_store(folder, conditions, languages=("en", "de", "sw"), seeds=(0, 1)):
    "A store of toy predictions with English calibration rows"
    store, grid = Store(folder), []
    for target in ("xnli", "xquad"):
        for condition in conditions:
            for seed in seeds:
                parts = rows_of([target], n=40, languages=languages, intermediates=[condition], seeds=(seed,))
                table = pa.concat_tables(table_of(f).append_column("split", pa.array([s] * len(f))) for f, s in zip(parts, ("test", "calibration")))
                with store.publishing(f"prediction-{target}-{condition}-{seed}", {}) as place:
                    for field in (f for f in PREDICTION_SCHEMA if f.name not in table.column_names): # of mined tasks
                        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
                    pq.write_table(table.select(PREDICTION_SCHEMA.names).cast(PREDICTION_SCHEMA), place / "predictions.parquet")
                grid.append(dict(model="toy", method="full", intermediate=condition, target=target, seed=seed, stage=f"prediction-{target}-{condition}-{seed}"))
    (folder / "study.json").write_text(json.dumps(dict(settings=dict(suite="embedded"), cells=grid)))
    return folder


def shown_on(page, store, monkeypatch):
    "Markdown that a page shows on a store"
    shown = []
    monkeypatch.setenv("XITCAL_STORE", str(store))
    monkeypatch.setattr(findings, "display", shown.append)
    names = {}
    for cell in nbformat.read(PAGES / page, 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, page, "exec"), names)
    return "\n".join(o.data for o in shown if isinstance(o, Markdown))


@pytest.mark.parametrize("conditions, seeds, sentence", [(("none", "mnli"), (0, 1), "Intermediate training makes the English temperature worth"),
                                                         (("mnli",), (0,), "no pair of models with and without intermediate training")])
def test_pages_on_stores_with_calibration_rows(tmp_path, monkeypatch, conditions, seeds, sentence):
    store = write_store(tmp_path, conditions, seeds=seeds)
    words = shown_on("use/01_recalibration.ipynb", store, monkeypatch)
    assert sentence in words and "A temperature fitted on English labels" in words and "nan" not in words
    assert ("An ensemble over seeds needs" in words) == (seeds == (0,))
    assert ("There is one condition here" in words) == (conditions == ("mnli",))
    assert "one target for each event type with English labels, if any has them (XNLI, XQuAD)" in words
    same = "pairs of target and regime the family with the lowest NLL is the same without intermediate training and after MNLI"
    assert (same in words) == (len(conditions) == 2)
    for labels in ("English labels", "labels of other languages", "20 labels of the language", "20 of the language shrunk to English"):
        assert re.search(rf"^- \*{labels}\*: XNLI \*\*.*; XQuAD \*\*", words, re.M)
    words = shown_on("use/02_decisions.ipynb", store, monkeypatch)
    assert "Prediction sets that promise 90 % coverage in English have" in words and "nan" not in words


def test_the_families_on_a_store_without_english_labels(tmp_path, monkeypatch):
    store = write_store(tmp_path, ("none", "mnli"), seeds=(0,))
    for file in store.glob("stages/*/predictions.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.filter(pc.equal(table["split"], "test")), file)
    monkeypatch.setattr(Store, "fault", lambda *_: None) # files were changed by hand
    words = shown_on("use/01_recalibration.ipynb", store, monkeypatch)
    assert "Nothing on this page is zero-shot" in words and "nan" not in words
    assert "- *labels of other languages*: XNLI" in words and "- *English labels*" not in words


def test_pages_on_a_store_of_english_alone(tmp_path, monkeypatch):
    store = write_store(tmp_path, ("none",), ("en",), (0,))
    for page in ("use/01_recalibration.ipynb", "use/02_decisions.ipynb"):
        assert "nan" not in shown_on(page, store, monkeypatch)
