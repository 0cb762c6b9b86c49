"""How the notebooks read: short cells, narrow lines, an example behind each definition, tests that are folded."""
import sys
from copy import deepcopy
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import fold_tests  # noqa: E402
import lint_nb  # noqa: E402

EXAMPLES = .85 # share of definitions that show what they do
MEDIAN = 10    # lines of an exported cell


@pytest.fixture(scope="module")
def notebooks() -> dict:
    "Notebooks of the rooms whose examples are finished"
    return {p: nb for p, nb in lint_nb.all_notebooks().items() if p.relative_to(lint_nb.root / "nbs").parts[0] in lint_nb.EXAMPLED}


def code(source: str, output: str = ""):
    return new_code_cell(source, outputs=[new_output("stream", text=output)] if output else [])


DEFINITION = "#| export\ndef double(x): return 2 * x"


def test_most_definitions_have_an_example_that_shows_its_output(notebooks):
    found = {(p.stem, name): has for p, nb in notebooks.items() for name, has in lint_nb.examples(nb).items()}
    assert len(found) > 200 and sum(found.values()) / len(found) >= EXAMPLES, [key for key, has in found.items() if not has]


def test_exported_cells_are_short(notebooks):
    short = [nb for p, nb in notebooks.items() if p.relative_to(lint_nb.root / "nbs").parts[0] in lint_nb.SHORT]
    sizes = [lint_nb.length(c) for nb in short for c in nb.cells if lint_nb.exported(c) and "import" not in c.source]
    assert median(sizes) <= MEDIAN
    every = [lint_nb.length(c) for nb in lint_nb.all_notebooks().values() for c in nb.cells if lint_nb.exported(c) and "import" not in c.source]
    assert max(every) <= lint_nb.LONGEST


@pytest.mark.parametrize("behind, found", [
    ([code("double(2)", "4")], True), ([code("double(2)")], False), ([code("triple(2)", "6")], False),
    ([new_markdown_cell("a"), code("import json"), code("double(2)", "4")], True),
    ([new_markdown_cell("a"), code("import json"), code("import re"), code("double(2)", "4")], False)])
def test_an_example_is_close_uses_the_name_and_shows_its_output(behind, found):
    assert lint_nb.examples(new_notebook(cells=[code(DEFINITION), *behind])) == {"double": found}


def test_names_for_the_package_alone_need_no_example():
    cells = [code(DEFINITION.replace("double", "_double")), code(DEFINITION.replace("export", "exporti"))]
    assert lint_nb.examples(new_notebook(cells=cells)) == {}


def test_lines_that_are_too_wide_are_found():
    assert lint_nb.too_wide("x" * 101 + "\n" + "y" * 100 + "\n#| fig-alt: " + "z" * 200) == ["x" * 101]


# ---- folded tests

def test_every_notebook_is_folded():
    "Where this fails: python tools/fold_tests.py"
    notebooks = {p: nb for p, nb in lint_nb.all_notebooks().items() if p.name not in fold_tests.REGISTERED}
    assert {path.name: n for path, notebook in notebooks.items() if (n := fold_tests.fold(notebook))} == {}


SHOWN = [code(DEFINITION), code("double(2)", "4")]


def folded_of(*cells) -> list[int]:
    return sorted(fold_tests.tests(new_notebook(cells=cells)))


@pytest.mark.parametrize("source", [
    "test_eq(double(2), 4)", "assert double(2) == 4", "test_fail(lambda: double({}), contains='no')", "x = double(2)\ntest_eq(x, 4)",
    "def half(x): return x / 2\ntest_close(half(double(2)), 2)", "for x in (1, 2):\n    y = 2 * x\n    test_eq(double(x), y)",
    "# why\ntest_eq(double(2), 4); test_eq(double(3), 6)", "#| hide\ntest_eq(double(2), 4)", "seed(0)\ntest_eq(double(2), 4)",
    "test_eq([double(x) for x in (1, 2)], [2, 4])"])
def test_cells_that_only_test_are_folded(source):
    assert folded_of(*SHOWN, code(source)) == [2]


@pytest.mark.parametrize("source, output", [
    ("test_eq(double(2), 4)\ndouble(2)", "4"), ("double(2)", ""), ("test_eq(double(2), 4)\nx = 3", ""), ("x = double(2)", ""),
    ("import json", ""), (DEFINITION + "\ntest_eq(double(2), 4)", ""),
    ("#| eval: false\ntest_eq(double(2), 4)", "")])
