"""Fixtures: a study small enough to run in a test, done once a session."""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XITCAL_CACHE"] = tempfile.mkdtemp(prefix="xitcal-tests-") # not the user's
atexit.register(shutil.rmtree, os.environ["XITCAL_CACHE"], ignore_errors=True)

PROGRAM = str(Path(sys.executable).with_name("xitcal"))
SMALL = ["--intermediate", "none,mnli", "--target", "xnli,pawsx,panx,xquad,tatoeba", "--language", "en,sw,ar", "--seeds", "0,1",
         "--intermediate-rows", "64", "--target-rows", "64", "--test-rows", "20", "--calibration-rows", "20"]


def xitcal(*args, check=True, **options):
    "Run the command line in a process of its own; what it printed"
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, **options)
    if check and done.returncode:
        raise AssertionError(f"xitcal {' '.join(map(str, args))} failed:\n{done.stdout}\n{done.stderr}")
    return done


def pytest_addoption(parser): parser.addoption("--slow", action="store_true", help="run also the tests that are marked slow")


def pytest_configure(config): config.addinivalue_line("markers", "slow: takes a minute or more; run with --slow")


def pytest_collection_modifyitems(config, items):
    "Without --slow the tests that are marked so are skipped, and pytest's summary counts them"
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: make test SLOW=--slow runs it"))


@pytest.fixture(autouse=True)
def _environment():
    "What a test or the code it calls sets in the environment ends with it: `make_study` in this process sets XITCAL_DATA for its workers"
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys(): del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    "A finished small study: every kind of the default study, three languages, two seeds"
    path = tmp_path_factory.mktemp("small") / "store"
    xitcal("run", "--store", path, *SMALL)
    return path
