"""Answers that no span of tokens can express are counted, shown for each language and tokenizer, and left out where that is wanted."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset
from encoders import make_encoder
from test_stores import ONE, report

from xitcal.data.suites import find_suite
from xitcal.predictions.events import event_statistics, inexpressible
from xitcal.report.sentences import inexpressible_table
from xitcal.training.models import build_head, load_tokenizer
from xitcal.training.predict import predict


def cut_inside_a_token(rows, tokenizer, every=3):
    "Rows in which the answer of every third one ends inside a token; and whether it does"
    changed, marks = [], []
    for i, row in enumerate(rows):
        (text, *_), (start, *_) = row["answers"]["text"], row["answers"]["answer_start"]
        offsets = tokenizer(row["context"], return_offsets_mapping=True)["offset_mapping"]
        edges = {e for piece in offsets for e in piece}
        ends = [e for e in range(start + 1, start + len(text)) if e not in edges and row["context"][start:e].split() == [row["context"][start:e]]]
        cut = i % every == 0 and bool(ends)
        new = row["context"][start:ends[-1]] if cut else text
        changed.append(row | dict(answers=dict(text=[new], answer_start=[start])))
        marks.append(cut)
    return Dataset.from_list(changed, features=rows.features), np.array(marks)


@pytest.fixture(scope="module")
def asked():
    suite = find_suite("embedded")
    return suite.tasks["xquad"], suite.rows("xquad", "test", ["en", "ru"], n=24)


def statistics(model, tokenizer, task, rows, intermediate, name="m"):
    table = predict(model, tokenizer, task, rows, task.recipe)
    for key, value in dict(model=name, method="full", intermediate=intermediate, target="xquad").items():
        table = table.append_column(key, pa.array([value] * len(table)))
    return event_statistics(table.append_column("seed", pa.array([0] * len(table), pa.int64())))


def test_what_ends_inside_a_token_is_counted_whatever_the_model_says(asked):
    task, rows = asked
    tokenizer = load_tokenizer(find_suite("embedded").encoder())
    rows, cut = cut_inside_a_token(rows, tokenizer)
    assert cut.sum() >= 6
    tables = [statistics(build_head(find_suite("embedded").encoder(), task, seed=s), tokenizer, task, rows, a) for s, a in ((0, "none"), (1, "mnli"))]
    for one in tables:
        assert (inexpressible(one) == cut).all() and not one.correct[cut].any()
    counted = inexpressible_table(pd.concat(tables, ignore_index=True))
    assert counted.inexpressible.sum() == cut.sum() and set(counted.questions) == {24}


@pytest.mark.parametrize("name", ["xlm-roberta-base", "mbert"])
def test_every_tokenizer_has_its_own_count(asked, name, tmp_path):
    task, rows = asked
    folder = make_encoder(name, tmp_path, "safetensors")
    tokenizer = load_tokenizer(folder)
    changed, cut = cut_inside_a_token(rows, tokenizer)
    found = statistics(build_head(folder, task, seed=0), tokenizer, task, changed, "none", name)
    assert (inexpressible(found) | ~cut).all()  # a tokenizer of other text may fail to express more


def test_pages_show_the_share_and_the_scores_without(tmp_path, monkeypatch):
    said = report(replace(ONE, targets=("xquad",)), tmp_path, monkeypatch, ["default/01_scores.ipynb", "default/02_calibration.ipynb"], n=40)
    for text in said.values():
        assert "**Some answers are no span of the tokenizer's pieces" in text and "of 40 in en (" in text
    none = report(replace(ONE, targets=("xnli",)), tmp_path / "other", monkeypatch, ["default/01_scores.ipynb"], n=20)
    assert "no span" not in none["default/01_scores.ipynb"]