def test_cells_that_do_more_stay_open(source, output):
    assert folded_of(*SHOWN, code(source, output)) == []


@pytest.mark.parametrize("later, open_", [
    ("x + 1", True), ("x = x + 1", True), ("x += 1", True), ("[x for _ in (1, 2)]", True), ("[x for x in (1, 2)]", False), ("x = 3\nx + 1", False),
    ("def add(x): return x + 1\nadd(2)", False)])
def test_a_cell_stays_open_whose_names_are_needed_later(later, open_):
    assert folded_of(*SHOWN, code("x = double(2)\ntest_eq(x, 4)"), code(later, "5")) == ([] if open_ else [2])


def test_the_only_example_of_a_definition_stays_open():
    tests = code("test_eq(double(2), 4)"), code("test_eq(double(3), 6)")
    assert folded_of(code(DEFINITION), *tests) == [2]
    assert folded_of(*SHOWN, *tests) == [2, 3]


def test_folding_can_be_done_again_and_undone():
    notebook = new_notebook(cells=[*SHOWN, code("test_eq(double(2), 4)"), code("#| hide\ntest_eq(double(3), 6)")])
    assert fold_tests.fold(notebook) == 2 and fold_tests.fold(notebook) == 0
    site, hidden = notebook.cells[2:]
    assert site.source == '#| code-summary: "Tests"\n#| code-fold: true\ntest_eq(double(2), 4)' and hidden.source.startswith("#| hide\ntest")
    assert site.metadata["jupyter"] == hidden.metadata["jupyter"] == {"source_hidden": True}
    site.source += "\ndouble(2)"
    assert fold_tests.fold(notebook) == 1 and site.source == "test_eq(double(2), 4)\ndouble(2)" and "jupyter" not in site.metadata


def test_titles_begin_with_a_capital_letter():
    titles = {p.name: nb.cells[0].source.splitlines()[0] for p, nb in lint_nb.all_notebooks().items()}
    assert {name: title for name, title in titles.items() if not title[2:3].isupper()} == {"index.ipynb": "# xitcal"}


def test_the_code_of_a_page_is_hidden_where_the_site_folds_it():
    title, cells = new_markdown_cell("# A page\n\n<!--\n- code-fold: true\n-->"), [*SHOWN, code("double(2)", "4")]
    page, library = (deepcopy(new_notebook(cells=[first, *cells])) for first in (title, new_markdown_cell("# A page")))
    fold_tests.fold(page), fold_tests.fold(library)
    hidden = [[c.metadata.get("jupyter") for c in nb.cells if c.cell_type == "code"] for nb in (page, library)]
    assert set(map(str, hidden[0])) == {"{'source_hidden': True}"} and set(hidden[1]) == {None}
    assert not any(fold_tests.FOLD in c.source for c in page.cells) and fold_tests.fold(page) == 0


def test_results_pages_begin_with_their_finding_in_jupyterlab_too():
    pages = [nb for p, nb in lint_nb.all_notebooks().items() if "results" in p.parts or p.name == "index.ipynb"
             if p.name not in fold_tests.REGISTERED]
    assert len(pages) > 20 and all(map(fold_tests.folds_code, pages))


def test_a_folded_cell_arrives_at_the_site_and_survives_cleaning(tmp_path):
    from execnb.nbio import read_nb
    from nbdev.clean import clean_nb, process_write
    from nbdev.config import get_config
    from nbdev.processors import FilterDefaults
    path = ROOT / "nbs" / "core" / "01_schema.ipynb"
    notebook = nbformat.read(path, as_version=4)
    fold_tests.fold(notebook)
    nbformat.write(notebook, copy := tmp_path / "page.ipynb")
    number = sum(c.source.startswith(fold_tests.SUMMARY) for c in notebook.cells if c.cell_type == "code")
    page = read_nb(copy)
    FilterDefaults()(page)
    assert number and sum(f"{fold_tests.SUMMARY}\n{fold_tests.FOLD}\n" in c.source for c in page.cells if c.cell_type == "code") == number
    keys = get_config(path=ROOT).allowed_cell_metadata_keys.split()
    process_write("clean", lambda nb: clean_nb(nb, allowed_cell_metadata_keys=keys), copy)
    assert fold_tests.fold(nbformat.read(copy, as_version=4)) == 0
