"""A report of any store: every page answers, or says in one sentence why it has nothing to say.

The stores hold made-up predictions, so that a page costs a second and no training is needed."""
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from stores import made_store
from test_pages import ROOT, run_page

from xitcal.core.errors import XitcalError
from xitcal.data.tasks import TARGETS
from xitcal.report.html import results_notebooks
from xitcal.study.grid import Study
from xitcal.study.summarise import store_results

PAGES = [f"{p.parent.name}/{p.name}" for p in results_notebooks()]
ONE = Study(targets=("xnli",), intermediates=("none", "mnli"), languages=("en", "sw", "de"), seeds=(0,))
ANSWERS = ("answer/01_answer", "answer/02_accuracy", "answer/04_languages", "answer/07_lora", "trust/04_claims")
FEW = [f"{p}.ipynb" for p in ANSWERS] # which ask for targets, conditions, settings and languages


def report(study: Study, folder, monkeypatch, pages=PAGES, **options) -> dict[str, str]:
    "What each page says of a store with made-up predictions, its sentence where it has no more to say"
    store = made_store(folder / "store", study, **options)
    store_results(store, progress=False)
    monkeypatch.setenv("XITCAL_STORE", str(store))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("xitcal.report.sentences.display", lambda shown: print(getattr(shown, "data", shown)))  # into what `run_page` reads
    said = {}
    for name in pages:
        try:
            said[name] = run_page(name, store / "results", monkeypatch)
            assert "nan points" not in said[name] and "nan [" not in said[name], name
        except XitcalError as error:
            said[name] = str(error)
            assert "\n" not in said[name] and said[name].endswith("."), name
            assert str(folder) not in said[name], name
        plt.close("all")
    return said


@pytest.mark.parametrize("target", TARGETS)
def test_a_store_of_one_target(target, tmp_path, monkeypatch):
    said = report(replace(ONE, targets=(target,)), tmp_path, monkeypatch, ["answer/01_answer.ipynb", "answer/02_accuracy.ipynb"], n=20)
    if TARGETS[target].test_only:
        assert f"this study has only {TARGETS[target].title}; add such a target" in said["answer/01_answer.ipynb"]
    else:
        assert "H8 is not tested: it compares learning rates with MNLI and HellaSwag on XNLI and PAN-X" in said["answer/01_answer.ipynb"]
        assert "**What" not in said["answer/01_answer.ipynb"] and "2 conditions, 1 targets, 3 languages, seed 0" in said["answer/02_accuracy.ipynb"]


STUDIES = {
    "the README's": Study(intermediates=("none", "mnli", "squad"), targets=("xquad", "tydiqa"), languages=("en", "ar"), seeds=(0, 1)),
    "the variants that the README names": replace(ONE, intermediates=("none", "mnli", "mnli:mlm", "mnli:translated", "mnli:shuffled", "own")),
    "a sweep with LoRA": replace(ONE, methods=("full", "lora"), learning_rates=(3e-4, 1e-3)),
    "LoRA alone": replace(ONE, methods=("lora",)),
    "one language": replace(ONE, languages=("en",), targets=("xnli", "panx")),
    "one language that is not English": replace(ONE, languages=("sw",), targets=("xnli", "panx")),
    "without none": replace(ONE, intermediates=("mnli", "hellaswag"), targets=("xnli", "panx")),
    "none alone": replace(ONE, intermediates=("none",), targets=("xnli", "panx")),
    "variants alone": replace(ONE, intermediates=("none", "mnli:mlm")),
    "no rows for recalibration": replace(ONE, calibration_rows=0),
}
WORDS = {
    "the README's": ("answer/01_answer.ipynb", "seeds 0, 1. Intervals are over seeds and examples."),
    "a sweep with LoRA": ("answer/07_lora.ipynb", "run it with --method full,lora and without --learning-rate"),
    "one language": ("answer/04_languages.ipynb", "languages other than English, and this study has none"),
    "one language that is not English": ("answer/02_accuracy.ipynb", "'en' is not among these results (sw); add it"),
    "without none": ("answer/01_answer.ipynb", "no baseline to compare with; run one with `--intermediate none`"),
    "none alone": ("answer/02_accuracy.ipynb", "this study has no single one; add one"),
    "no rows for recalibration": ("answer/02_accuracy.ipynb", "no scores on English validation rows"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_page_of_a_study(name, tmp_path, monkeypatch):
    said = report(STUDIES[name], tmp_path, monkeypatch, FEW, n=20)
    if name in WORDS:
        page, words = WORDS[name]
        assert words in said[page], said[page]


@pytest.mark.parametrize("name", ["one language", "without none"])
def test_the_pages_of_predictions(name, tmp_path, monkeypatch):
    "Scores, calibration and change are read from the store itself"
    said = report(STUDIES[name], tmp_path, monkeypatch, ["default/01_scores.ipynb", "default/02_calibration.ipynb", "default/03_change.ipynb"], n=20)
    assert "How it was made" in said["default/01_scores.ipynb"]
    if name == "without none":
        assert "There is no baseline to compare with" in said["default/02_calibration.ipynb"]


def test_the_pages_are_those_of_the_repository():
    assert set(PAGES) <= {f"{p.parent.name}/{p.name}" for p in (ROOT / "nbs" / "results").glob("*/*.ipynb")}
    assert all(json.loads((ROOT / "nbs" / "results" / p).read_text())["nbformat"] == 4 for p in PAGES)


@pytest.mark.parametrize("name", ["answer/01_answer.ipynb", "answer/02_accuracy.ipynb", "answer/03_confidence.ipynb", "answer/04_languages.ipynb"])
def test_pages_read_the_real_study(name, monkeypatch):
    "Real language has no known posterior, two targets so far, and an encoder whose pretraining text is not recorded"
    said = run_page(name, ROOT / "studies" / "real", monkeypatch)
    assert "weights rounded to four bits" in said and "nan points" not in said
    plt.close("all")
