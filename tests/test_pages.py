"""The results pages on studies that are not the committed one: two seeds, parts missing, nothing to compare with.

Every code cell is run in this process, in order, so that a page costs seconds."""
import json
import os
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from xitcal.core.errors import XitcalError
from xitcal.inference.results import KEYS_OF_RESULTS, read_results, read_seeds, write_results
from xitcal.report.html import results_notebooks

ROOT = Path(__file__).parents[1]
DATA = ROOT / "studies" / "full"
PAGES = ["/".join(p.parts[-2:]) for p in results_notebooks() if "XITCAL_STORE" not in p.read_text()]
SOME = ["en", "de", "sw", "th", "ja", "yo", "fi", "ta"]


def run_page(name: str, folder: Path, monkeypatch) -> str:
    "All text and Markdown that a page shows for a folder of results; raises what a cell raises"
    monkeypatch.setenv("XITCAL_FULL", str(folder))
    monkeypatch.chdir((ROOT / "nbs" / "results" / name).parent)
    shell, shown = InteractiveShell(), []
    for cell in nbformat.read(ROOT / "nbs" / "results" / name, 4).cells:
        if cell.cell_type != "code":
            continue
        with capture_output() as captured:
            result = shell.run_cell(cell.source, silent=False)
        result.raise_error()
        shown += [captured.stdout, *(o.data.get("text/markdown", "") for o in captured.outputs), getattr(result.result, "data", None) or str(result.result)]
    return "\n".join(map(str, shown))


