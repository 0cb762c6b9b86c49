"""Runs that have learnt nothing are named where a run ends, in the report and of a file, and headlines are given without them."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import made_store
from test_stores import ONE, report
from typer.testing import CliRunner

from xitcal.cli import app
from xitcal.inference.results import read_results
from xitcal.report.result_sentences import sound_pairs
from xitcal.study.grid import Study
from xitcal.study.ledger import study_runs
from xitcal.study.runner import run_study
from xitcal.study.summarise import store_results

TWO = replace(ONE, targets=("xnli", "xquad"), languages=("en", "sw"), seeds=(0, 1))
BROKEN = ("mnli", "xnli", 1)


def one_answer(events: pa.Table, cell) -> pa.Table:
    "The events of a cell; those of the broken one with the same decision everywhere"
    if (cell.intermediate, cell.target, cell.seed) != BROKEN:
        return events
    table = events.to_pylist()
    for row in table:
        logits = [0.0, 3.0, 0.0]
        row |= dict(logits=logits, prediction=1, prediction_text="1", correct=row["label"] == 1, confidence=float(np.exp(3) / (np.exp(3) + 2)))
    return pa.Table.from_pylist(table, schema=events.schema)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("broken") / "store", TWO, n=60, change=one_answer)


def test_the_broken_run_is_the_one_that_is_told(store):
    runs = study_runs(store)
    bad = runs[runs.degenerate]
    assert bad[["intermediate", "target", "seed"]].values.tolist() == [list(BROKEN)] and bad.one_answer.all() and bad.at_majority.all()
    assert len(runs) == 8 and set(runs.rows) == {"English validation"} and set(runs.decisions) == {120}


def test_results_hold_the_runs_and_those_of_earlier_versions_are_made_again(store):
    folder = store_results(store, progress=False)
    results = read_results(folder)
    assert sound_pairs(results, ["mnli"], ["xnli", "xquad"]) == [("mnli", "xquad")]
    for path in folder.glob("*-runs.parquet"):
        path.unlink()
    assert read_results(folder).runs is None  # as committed results of earlier versions
    assert len(read_results(store_results(store, progress=False)).runs) == 8


def test_pages_name_it_and_give_their_headline_without(tmp_path, monkeypatch):
    default, answer = ("01_scores", "02_calibration", "03_change"), ("01_answer", "02_accuracy", "03_confidence")
    pages = [f"default/{p}.ipynb" for p in default] + [f"answer/{p}.ipynb" for p in answer]
    said = report(TWO, tmp_path, monkeypatch, pages, n=40, change=one_answer)
    for name, text in said.items():
        assert "**1 of 8 runs is degenerate" in text and "xnli after mnli, seed 1 (" in text, name
    for name in pages[1:3]:
        assert "*Without conditions and targets that have a degenerate run:*" in said[name], name
    for name in pages[3:]:
        assert "Without degenerate runs 1 of 2 pairs of an intermediate task and a target are left" in said[name], name


def test_nothing_is_said_where_no_run_is_degenerate(tmp_path, monkeypatch):
    said = report(replace(TWO, seeds=(0,)), tmp_path, monkeypatch, ["default/03_change.ipynb", "answer/02_accuracy.ipynb"], n=60)
    assert "degenerate" not in said["default/03_change.ipynb"] and "No run of these is degenerate" in said["answer/02_accuracy.ipynb"]


def test_a_training_that_diverges_is_told_at_the_end_of_its_run(tmp_path, capfd):
    study = Study(targets=("xnli",), intermediates=("none",), languages=("en", "sw"), seeds=(0,), learning_rates=(.3,),
                  target_rows=320, test_rows=20, calibration_rows=60)
    run_study(study, tmp_path / "store", workers=1, progress=False)
    said = capfd.readouterr().err
    assert "xitcal: 1 of 1 run is degenerate" in said and "xnli after none, seed 0 (" in said and "one answer in 100.0 % of decisions; 60 decisions" in said


def test_calibrate_says_it_of_a_file(tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400)
    probs = [list(p) for p in np.where(np.arange(400)[:, None] < 200, np.eye(3)[label] * .5 + 1 / 6, [.4, .35, .25])]
    table = pd.DataFrame(dict(probs=probs, label=label, language=["en"] * 200 + ["sw"] * 200))
    table.to_parquet(tmp_path / "mine.parquet")
    def calibrate(name): return CliRunner().invoke(app, ["calibrate", str(tmp_path / name), "--fast"]).output
    said = calibrate("mine.parquet")
    assert "mine.parquet: 1 of 2 groups is degenerate" in said and "sw (" in said and "one answer in 100.0 % of decisions" in said
    table[:200].to_parquet(tmp_path / "sound.parquet")
    assert "degenerate" not in calibrate("sound.parquet")
