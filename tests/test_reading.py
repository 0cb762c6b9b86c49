"""The page "How to read calibration": whatever it names exists, and whatever the site shows is named there."""
import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest

from xitcal.calibration.tables import estimate_table
from xitcal.inference.seeds import STATISTICS
from xitcal.predictions.events import event_statistics, toy_predictions

ROOT = Path(__file__).parents[1]
NBS = ROOT / "nbs"
RESULTS = [p for p in sorted((NBS / "results").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts] # copies that JupyterLab makes
PAGE = NBS / "tutorials" / "02_calibration.ipynb"
KEYS = {"n", "examples"}  # columns that count


@cache
def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def text_of(path: Path, kind: str) -> str:
    return "\n\n".join("".join(c["source"]) for c in cells(path) if c["cell_type"] == kind)


def prose(path: Path) -> str: return text_of(path, "markdown")


def code(path: Path) -> str: return text_of(path, "code")


def module_of(notebook: str) -> str:
    "Module that a notebook exports to"
    return re.search(r"#\| default_exp ([\w.]+)", code(NBS / notebook))[1]


def estimates(text: str) -> list[list[str]]:
    "Rows of the table of estimates"
    table = text[text.index("| estimate | what it targets"):].split("\n\n")[0]
    return [[x.strip() for x in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


def entries(text: str) -> dict[str, set[str]]:
    "Pages that each figure function is said to stand on"
    found = re.findall(r"^\*\*[^*]+\*\* \(`(\w+_(?:figure|chart))`; ([^;]*?\.ipynb\)(?:, \[[^]]+\]\([^)]+\))*)\)", text, re.M)
    return {name: {Path(link).name for link in re.findall(r"\]\(([^)]+\.ipynb)\)", links)} for name, links in found}


def returned(node: ast.FunctionDef) -> str:
    "Name of the class that a function returns, without its module"
    return getattr(node.returns, "id", "") or getattr(node.returns, "attr", "")


def figure_functions() -> set[str]:
    "Functions that draw a figure, in the package and on results pages"
    package = {node.name for path in (ROOT / "xitcal").rglob("*.py") for node in ast.parse(path.read_text()).body
               if isinstance(node, ast.FunctionDef) and returned(node) in ("Figure", "LayerChart") and not node.name.startswith("_")}
    pages = {name for path in RESULTS for name in re.findall(r"^def (\w+_figure)\(", code(path), re.M)}
    # `headline` chooses what `headline_figure` shows, and `calibration_figure` is of a user's file
    return package - {"headline", "calibration_figure"} | pages


def drawn_on(name: str) -> set[str]:
    "Results pages, and the first one, that call a figure function"
    called = r"sentences import .*\bheadline\b" if name == "headline_figure" else rf"\b{name}\b"
    return {p.name for p in (*RESULTS, NBS / "index.ipynb") if re.search(called, code(p))}


def faults_of_row(row: list[str]) -> list[str]:
    "Functions of a row that do not exist where it says"
    links = re.findall(r"\[`(\w+)`\]\(\.\./([^)]+\.ipynb)\)", row[2])
    faults = [] if links else [f"{row[0]}: no function"]
    for name, notebook in links:
        module = importlib.import_module(f"xitcal.{module_of(notebook)}") if (NBS / notebook).exists() else None
        if name not in getattr(module, "__all__", []):
            faults.append(f"{row[0]}: {name} is not in {notebook}")
    return faults + [f"{row[0]}: an empty cell" for cell in row if not cell]


def test_every_function_of_the_table_exists():
    rows = estimates(prose(PAGE))
    assert len(rows) > 20 and {len(r) for r in rows} == {4}
    assert [f for row in rows for f in faults_of_row(row)] == []


@pytest.mark.parametrize("third", ["[`mean_intervals`](../calibration/00_intervals.ipynb)", "[`mean_interval`](../calibration/01_binned.ipynb)",
                                   "[`mean_interval`](../calibration/99_none.ipynb)", "`mean_interval`"])
def test_a_function_that_is_not_there_is_found(third):
    assert faults_of_row(["signed_ce", "E(c − y)", third, "never"])
    assert not faults_of_row(["signed_ce", "E(c − y)", "[`mean_interval`](../calibration/00_intervals.ipynb)", "never"])


def test_every_estimate_has_a_row():
    named = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in estimates(prose(PAGE)))))
    events = event_statistics(toy_predictions(["xnli"], languages=["en"], n=30, seeds=(0,)))
    columns = set(estimate_table(events, ["language"], levels=True, draws=2)) - {"language"} - KEYS
    assert columns | set(estimate_table(events, ["language"], draws=2).estimate) | set(STATISTICS) <= named


def test_every_figure_has_an_entry_and_the_right_pages():
    found = entries(prose(PAGE))
    assert set(found) == figure_functions() and len(found) > 15
    assert found == {name: drawn_on(name) for name in found}
    text = prose(PAGE)
    assert len(re.findall(r"\*Look first\*", text)) == len(re.findall(r"\*It\s+cannot tell\*", text)) == len(found)


def test_every_page_with_a_picture_is_named():
    pictures = {p.name for p in RESULTS for c in cells(p) for o in c.get("outputs", [])
                if "image/png" in o.get("data", {})}
    assert len(pictures) > 10 and pictures <= set().union(*entries(prose(PAGE)).values())


def test_functions_named_in_prose_exist():
    "Whatever looks like a function is one, of the package or of a results page"
    lists = [re.search(r"^__all__ = (\[.*?\])", p.read_text(), re.M | re.DOTALL) for p in (ROOT / "xitcal").rglob("*.py")]
    functions = figure_functions().union(*(ast.literal_eval(found[1]) for found in lists if found))
    columns = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in estimates(prose(PAGE)))))
    assert set(re.findall(r"`(\w+)`", prose(PAGE))) <= functions | columns
