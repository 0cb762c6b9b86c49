"""Calibration against netcal where netcal is right, netcal's faults as regression tests, and the results pages on any store."""
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xitcal.calibration.binned import binned_ece, netcal_ece
from xitcal.calibration.decomposition import calibration_parts, corrected
from xitcal.calibration.intervals import example_groups
from xitcal.calibration.recalibrators import fit_temperature
from xitcal.calibration.tables import estimate_table
from xitcal.core.errors import XitcalError
from xitcal.core.schema import KEYS
from xitcal.inference.block_sums import block_table
from xitcal.inference.paired import paired_change
from xitcal.predictions.events import event_statistics, read_events, toy_predictions

NOTEBOOKS = [p for p in sorted((Path(__file__).parents[1] / "nbs" / "results").rglob("*.ipynb"))
             if "XITCAL_STORE" in p.read_text() and ".ipynb_checkpoints" not in p.parts]


def draw(n, k, temperature=1.0, seed=0):
    "float64 logits and labels of a model that is over-confident by `temperature`"
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (n, k))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return temperature * z, (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def top(p, labels):
    "Confidence and correctness of the top label"
    return p.max(1).astype(np.float64), p.argmax(1) == labels


# --- the same as netcal where it is right ----------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 20, 300, 2490])
@pytest.mark.parametrize("k", [2, 3, 17])
def test_ece_equals_netcal_on_top_decisions(n, k):
    for seed in range(5):
        confidence, correct = top(softmax(draw(n, k, 2.0, seed)[0]), draw(n, k, 2.0, seed)[1])
        assert binned_ece(confidence, correct)[0] == pytest.approx(netcal_ece(confidence, correct), abs=1e-12)


def test_ece_equals_netcal_at_bin_edges_and_with_one_outcome():
    edges = np.linspace(0, 1, 16)
    for correct in (np.arange(16) % 2, np.ones(16), np.zeros(16)):
        assert binned_ece(edges, correct)[0] == pytest.approx(netcal_ece(edges, correct), abs=1e-12)


# --- netcal's faults (PEERS B2.1, B2.2): if one of these fails, netcal was mended and its guard can go ----------------

def test_netcal_temperature_does_nothing_on_float32_and_ours_does():
    from netcal.scaling import TemperatureScaling
    logits, labels = draw(3000, 3, 2.5)
    fitted = {}
    for kind in (np.float32, np.float64):
        scaling = TemperatureScaling()
        scaling.fit(softmax(logits).astype(kind), labels)
        fitted[kind] = 1 / float(np.ravel(scaling.temperature)[0])
    assert fitted[np.float32] == pytest.approx(1, abs=1e-3)
    assert fitted[np.float64] == pytest.approx(2.5, abs=.25)
    ours = fit_temperature(logits.astype(np.float32), labels)
    assert ours == pytest.approx(fitted[np.float64], abs=.02)


def test_netcal_reports_another_event_for_two_classes_and_ours_does_not():
    from netcal.metrics import ECE
    logits, labels = draw(2000, 2, 2.0)
    p = softmax(logits)
    confidence, correct = top(p, labels)
    matrix = ECE(15).measure(p, labels)
    positive = netcal_ece(p[:, 1], labels)
    assert matrix == pytest.approx(positive, abs=1e-12)
    assert abs(matrix - binned_ece(confidence, correct)[0]) > 1e-4


def test_netcal_fails_on_a_slice_with_two_of_three_labels_and_ours_does_not():
    from netcal.metrics import ECE
    logits, labels = draw(300, 3, 2.0)
    some = labels < 2
    with pytest.raises(RuntimeError):
        ECE(15).measure(softmax(logits[some]), labels[some])
    confidence, correct = top(softmax(logits[some]), labels[some])
    assert 0 < netcal_ece(confidence, correct) < 1


def test_netcal_compares_top_confidence_with_label_zero():
    from netcal.metrics import ECE
    logits, labels = draw(2000, 3)
    confidence, correct = top(softmax(logits), labels)
    silent = ECE(15).measure(confidence, labels)
    assert silent > 2 * netcal_ece(confidence, correct)
    with pytest.raises(XitcalError, match="correct is 2"):
        netcal_ece(np.array([.5, .6]), np.array([1, 2]))


# --- what no statistic may be computed from ---------------------------------------------------------------------------

@pytest.mark.parametrize("change, sentence", [
    (dict(confidence=np.nan), "its confidence is nan"), (dict(confidence=97.0), "a probability lies in \\[0, 1\\]"),
    (dict(confidence=-.1), "a probability lies in \\[0, 1\\]"), (dict(label=-100), "its label is -100")])
def test_bad_events_are_named(change, sentence):
    events = event_statistics(toy_predictions(["xnli"], n=10))
    at = 7
    for column, value in change.items():
        events[column] = events[column].astype(type(value))
        events.loc[at, column] = value
    with pytest.raises(XitcalError, match=f"Event {at} \\(target xnli, language en, example xnli-7\\): .*{sentence}"):
        estimate_table(events, levels=True)


def test_no_events_is_a_sentence():
    events = event_statistics(toy_predictions(["xnli"], n=10))
    for make in (estimate_table, lambda e: paired_change(e)):
        with pytest.raises(XitcalError, match="There are no events"):
            make(events[:0])


# --- right on average ---------------------------------------------------------------------------------------------

def test_a_calibrated_model_stays_under_the_null_quantile():
    "Of 400 calibrated cells one in twenty exceeds the 95 % quantile; of 400 over-confident ones most do"
    rng = np.random.default_rng(1)
    confidence = rng.beta(6, 1.5, 400 * 500)
    cell = np.repeat(np.arange(400), 500)
    for shift, low, high in ((0, .02, .09), (.08, .9, 1.01)):
        events = pd.DataFrame(dict(model=cell, confidence=confidence, correct=rng.random(len(cell)) < confidence - shift))
        table = estimate_table(events, ["model"], levels=True)
        assert low < (table.ece_15 > table.ece_15_expected_95).mean() < high
        assert table.debiased_square_15.mean() == pytest.approx(shift ** 2, abs=4 * table.debiased_square_15.std() / 20)


def test_interval_covers_for_tokens_that_come_in_sentences():
    "Coverage of the interval of a change when 10 tokens of a sentence are nearly one observation"
    rng, n, cells = np.random.default_rng(2), 150, 300
    from xitcal.inference.paired import example_weights, ratio_draws
    weights = example_weights(n, 1000, 3)
    size = rng.integers(1, 12, (n, cells))
    gap = .1 + rng.normal(0, 1, (n, cells))
    total = size * gap + rng.normal(0, .3, (n, cells)) * np.sqrt(size)
    low, high = np.quantile(ratio_draws(total, size.astype(float), weights), [.025, .975], axis=0)
    inside = ((low < .1) & (.1 < high)).mean()
    assert .91 < inside < .98


def test_seeds_are_not_averaged_over_different_sets():
    "A language that one seed lacks is dropped and listed, and the mean of the others doesn't use it"
    events = event_statistics(toy_predictions(["xnli"], n=40))
    whole, none = paired_change(events, draws=20)
    part, dropped = paired_change(events[~((events.seed == 1) & (events.language == "sw"))], draws=20)
    assert none.empty and set(dropped.language) == {"sw"}
    mean = lambda table: table.query("language == 'others' and statistic == 'signed_ce'").iloc[0]
    assert mean(whole).languages == 2 and mean(part).languages == 1
    german = whole.query("language == 'de' and statistic == 'signed_ce'").iloc[0]
    assert mean(part).change == pytest.approx(german.change, abs=1e-12)


# --- the pages of the report ------------------------------------------------------------------------------------------

def with_entities(table):
    "Toy tokens and entities: every second token once more as an entity, without a posterior, as the tagging kind writes it"
    tokens = table.to_pandas()
    entities = tokens[tokens.unit.isin(["0", "2"])].copy()
    log_p = np.log(entities.confidence.clip(upper=1 - 1e-9))
    entities["logits"] = [np.array([p, np.log(-np.expm1(p))], np.float32) for p in log_p]
    entities["confidence"] = [softmax(z[None].astype(float))[0, 0] for z in entities.logits]
    entities = entities.assign(event="entity", posterior=None, prediction=0, label=(~entities.correct).astype(int))
    return pa.concat_tables([table, pa.Table.from_pandas(entities, schema=table.schema, preserve_index=False)])


def make_store(folder, seeds=(0, 1), skip=()):
    "A store of toy predictions in the form that a study writes"
    from xitcal.core.schema import PREDICTION_SCHEMA
    from xitcal.study.store import Store
    store, grid = Store(folder), []
    for target in ("xnli", "panx", "xquad", "tatoeba"):
        for condition in ("none", "mnli"):
            for seed in [None] if (target, condition) == ("tatoeba", "none") else seeds:
                stage = f"prediction-{target}-{condition}-{seed}"
                codes = ["de", "sw"] if target == "tatoeba" else ["en", "de", "sw"]
                table = toy_predictions([target], [condition], codes, [seed], n=30)
                if target == "panx": table = with_entities(table)
                table = table.append_column("split", pa.array(["test"] * table.num_rows))
                for field in (f for f in PREDICTION_SCHEMA if f.name not in table.column_names): # of mined tasks
                    table = table.append_column(field, pa.nulls(table.num_rows, field.type))
                if stage not in skip:
                    with store.publishing(stage, {}) as place:
                        pq.write_table(table.select(PREDICTION_SCHEMA.names).cast(PREDICTION_SCHEMA),
                                       place / "predictions.parquet")
                grid.append(dict(zip(KEYS, ("toy", "full", condition, target, seed))) | dict(stage=stage))
    (folder / "study.json").write_text(json.dumps(dict(settings=dict(suite="embedded"), cells=grid)))
    return folder


def run_page(path, store, monkeypatch):
    "What a results notebook shows on a store: its Markdown, and the number of figures"
    import IPython.display
    from IPython.display import Markdown
    from matplotlib.figure import Figure

    import xitcal.report.sentences as findings
    shown = []
    monkeypatch.setenv("XITCAL_STORE", str(store))
    monkeypatch.setattr(findings, "display", shown.append)
    monkeypatch.setattr(IPython.display, "display", shown.append)
    names = {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code": exec(compile(cell.source, path.name, "exec"), names)
    return "\n".join(o.data for o in shown if isinstance(o, Markdown)), sum(isinstance(o, Figure) for o in shown)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda p: p.stem)
def test_results_pages_on_a_full_a_partial_and_no_store(page, tmp_path, monkeypatch):
    words, figures = run_page(page, make_store(tmp_path / "full"), monkeypatch)
    assert figures and "English training and validation labels only" in words and "Not there yet" not in words
    assert "do not say which" not in words and "nothing to draw" not in words
    words, figures = run_page(page, make_store(tmp_path / "part", skip=("prediction-xnli-mnli-1",)), monkeypatch)
    assert figures and re.search("Not there yet:.*mnli → xnli \\(seed 1\\).*xitcal run --store", words)
    conditions = {condition: tuple(f"prediction-{t}-{condition}-{s}" for t in ("xnli", "panx", "xquad", "tatoeba") for s in (0, 1, None))
                  for condition in ("none", "mnli")}
    for condition, skip in conditions.items():
        words, _ = run_page(page, make_store(tmp_path / condition, skip=skip), monkeypatch)
        assert "nan" not in words and "Not there yet" in words
    words, figures = run_page(page, tmp_path / "nowhere", monkeypatch)
    assert not figures and "xitcal run --store" in words


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda p: p.stem)
def test_results_pages_say_what_is_wrong_with_a_damaged_store(page, tmp_path, monkeypatch):
    store = make_store(tmp_path / "store")
    file = next(store.glob("stages/prediction-panx-mnli-0/predictions.parquet"))
    file.write_bytes(file.read_bytes()[:-100])
    words, figures = run_page(page, store, monkeypatch)
    assert not figures and "prediction-panx-mnli-0" in words


