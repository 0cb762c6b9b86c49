"""Fold the tests of the notebooks: `python tools/fold_tests.py [--check] [PATH...]` (all of nbs without a path)

A reader who has seen an example wants the next idea, not four lines of `test_eq`. A cell is folded when it shows nothing, ends in
a test (a call of `test_...` or an assertion, perhaps within a loop), and does nothing but test and prepare tests: no later cell
uses a name that it gives. It stays open where it is all that a reader gets to see of the definition before it.

A folded cell begins with two lines that Quarto reads, so that the site shows "Tests" in its place, and its metadata say the
same to JupyterLab (settings.ini lets nbdev_clean keep them). On pages whose code the site folds (`- code-fold: true` below the
title) JupyterLab hides the code of every cell too, so that a page begins with its finding there as well. `--check` changes
nothing and fails where something would change."""
import argparse
import ast
import sys
from pathlib import Path

import nbformat
from lint_nb import exported, flags, public_definitions, shown

SUMMARY, FOLD = '#| code-summary: "Tests"', "#| code-fold: true"
HIDDEN = {"source_hidden": True}
REGISTERED = ("00_hypotheses.ipynb", "01_questions.ipynb") # committed before the results; nothing on them changes


def names(node, kind) -> set[str]:
    "Names that a piece of code uses (ast.Load) or gives (ast.Store)"
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}


def inner(node) -> set[str]:
    "Names that live only within a statement: of comprehensions, functions, loops"
    scopes = [n for n in ast.walk(node) if isinstance(n, (ast.comprehension, ast.FunctionDef, ast.For, ast.withitem))]
    targets = [getattr(n, "target", getattr(n, "optional_vars", n)) or n for n in scopes]
    arguments = {a.arg for n in ast.walk(node) if isinstance(n, ast.arguments) for a in (*n.posonlyargs, *n.args, *n.kwonlyargs)}
    return arguments.union(*(names(t, ast.Store) for t in targets))


def given(node) -> set[str]:
    "Names that a statement gives to those behind it"
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {a.asname or a.name.partition(".")[0] for a in node.names}
    return names(node, ast.Store) - inner(node)


def used(source: str) -> set[str]:
    "Names that a cell has from the cells before it"
    found, own = set(), set()
    for node in ast.parse(source).body:
        again = {n.target.id for n in ast.walk(node) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
        found |= (names(node, ast.Load) | again) - inner(node) - own
        own |= given(node)
    return found


def statements(body) -> list:
    "Statements of a cell, those within loops and contexts too"
    found = []
    for node in body:
        inside = isinstance(node, (ast.For, ast.With, ast.If))
        found += statements([*node.body, *getattr(node, "orelse", [])]) if inside else [node]
    return found


def is_test(node) -> bool:
    "Whether a statement tests and does nothing else"
    call = node.value if isinstance(node, ast.Expr) else None
    tests = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.startswith("test_")
    return isinstance(node, ast.Assert) or tests


def prepares(node) -> bool:
    "Whether a statement may stand before a test: it makes what the test needs"
    return isinstance(node, (ast.Assign, ast.AugAssign, ast.FunctionDef, ast.ClassDef)) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def only_tests(source: str, later: set[str]) -> bool:
    "Whether a cell ends in a test, and leaves nothing behind that the names used `later` need"
    tree = ast.parse(source)
    body, left = statements(tree.body), set().union(*map(given, tree.body))
    return bool(body) and is_test(body[-1]) and all(is_test(n) or prepares(n) for n in body) and not left & later


def only_example(cells, i: int) -> bool:
    "Whether cell i is the first to use a definition that no cell close behind shows"
    for at in range(max(0, i - 3), i):
        for name in public_definitions(cells[at]):
            between = [c for c in cells[at + 1:i + 1] if c.cell_type == "code" and not exported(c)]
            users = [c for c in between if name in used(c.source)]
            if users[:1] == [cells[i]] and not shown(cells, at, name):
                return True
    return False


def tests(notebook) -> set[int]:
    "Numbers of the cells to fold"
    cells, found, later = notebook.cells, set(), set()
    for i in reversed(range(len(cells))):
        if cells[i].cell_type != "code":
            continue
        source = cells[i].source
        quiet = not cells[i].outputs and not exported(cells[i]) and "eval:" not in flags(cells[i])
        if quiet and only_tests(source, later) and not only_example(cells, i):
            found.add(i)
        later |= used(source)
    return found


def folds_code(notebook) -> bool:
    "Whether the site folds the code of a whole page"
    return "- code-fold: true" in notebook.cells[0].source.splitlines()


def set_folded(cell, wanted: bool, hidden: bool = False) -> bool:
    "Fold or open a cell, whose code JupyterLab hides if it is folded or `hidden`; whether that changed it"
    before = cell.source, dict(cell.metadata)
    source = "".join(line for line in cell.source.splitlines(keepends=True) if line.strip() not in (SUMMARY, FOLD))
    seen = "hide" not in flags(cell) # on the site
    cell.source = f"{SUMMARY}\n{FOLD}\n{source}" if wanted and seen else source
    cell.metadata.pop("jupyter", None)
    cell.metadata.update({"jupyter": dict(HIDDEN)} if wanted or hidden else {})
    return before != (cell.source, dict(cell.metadata))


def fold(notebook) -> int:
    "Fold the tests of a notebook and open all other cells; how many cells changed"
    wanted, hidden = tests(notebook), folds_code(notebook)
    return sum(set_folded(c, i in wanted, hidden) for i, c in enumerate(notebook.cells) if c.cell_type == "code")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path(__file__).parents[1] / "nbs"])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    total = 0
    for path in (f for p in args.paths for f in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])):
        if {".ipynb_checkpoints", "_proc"} & set(path.parts) or path.name in REGISTERED:
            continue
        notebook = nbformat.read(path, as_version=4)
        if changed := fold(notebook):
            total += changed
            print(f"{path}: {changed} cells {'to fold or open' if args.check else 'folded or opened'}")
            if not args.check:
                nbformat.write(notebook, path)
    sys.exit(bool(args.check and total))


if __name__ == "__main__":
    main()
