"""Check what can be counted about the notebooks: `python tools/lint_nb.py`

Library notebooks: title and description; imports alone in their cell; one public definition to an exported cell, of at most 30 lines
that are not blank; a docstring and a comment on every parameter; an example or test close behind (a docstring is enough for what
modules share among themselves, in cells marked exporti); imports of xitcal from lower numbers of the same folder, or from other
folders. All notebooks: cell ids, the python3 kernel, no error outputs, no word in prose that the field does not have (WORDS; a few
of them in no docstring or comment either, OUT), under 500 KB (results: 1 MB). Rooms that are FINISHED: lines of code of at most 100
characters, and no exported cell of more than 30 lines.

`python tools/lint_nb.py --examples` counts the public definitions that have an example with an output within three cells, and names
the others. tools/fold_tests.py folds what only tests."""
import ast
import io
import re
import sys
import tokenize
from pathlib import Path

import nbformat

root = Path(__file__).parents[1]
LONGEST = 30
CLOSE = 3    # cells behind a definition in which its example stands
WIDEST = 100 # characters of a line of code
FINISHED = ("core", "data", "kinds", "training", "predictions", "calibration", "inference", "study",
            "report", "cli.ipynb", "tutorials", "results") # rooms that keep to it
EXAMPLED = ("core", "data", "kinds", "training", "predictions", "calibration", "inference", "study", "report",
            "cli.ipynb") # rooms whose definitions have an example that shows its output
SHORT = tuple(room for room in EXAMPLED if room not in ("inference", "report")) # whose exported cells have a median of at most 10 lines
KINDS = (ast.FunctionDef, ast.ClassDef)


def flags(cell) -> set[str]:
    "Directives of a cell"
    return {line[2:].strip().split()[0] for line in cell.source.splitlines() if line.startswith("#|") and line[2:].strip()}


def exported(cell) -> bool:
    return cell.cell_type == "code" and bool(flags(cell) & {"export", "exports", "exporti"})


def module_of(notebook) -> str | None:
    "The module a notebook exports"
    for cell in notebook.cells:
        if found := re.match(r"#\|\s*default_exp\s+(\S+)", cell.source):
            return found[1]


def too_late(module: str, own: str, paths: dict[str, str]) -> bool:
    "Whether a module does not come before the notebook `own` in its folder (paths in nbs), or is not there"
    other = paths.get(module)
    return other is None or other.rpartition("/")[0] == own.rpartition("/")[0] and other >= own


def undocumented(source: str, node) -> list[str]:
    "Parameters of a public function without a comment on their line"
    lines = source.splitlines()
    args = [*node.args.args, *node.args.kwonlyargs]
    return [a.arg for a in args if a.arg not in ("self", "cls") and "#" not in lines[a.end_lineno - 1]]


def public_definitions(cell) -> list[str]:
    "Names of functions and classes that a cell exports to everybody"
    public = exported(cell) and "exporti" not in flags(cell)
    nodes = ast.parse(cell.source).body if public else []
    return [n.name for n in nodes if isinstance(n, KINDS) and not n.name.startswith("_")]


def shown(cells, at: int, name: str) -> bool:
    "Whether one of the cells close behind a definition uses it and shows its output"
    close = [c for c in cells[at + 1:at + 1 + CLOSE] if c.cell_type == "code" and not exported(c)]
    return any(c.outputs and re.search(rf"\b{name}\b", c.source) for c in close)


def examples(notebook) -> dict[str, bool]:
    "Public definitions of a notebook, and whether an example close behind each shows what it does"
    cells = notebook.cells
    return {name: shown(cells, i, name) for i, c in enumerate(cells) for name in public_definitions(c)}


def too_wide(source: str) -> list[str]:
    "Lines of code that have too many characters; Quarto wants each of its directives on one line"
    return [line for line in source.splitlines() if len(line) > WIDEST and not line.startswith("#|")]


def finished(path: Path) -> bool:
    "Whether a notebook is in a room that keeps to the width"
    return path.relative_to(root / "nbs").parts[0] in FINISHED and path.name not in COMMITTED


def length(cell) -> int:
    "Lines of a cell that are not blank"
    return len([line for line in cell.source.splitlines() if line.strip() and not line.startswith("#|")])


def check_definition(cell, node) -> list[str]:
    "Faults of one exported definition"
    faults = []
    if length(cell) > LONGEST:
        faults.append(f"{node.name} has {length(cell)} lines, at most {LONGEST}")
    if node.name.startswith("_"):
        return faults
    if not ast.get_docstring(node):
        faults.append(f"{node.name} has no docstring")
    if isinstance(node, ast.FunctionDef) and not node.decorator_list and "exporti" not in flags(cell) and (missing := undocumented(cell.source, node)):
        faults.append(f"{node.name} has no comment on {', '.join(missing)}")
    return faults


def mixes(source: str) -> bool:
    "Whether a cell imports and does something else: nbdev runs such a cell when it makes the site, without the cells before it"
    tree = ast.parse(source)
    return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree)) and not all(
        isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)


def check_cell(cell, later, paths, own) -> list[str]:
    "Faults of one exported cell"
    tree = ast.parse(cell.source)
    imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    faults = ["an import shares its cell with other code"] if imports and len(imports) != len(tree.body) else []
    for node in imports:
        name = getattr(node, "module", "") or ""
        if name.startswith("xitcal.") and too_late(name.removeprefix("xitcal."), own, paths):
            faults.append(f"imports {name}, which does not come before it")
        if name.split(".")[0] in ("fastcore", "nbdev"):
            faults.append(f"exports an import of {name}")
    public = public_definitions(cell)
    if len(public) > 1:
        faults.append("defines " + " and ".join(public) + " in one cell")
    for node in (n for n in tree.body if isinstance(n, KINDS)):
        faults += check_definition(cell, node)
    if public and not any(c.cell_type == "code" and not exported(c) and "hide" not in flags(c) for c in later):
        faults.append(f"{public[0]} has no example or test behind it")
    return faults


