"""What intermediate training uses and how: texts longer than the limit, files that rows are told from, and the modules of LoRA."""
import json
from pathlib import Path

import pytest
from conftest import xitcal
from huggingface_hub import constants

from xitcal.core.errors import XitcalError
from xitcal.data.languages import LANGUAGES
from xitcal.data.suites import find_suite
from xitcal.data.tasks import MASKED, Recipe
from xitcal.kinds.registry import kind_of
from xitcal.study.grid import Study, make_plan
from xitcal.training.models import load_tokenizer
from xitcal.training.phase2 import material_facts

EMBEDDED = find_suite("embedded")


def features(texts, length):
    tokenizer = load_tokenizer(EMBEDDED.encoder())
    from datasets import Dataset
    return kind_of(MASKED).features(Dataset.from_dict(dict(text=texts)), tokenizer, MASKED, Recipe(max_length=length)), tokenizer


def test_texts_within_the_limit_are_one_input_each_as_they_are():
    texts = EMBEDDED.translated_rows("mlm", list(LANGUAGES), 400)["text"]
    found, tokenizer = features(texts, EMBEDDED.tasks["mnli"].recipe.max_length)
    assert [f["input_ids"] for f in found] == tokenizer(list(texts))["input_ids"] and [f["row"] for f in found] == list(range(400))
    assert {tuple(sorted(f)) for f in found} == {("input_ids", "mask_id", "row", "special", "vocabulary")}


def test_no_token_of_a_longer_text_is_lost():
    texts = [t for code in ("en", "th", "ar") for t in EMBEDDED.translated_rows("mlm", [code], 5)["text"]]
    found, tokenizer = features(texts, 9)
    assert max(len(f["input_ids"]) for f in found) <= 9 and len(found) > len(texts)
    for i, whole in enumerate(tokenizer(texts, add_special_tokens=False)["input_ids"]):
        assert [t for f in found if f["row"] == i for t, s in zip(f["input_ids"], f["special"]) if not s] == whole


def write(folder: Path, code: str, word: str) -> None:
    path = folder / f"XNLI/translate-train/en-{code}-translated.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"A man {i} sleeps.\tHe is awake.\t{word} {i}\t{word}\tneutral\n" for i in range(9)), encoding="utf-8")


def titles(study) -> dict:
    return {s.title: name for name, s in make_plan(study).stages.items() if s.phase == "intermediate"}


def test_rows_told_from_files_are_identified_by_what_is_in_them(tmp_path, monkeypatch):
    study = Study(suite="xtreme", models=("m",), intermediates=("mnli", "mnli:translated", "mnli:mlm"), targets=("xnli",), seeds=(0,))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    names = []
    for at, word in (("a", "eins"), ("b", "zwei"), ("c", "eins")):
        write(tmp_path / at, "de", word)
        monkeypatch.setenv("XITCAL_DATA", str(tmp_path / at))
        names.append(titles(study))
    first, other, moved = names
    assert first == moved  # the same contents in another place
    assert {t for t in first if first[t] != other[t]} == {"MNLI translated, seed 0"}  # files of one size, one word changed
    (tmp_path / "c/texts").mkdir()
    for code in LANGUAGES: (tmp_path / f"c/texts/{code}.txt").write_text("one\n")
    own = titles(study)
    assert {t for t in own if own[t] != moved[t]} == {"MNLI with masked LM, seed 0"}
    (tmp_path / "c/texts/sw.txt").write_text("two\n")
    assert titles(study)["MNLI with masked LM, seed 0"] != own["MNLI with masked LM, seed 0"]


def test_generated_rows_have_no_files():
    for name in ("mnli", "mnli:mlm", "mnli:translated", "mlm", "multi:translated"):
        assert all(set(f) == {"name", "kind", "labels", "options", "languages", "shuffled"} for f in material_facts(name, EMBEDDED))


FEW = ["--method", "lora", "--intermediate", "none", "--target", "pawsx", "--language", "en", "--seeds", "0", "--target-rows", "16", "--test-rows", "4",
       "--calibration-rows", "4"]


def test_the_modules_of_lora_are_chosen_on_the_command_line(tmp_path):
    xitcal("run", "--store", tmp_path / "s", *FEW, "--lora-targets", "query,key")
    facts = [json.loads(p.read_text())["facts"] for p in (tmp_path / "s/stages").glob("target-*/manifest.json")]
    assert [f["lora_targets"] for f in facts] == [["key", "query"]]
    assert "lora (key, query)" in xitcal("plan", *FEW, "--lora-targets", "query,key").stdout
    other = xitcal("run", "--store", tmp_path / "s", *FEW, check=False)
    assert other.returncode == 2 and "belongs to a study with lora_targets = ['query', 'key'], this one has []" in other.stderr


def test_modules_that_are_not_there_are_told_before_anything_is_trained(tmp_path):
    done = xitcal("run", "--store", tmp_path / "s", *FEW, "--lora-targets", "query,valeu", check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot change valeu of a xlm-roberta model" in done.stderr and "it has dense, key, query, value. Correct --lora-targets." in done.stderr
    assert not list((tmp_path / "s").glob("stages/target-*"))
    with pytest.raises(XitcalError, match="such as --method lora"): make_plan(Study(lora_targets=("query",)))
