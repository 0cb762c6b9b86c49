"""The tree is the architecture: who may import whom, what each name is called, and what an import costs."""
import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "data", "kinds", "training", "predictions", "calibration", "inference", "study", "report")
MODULES = sorted(p for p in (ROOT / "xitcal").rglob("*.py") if not p.name.startswith("_"))


def name_of(path: Path) -> str:
    return "xitcal." + path.relative_to(ROOT / "xitcal").with_suffix("").as_posix().replace("/", ".")


def imports(tree: ast.AST, module: str) -> list[tuple[str, str]]:
    "(module, name) of every import of this package, wherever it stands, relative ones made absolute"
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = module.split(".")[:-node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += [(source, a.name) for a in node.names]
        elif isinstance(node, ast.Import):
            found += [(a.name, "") for a in node.names]
    return [(s, n) for s, n in found if s.split(".")[0] == "xitcal"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room(module: str) -> int:
    "Place of a module's room in the list; behind all of them for what stands at the top"
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 and parts[1] in ROOMS else len(ROOMS)


def notebook(path: Path) -> str:
    "The notebook that a module is exported from, as a path below nbs"
    return re.search(r"File to edit: (?:\.\./)+nbs/(\S+)\.$", path.read_text(), re.M)[1]


NOTEBOOKS = {name_of(p): notebook(p) for p in MODULES}


def later_rooms(module: str, tree: ast.AST) -> list[str]:
    return [f"{module} imports {source}" for source, _ in imports(tree, module) if source != "xitcal" and room(source) > room(module)]


def later_notebooks(module: str, tree: ast.AST) -> list[str]:
    own, folder = NOTEBOOKS[module], NOTEBOOKS[module].rpartition("/")[0]
    found = {NOTEBOOKS[s] for s, _ in imports(tree, module) if s in NOTEBOOKS and s != module}
    return [f"{own} imports {n}" for n in found if folder and n.rpartition("/")[0] == folder and n > own]


def private_names(module: str, tree: ast.AST) -> list[str]:
    return [f"{module} imports {name} of {source}" for source, name in imports(tree, module) if name.startswith("_") and source != module]


def test_every_module_is_in_a_room():
    assert [name_of(p) for p in MODULES if room(name_of(p)) == len(ROOMS)] == ["xitcal.cli"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
@pytest.mark.parametrize("rule", [later_rooms, later_notebooks, private_names], ids=lambda f: f.__name__)
def test_imports(rule, path):
    assert rule(name_of(path), parsed(path)) == []


@pytest.mark.parametrize("module", sorted(NOTEBOOKS))
def test_examples_use_what_comes_before(module):
    "What a notebook shows and tests is made of its own room and of earlier ones too"
    for cell in json.loads((ROOT / "nbs" / NOTEBOOKS[module]).read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "import" in source:
            tree = ast.parse(source)
            assert later_rooms(module, tree) + later_notebooks(module, tree) == []


def test_the_rules_find_what_they_forbid():
    tree = ast.parse("from ..study.grid import Study\nfrom .tables import _means")
    module = "xitcal.calibration.binned"
    assert later_rooms(module, tree) and later_notebooks(module, tree) and private_names(module, tree)
    assert not later_rooms("xitcal.report.html", tree) and not later_notebooks("xitcal.report.html", ast.parse("from .paper import x"))


def exported(tree: ast.Module) -> list[str]:
    return next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"), [])


def test_no_name_is_exported_twice():
    homes = {}
    for path in MODULES:
        for name in exported(parsed(path)):
            homes.setdefault(name, []).append(name_of(path))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def code_lines(path) -> int:
    "Lines but empty ones and those with which nbdev marks a cell; a line has at most 100 characters"
    return sum(bool(line.strip()) and not line.startswith("# %%") for line in path.read_text().splitlines())


def test_no_module_is_long():
    assert [(p.name, n) for p in MODULES if (n := code_lines(p)) > 400] == []


# ---- what an import costs

HEAVY = ("torch", "transformers", "datasets", "matplotlib")


def loaded(code: str, heavy=HEAVY) -> set[str]:
    "Which of some packages are loaded after a piece of code, in a process of its own"
    after = f"import sys\n{code}\nprint('loaded', *[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def every_module(*rooms: str) -> str:
    return "import " + ", ".join(name_of(p) for p in MODULES if name_of(p).split(".")[1] in rooms)


def test_importing_the_package_loads_nothing_heavy():
    assert loaded("import xitcal; dir(xitcal)", (*HEAVY, "numpy", "pandas")) == set()


def test_calibration_works_without_the_libraries_of_training():
    assert loaded(every_module("core", "calibration") + "\nfrom xitcal import calibrate, compare, read_file") == set()


def test_help_is_there_at_once():
    "Half a second is what typer takes; nothing else is loaded"
    code = ("from xitcal.cli import main\nsys.argv = ['xitcal', 'calibrate', '--help']\n"
            "try: main()\nexcept SystemExit: pass")
    assert loaded(code, (*HEAVY, "numpy", "pandas", "pyarrow", "huggingface_hub")) == set()


def test_the_root_offers_what_most_people_need():
    import xitcal
    needed = {"Study", "run_study", "load_predictions", "calibrate", "compare", "read_events", "find_suite", "XitcalError"}
    assert needed <= set(xitcal.__all__) <= set(dir(xitcal))
    for name in xitcal.__all__:
        home = getattr(xitcal, name)
        assert home is getattr(xitcal, name) and home is not None
    with pytest.raises(AttributeError, match="has no attribute 'studdy'"):
        xitcal.studdy  # noqa: B018
