"""What the design promises and a machine can check."""
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

root = Path(__file__).parents[1]
modules = sorted(p for p in (root / "xitcal").rglob("*.py") if not p.name.startswith("_"))


def named(path: Path) -> str:
    return path.relative_to(root / "xitcal").as_posix()


notebooks = sorted(p for p in (root / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)

# Where a task's name may stand in code: the registry, the suite that makes each task, and the default study.
MAY_NAME_TASKS = {"data/tasks.py", "data/embedded/suite.py"}


def test_every_module_comes_from_a_notebook():
    sources = {re.search(r"File to edit: (?:\.\./)+nbs/(\S+)\.$", p.read_text(), re.M)[1] for p in modules}
    assert sources <= {str(p.relative_to(root / "nbs")) for p in notebooks}


def test_nothing_exported_imports_the_development_tools():
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"fastcore", "nbdev", "babel", "pytest"}, path.name


def comparisons(tree):
    "String constants that code compares with, or looks for"
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for part in [node.left, *node.comparators]:
                yield from (c.value for c in ast.walk(part) if isinstance(c, ast.Constant) and isinstance(c.value, str))
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            yield node.value.value


@pytest.mark.parametrize("path", modules, ids=named)
def test_no_branch_on_a_tasks_name(path):
    from xitcal.data.tasks import INTERMEDIATES, TARGETS
    if named(path) in MAY_NAME_TASKS:
        return
    assert not set(comparisons(ast.parse(path.read_text()))) & set(INTERMEDIATES | TARGETS)


def test_no_isinstance_ladder_over_kinds():
    kinds = {"Classification", "Choices", "Tagging", "Answers", "Retrieval", "Masked"}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                assert not {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)} & kinds, path.name


def test_notebooks_pass_their_lint():
    done = subprocess.run([sys.executable, root / "tools" / "lint_nb.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_lint_finds_words_that_are_out():
    sys.path.insert(0, str(root / "tools"))
    from lint_nb import OUT, check_words, remarks
    assert check_words("Two arms, told from chance") == ["says 'arms'; say: condition", "says 'told from chance'; say: significant"]
    assert check_words("see notebook 31bd") and check_words("The null floor of an estimate")
    assert not check_words("The array `arms` of [results](../arms/04_results.ipynb) has one row for each condition, and charm is none of them.")
    assert check_words("What phase 2 does") and not check_words("What intermediate training (phase 2) does on an ARM processor")
    said = remarks('def f(x):\n    "Change by arm"\n    return "arm" # after phase 3')
    assert [check_words(text, OUT) for text in said] == [["says 'arm'; say: condition"], ["says 'phase 3'; say: intermediate training, target fine-tuning"]]


def test_readme_is_the_index_notebook(tmp_path):
    before = (root / "README.md").read_text()
    subprocess.run([sys.executable, root / "tools" / "readme.py"], check=True)
    after = (root / "README.md").read_text()
    (root / "README.md").write_text(before)
    assert after == before


@pytest.mark.parametrize("path", notebooks, ids=lambda p: p.stem)
def test_links_between_notebooks_and_figures_exist(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", "".join(cell["source"])):
                if not re.match(r"[a-z]+:", target):
                    assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_weights_are_safetensors_only():
    allowed = {".json", ".gz", ".safetensors", ".csv", ".toml", ".ipynb"}
    for path in (root / "xitcal" / "assets").rglob("*"):
        assert path.is_dir() or path.suffix in allowed, path


def test_the_embedded_encoder_is_small():
    folder = root / "xitcal" / "assets" / "embedded" / "encoder"
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 10e6


def test_the_site_lists_every_notebook_and_nothing_else():
    listed = set(re.findall(r"(?:file|href): ([\w/-]+\.ipynb)", (root / "nbs" / "sidebar.yml").read_text()))
    assert listed == {p.relative_to(root / "nbs").as_posix() for p in notebooks}
    assert set(re.findall(r"href: ([\w/-]+\.ipynb)", (root / "_quarto.yml").read_text())) <= listed