def noisy(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    "The same results as if from another seed: sums shaken by a few percent"
    rng, made = np.random.default_rng(seed), table.copy()
    for column in ("confidence", "nll", "nll_calibration", "brier_calibration", "wrong_confidence"):
        if column in made:
            made[column] = (made[column] * (1 + .05 * rng.normal(size=len(made)))).astype(np.float32)
    return made.assign(seed=made.seed.where(made.seed.isna(), seed)) if "seed" in made else made


def study(folder: Path, keep, seeds=(2,), settings=("full", "lora", "rate-third", "rate-triple", "smoothing", "average"), planned=None) -> Path:
    "A folder of results made from seed 2: the rows that `keep(table, setting, seed)` keeps, for each seed"
    about = json.loads((DATA / "seed-2.json").read_text())
    for seed in seeds:
        tables = {}
        for kind in ("blocks", "cells", "english"):
            parts = [read_seeds(DATA, kind, s).query("seed == 2 or seed.isna()").assign(setting=s) for s in settings]
            parts = [t[keep(t, t.setting.iloc[0], seed)] for t in parts]
            table = pd.concat([t.astype({c: str for c in t.select_dtypes("category")}) for t in parts], ignore_index=True)
            table = noisy(table, seed) if seed != 2 else table
            tables[kind] = table.astype({c: "category" for c in KEYS_OF_RESULTS if c in table})
        named = {s: about["settings"][s] for s in settings}
        write_results(tables, about | dict(seed=seed, settings=named, planned=dict(full=planned or []), command="xitcal run --store mine"), folder)
    return folder


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    return study(tmp_path_factory.mktemp("two"), lambda t, setting, seed: t.language.isin(SOME), seeds=(2, 3))


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    "Three conditions, four targets, eight languages; MNLI → TyDiQA lacks Swahili, HellaSwag → XNLI is planned and not there, no other setting"
    def keep(t, setting, seed):
        kept = t.language.isin(SOME) & t.intermediate.isin(["none", "mnli", "hellaswag"]) & t.target.isin(["xnli", "panx", "tydiqa", "tatoeba"])
        kept &= ~((t.intermediate == "mnli") & (t.target == "tydiqa") & (t.language == "sw"))
        return kept & ~((t.intermediate == "hellaswag") & (t.target == "xnli"))
    return study(tmp_path_factory.mktemp("partial"), keep, settings=("full",), planned=[["hellaswag", "xnli"]])


@pytest.mark.parametrize("name", PAGES)
def test_pages_with_two_seeds(name, two_seeds, monkeypatch):
    shown = run_page(name, two_seeds, monkeypatch)
    assert "seeds 2, 3. Intervals are over seeds and examples." in shown
    assert "nan points" not in shown and "on this seed" not in shown


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_a_study_with_holes_say_so_and_never_average_over_them(name, partial, monkeypatch):
    try:
        shown = run_page(name, partial, monkeypatch)
    except XitcalError as error: # one sentence instead of a page
        assert str(error).count("\n") == 0 and ("lora" in str(error) or "targets, seeds and languages" in str(error))
        return
    assert "hellaswag → xnli; mnli → tydiqa" in shown and "`xitcal run --store mine`" in shown
    assert "nan points" not in shown and "nan [" not in shown


def test_a_score_that_one_seed_lacks_is_no_candidate(two_seeds, tmp_path, monkeypatch):
    "A mean over one seed is not compared with means over two, and the page names it"
    folder = shutil.copytree(two_seeds, tmp_path / "english")
    path = folder / "seed-3-english.parquet"
    table = pd.read_parquet(path)
    table[~((table.target == "xnli") & (table.intermediate == "mnli"))].to_parquet(path)
    assert "Without English scores in every seed, and so no candidates: MNLI → XNLI." in run_page("answer/02_accuracy.ipynb", folder, monkeypatch)
    assert "no candidates" not in run_page("answer/02_accuracy.ipynb", two_seeds, monkeypatch)


@pytest.fixture(scope="module")
def one_task(tmp_path_factory):
    "MNLI and none on two targets, whole"
    return study(tmp_path_factory.mktemp("one"), settings=("full",),
                 keep=lambda t, setting, seed: t.language.isin(SOME[:3]) & t.intermediate.isin(["none", "mnli"]) & t.target.isin(["xnli", "panx"]))


@pytest.mark.parametrize("name", [p for p in PAGES if "lora" not in p])
def test_pages_of_the_smallest_study(name, one_task, monkeypatch):
    shown = run_page(name, one_task, monkeypatch)
    assert "2 conditions, 2 targets, 3 languages, seed 2" in shown and "Not whole yet" not in shown and "nan [" not in shown


@pytest.fixture(scope="module")
def real_data(tmp_path_factory):
    "As from real data: another suite, and no posterior, so that nothing that is measured against it is there"
    folder = study(tmp_path_factory.mktemp("real"), settings=("full",), seeds=(2, 3),
                   keep=lambda t, setting, seed: t.language.isin(SOME[:5]) & t.intermediate.isin(["none", "mnli", "hellaswag"]))
    for path in folder.glob("seed-*"):
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            known = [c for c in table if c.endswith("_true") or c in ("posterior_error", "true_ce", "bound")]
            table.assign(**dict.fromkeys(known, np.float32("nan"))).to_parquet(path, index=False)
        else:
            about = json.loads(path.read_text())
            for arguments in about["settings"].values():
                arguments["suite"] = "xtreme"
            path.write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("name", [p for p in PAGES if "lora" not in p])
def test_pages_of_real_data_whose_posterior_nobody_knows(name, real_data, monkeypatch):
    shown = run_page(name, real_data, monkeypatch)
    assert "seeds 2, 3. Intervals are over seeds and examples." in shown
    assert "nan points" not in shown and "nan [" not in shown


def test_nothing_to_compare_with_is_one_sentence(tmp_path, monkeypatch):
    study(tmp_path, lambda t, setting, seed: (t.intermediate == "mnli") & (t.language == "en"), settings=("full",))
    with pytest.raises(XitcalError, match="no baseline"):
        read_results(tmp_path)
    with pytest.raises(XitcalError, match="no baseline"):
        run_page(PAGES[0], tmp_path, monkeypatch)
    assert os.environ["XITCAL_FULL"] == str(tmp_path)