def test_predictions_without_a_column_are_refused():
    with pytest.raises(XitcalError, match="no column 'correct'"):
        read_events(toy_predictions(n=5).drop_columns(["correct"]))


def test_parts_add_up_to_the_nll_of_logits_of_any_size():
    table = toy_predictions(["xnli"], languages=("en",), intermediates=("none",), seeds=(0,), n=200)
    frame = table.to_pandas()
    for row, label in ((3, 0), (4, 1)):  # sure of class 0 by 40: once right, once wrong
        frame.at[row, "logits"], frame.at[row, "label"] = np.array([40., 0., -40.], np.float32), label
        frame.at[row, "prediction"], frame.at[row, "correct"], frame.at[row, "confidence"] = 0, label == 0, 1.
    events = event_statistics(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)).assign(p_prediction=np.nan)
    blocks = block_table(events)
    total, calibration = blocks.nll_confidence.sum(), blocks.nll_calibration.sum()
    c, y, fold = events.confidence.to_numpy(float).clip(max=1 - 1e-16), events.correct.to_numpy(float), example_groups(events.example, 5)
    line = corrected(c, y, np.zeros(200, int), fold)
    assert events.nll_confidence[4] == pytest.approx(40, abs=1e-6) and events.nll_confidence[3] < 1e-12
    assert total == pytest.approx(events.nll_confidence.sum(), rel=1e-5)
    assert total - calibration == pytest.approx((np.logaddexp(0, line) - y * line).sum(), rel=1e-5)
    assert calibration - calibration_parts(c, y, np.zeros(200, int), fold)["nll"].sum() == pytest.approx(25, abs=1e-3)
