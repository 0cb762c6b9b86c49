"""What a model does not read in full is counted where it predicts, and told where its scores are shown."""
import json
import shutil
from dataclasses import replace

import pytest
from encoders import ENCODERS, make_encoder

from xitcal.data.suites import find_suite
from xitcal.kinds.registry import kind_of
from xitcal.report.sentences import cut_sentence
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import cut_examples, load_predictions
from xitcal.study.runner import run_study
from xitcal.training.models import load_tokenizer

STUDY = Study(targets=("xnli", "tatoeba"), intermediates=("none",), languages=("en", "sw"), seeds=(0,), target_rows=32, test_rows=20, calibration_rows=10)
SHORT = dict(xnli=14, tatoeba=6)  # tokens


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "A store in which everything was read in full"
    path = tmp_path_factory.mktemp("whole") / "store"
    run_study(STUDY, path, workers=1, progress=False)
    return path


def longer(rows, columns, limit):
    "Rows of each language and side that make more than `limit` tokens, and how many there are, by the tokenizer alone"
    tokenizer = load_tokenizer(find_suite("embedded").encoder())
    coded = tokenizer(*(list(rows[c]) for c in columns), verbose=False)["input_ids"]
    found = {}
    for language, ids in zip(rows["language"], coded):
        cut, n = found.get(language, (0, 0))
        found[language] = cut + (len(ids) > limit), n + 1
    return {language: counts for language, counts in found.items() if counts[0]}


def test_what_is_cut_is_counted_and_told(monkeypatch, tmp_path):
    suite = find_suite("embedded")
    for name, length in SHORT.items():
        task = suite.tasks[name]
        monkeypatch.setitem(suite.tasks, name, replace(task, recipe=replace(task.recipe, max_length=length)))
    run_study(STUDY, tmp_path / "store", workers=1, progress=False)
    found = cut_examples(tmp_path / "store")
    for name, columns in (("xnli", ["sentence1", "sentence2"]), ("tatoeba", ["text"])):
        mine = found[(found.target == name) & (found.split == "test")]
        codes = [c for c in suite.tasks[name].languages if c in STUDY.languages]
        wanted = longer(suite.rows(name, "test", codes, STUDY.test_rows), columns, SHORT[name])
        assert wanted and {r.language: (r.cut, r.examples) for r in mine.itertuples()} == wanted
        assert set(mine.max_length) == {SHORT[name]}
    assert set(found.split) == {"test", "calibration"}
    said, row = cut_sentence(found), found[(found.target == "xnli") & (found.language == "sw")].iloc[0]
    assert "XNLI, at 14 tokens: " in said and f"{row.cut} of {row.examples} examples in sw" in said and "Tatoeba, at 6 tokens: " in said
    assert "XNLI (for recalibration), at 14 tokens: " in said


def test_nothing_is_said_where_nothing_was_cut(whole):
    results = [json.loads(p.read_text()) for p in whole.glob("stages/prediction-*/result.json")]
    assert [r["cut"] for r in results] == [[], []]
    assert cut_examples(whole).empty and cut_sentence(cut_examples(whole)) == ""


@pytest.mark.parametrize("old", ["without the count", "without the file"])
def test_a_store_from_before_says_nothing(whole, tmp_path, old):
    store = shutil.copytree(whole, tmp_path / "store")
    for path in store.glob("stages/prediction-*/result.json"):
        path.unlink() if old == "without the file" else path.write_text(json.dumps(dict(events=20)))
    assert cut_examples(store).empty and cut_sentence(cut_examples(store)) == ""


def test_counting_changes_neither_stages_nor_columns(whole):
    assert {p.name for p in (whole / "stages").iterdir()} == {s.name for s in make_plan(STUDY).stages.values() if s.phase != "pretrained"}
    assert "cut" not in load_predictions(whole).column_names and b"cut" not in (load_predictions(whole).schema.metadata or {})


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "xlm-roberta-large"])  # which has the base model's tokenizer
def test_every_tokenizer_says_what_it_cuts(name, tmp_path):
    tokenizer, suite = load_tokenizer(make_encoder(name, tmp_path, "safetensors")), find_suite("embedded")
    for task, split, code, texts in (("xnli", "test", "sw", ["sentence1", "sentence2"]), ("tatoeba", "test", "sw", ["text"])):
        rows = suite.rows(task, split, [code], 8)
        sizes = [len(ids) for ids in tokenizer(*(list(rows[c]) for c in texts), verbose=False)["input_ids"]]
        recipe = replace(suite.tasks[task].recipe, max_length=sorted(sizes)[len(sizes) // 2])
        features = kind_of(suite.tasks[task]).features(rows, tokenizer, suite.tasks[task], recipe)
        assert [f["cut"] for f in features] == [n > recipe.max_length for n in sizes] and True in [f["cut"] for f in features]
        assert [len(f["input_ids"]) for f in features] == [min(n, recipe.max_length) for n in sizes]
