"""Every notebook runs: all cells that nbdev_test would run, each notebook in a process of its own."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FORKING, FORKS, forked

NBS = Path(__file__).parents[1] / "nbs"
# tutorials, which train, come first
NOTEBOOKS = sorted((p.relative_to(NBS).as_posix() for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts), reverse=True)


def run(path: Path):
    "With the program on the path, and on no GPU"
    env = os.environ | dict(CUDA_VISIBLE_DEVICES="", PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if FORKING: return forked("whole", "notebook", [str(path)], env, NBS)
    return subprocess.run([sys.executable, FORKS, "notebook", path], env=env, cwd=NBS, capture_output=True, text=True)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name):
    done = run(NBS / name)
    assert done.returncode == 0, done.stderr


def test_a_notebook_that_fails_is_found(tmp_path):
    import nbformat
    cells = [nbformat.v4.new_code_cell(text) for text in ("x = 1", "assert x == 2, 'not two'")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "wrong.ipynb")
    done = run(tmp_path / "wrong.ipynb")
    assert done.returncode == 1 and "not two" in done.stderr
    nbformat.write(nbformat.v4.new_notebook(cells=cells[:1]), tmp_path / "right.ipynb")
    assert run(tmp_path / "right.ipynb").returncode == 0