def check_library(notebook, paths, own) -> list[str]:
    "Faults of a notebook that exports a module"
    cells, faults = notebook.cells, []
    if not re.match(r"# .+\n\n> .+", cells[0].source):
        faults.append("the first cell is not a title, a blank line and a description behind >")
    for i, cell in enumerate(cells):
        if exported(cell):
            faults += [f"cell {i}: {f}" for f in check_cell(cell, cells[i + 1:], paths, own)]
        elif cell.cell_type == "code" and "hide" not in flags(cell) and mixes(cell.source):
            faults.append(f"cell {i}: an import shares its cell with other code")
    return faults


OUT = { # what neither prose nor docstrings and comments say, and what they say instead; the processor ARM and "(phase 2)" are free
    r"\b(?-i:[Aa]rms?)\b": "condition", r"(?<!\()\bphases? [23]\b": "intermediate training, target fine-tuning"}
WORDS = OUT | { # what prose does not say, and what it says instead; names in backticks and targets of links are free
    r"told from (chance|no change)": "significant", r"\bloud(er)?\b": "over-confident", r"\bshare right\b": "accuracy",
    r"\bnull floors?\b": "expected value under calibration", r"\bimagined rows?\b": "pseudo-observations", r"\bhanded in\b": "submitted",
    r"\bshrunken\b": "shrunk", r"\bsorts? of event\b": "event type", r"\bdrawn models?\b": "simulated calibrated models",
    r"\bnotebooks? \d\d[a-z]*\b": "its title and a link", r"\b(is|are) (asked|told)\b": "who asks or says it", r"\bstands? beside\b": "a plain verb"}
REGISTERED = "00_hypotheses.ipynb" # nothing on it changes
COMMITTED = (REGISTERED, "01_questions.ipynb") # before the results that they are about; their code stays as it was


def check_words(source: str, words: dict[str, str] = WORDS) -> list[str]:
    "Words of a Markdown text that readers of the field would have to learn"
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)", "", source)
    return [f"says {found[0]!r}; say: {better}" for word, better in words.items() if (found := re.search(word, plain, re.I))]


def remarks(source: str) -> list[str]:
    "Docstrings and comments of a piece of code"
    documented = [n for n in ast.walk(ast.parse(source)) if isinstance(n, KINDS)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [ast.get_docstring(n) or "" for n in documented] + [t.string for t in tokens if t.type == tokenize.COMMENT]


def check_any(path, notebook) -> list[str]:
    "Faults of any notebook"
    faults = []
    most = 1_000_000 if "results" in path.parts else 500_000  # figures of 40 languages
    if path.stat().st_size > most:
        faults.append(f"{path.stat().st_size:,} bytes, at most {most:,}")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("the kernel is not python3")
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and path.name != REGISTERED:
            faults += [f"cell {i} {f}" for f in check_words(cell.source)]
        if cell.cell_type == "code":
            faults += [f"cell {i} {f}" for text in remarks(cell.source) for f in check_words(text, OUT)]
        if cell.cell_type == "code" and finished(path):
            faults += [f"cell {i} has a line of {len(line)} characters" for line in too_wide(cell.source)]
            if exported(cell) and length(cell) > LONGEST:
                faults.append(f"cell {i} has {length(cell)} lines, at most {LONGEST}")
        if any(o.get("output_type") == "error" for o in cell.get("outputs", [])):
            faults.append(f"cell {i} holds an error")
        if re.search(r"/(home|root|tmp|Users)/\w", str(cell.get("outputs", ""))):
            faults.append(f"cell {i}: a path of one machine stands in the output")
    return faults


def all_notebooks() -> dict:
    "Every notebook by its path"
    paths = sorted(p for p in (root / "nbs").rglob("*.ipynb") if not {".ipynb_checkpoints", "_proc"} & set(p.parts))
    return {p: nbformat.read(p, as_version=4) for p in paths}


def tell_examples():
    "Print how many definitions of each room have an example, and which do not"
    found = {}
    for path, notebook in all_notebooks().items():
        found.setdefault(path.relative_to(root / "nbs").parts[0], []).extend(
            (path.stem, name, has) for name, has in examples(notebook).items())
    for room, rows in ((room, rows) for room, rows in found.items() if rows):
        absent = [f"{stem}: {name}" for stem, name, has in rows if not has]
        print(f"{room}: {len(rows) - len(absent)} of {len(rows)}; without: {', '.join(absent) or 'none'}")


def main():
    notebooks = all_notebooks()
    modules = {m: p.relative_to(root / "nbs").as_posix() for p, nb in notebooks.items() if (m := module_of(nb))}
    count = 0
    for path, notebook in notebooks.items():
        faults = check_any(path, notebook)
        if module_of(notebook):
            faults += check_library(notebook, modules, path.relative_to(root / "nbs").as_posix())
        for fault in faults:
            print(f"{path.relative_to(root)}: {fault}")
        count += len(faults)
    print(f"{len(notebooks)} notebooks, {count} faults")
    sys.exit(bool(count))


if __name__ == "__main__":
    tell_examples() if "--examples" in sys.argv[1:] else main()
