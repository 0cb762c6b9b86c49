"""The wheel holds everything a user needs, and nothing of the development environment."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

root = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    "A wheel built from a copy of what git tracks"
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (root / name).is_file() or (root / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name, follow_symlinks=False)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check", "-w", out, source], check=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_has_data_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("xitcal/assets/estimates.toml", "xitcal/assets/embedded/encoder/model.safetensors", "xitcal/assets/embedded/encoder/tokenizer.json",
                   "xitcal/assets/embedded/cldr.json.gz", "xitcal/assets/results/default/01_scores.ipynb", "xitcal/cli.py"):
        assert needed in names
    assert not [n for n in names if n.startswith(("tests/", "nbs/", "tools/", "benchmarks/"))]


def test_the_wheel_works_without_development_tools(wheel, tmp_path):
    "The package from the wheel, in a process that cannot import nbdev or fastcore"
    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    code = ("import sys; sys.modules.update(nbdev=None, fastcore=None, babel=None); "
            f"sys.path.insert(0, {str(place)!r}); import xitcal; assert xitcal.__file__.startswith({str(place)!r}); "
            "from xitcal.cli import main; sys.argv = ['xitcal', 'run', '--store', 's', '--target', 'tatoeba', '--intermediate', 'none', "
            "'--language', 'sw', '--test-rows', '5']; main()")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "s" / "stages").iterdir())) == 1


def test_versions_agree():
    import configparser

    import xitcal
    config = configparser.ConfigParser(delimiters=["="])
    config.read(root / "settings.ini")
    assert xitcal.__version__ == config["DEFAULT"]["version"]
    assert f"version: {xitcal.__version__}" in (root / "CITATION.cff").read_text()
