"""Fixtures: a study small enough to run in a test, done once a session."""
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from forks import ADDRESS, ASK, ask, kernel_folder
from forks import __file__ as FORKS

from xitcal.core.processes import thread_settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
for _name, _threads in thread_settings(1).items(): os.environ.setdefault(_name, _threads) # every process that tests start has them
os.environ["XITCAL_CACHE"] = tempfile.mkdtemp(prefix="xitcal-tests-") # not the user's
atexit.register(shutil.rmtree, os.environ["XITCAL_CACHE"], ignore_errors=True)

_own = Path(tempfile.mkdtemp(prefix="xitcal-forks-"))
atexit.register(shutil.rmtree, _own, ignore_errors=True)
os.environ[ADDRESS] = str(_own / "socket")
FORKING = sys.platform == "linux" # elsewhere a process may not fork once it has imported these libraries
if FORKING: os.environ["JUPYTER_PATH"] = str(kernel_folder(_own / "jupyter")) # before all other kernels

PROGRAM = str(Path(sys.executable).with_name("xitcal"))
START = dict(os.environ)
SERVERS = pytest.StashKey[list[subprocess.Popen]]()
# what libraries read when they are imported: where it differs from the beginning, a process must be started, or forked before it has those of the hub
OF_HUB = re.compile("HF_|HUGGINGFACE_|TRANSFORMERS_|PYTHONPATH|(NO|HTTPS?)_PROXY", re.I)
READ_EARLY = re.compile("CUDA|.*_NUM_THREADS|.*_MAXIMUM_THREADS|MPL|PYTHON(?!PATH)|PATH|CXX|RAY", re.I)
SMALL = ["--intermediate", "none,mnli", "--target", "xnli,pawsx,panx,xquad,tatoeba", "--language", "en,sw,ar", "--seeds", "0,1",
         "--intermediate-rows", "64", "--target-rows", "64", "--test-rows", "20", "--calibration-rows", "20"]


def server(env=None) -> str | None:
    "The server that may fork a process with an environment: with all libraries, or with half of them where it differs about the hub from the beginning"
    now = dict(os.environ if env is None else env)
    differ = [name for name in START.keys() | now.keys() if START.get(name) != now.get(name)]
    if not FORKING or any(READ_EARLY.match(name) for name in differ): return None
    return "half" if any(OF_HUB.match(name) for name in differ) else "whole"


def forked(part, kind, args, env=None, cwd=None) -> subprocess.CompletedProcess:
    "What `subprocess.run` gives for a program (xitcal's), or for a notebook, without seconds of imports"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, open(os.devnull) as none:
        files = none.fileno(), out.fileno(), err.fileno()
        code = ask(part, kind, args, dict(os.environ if env is None else env), str(cwd or Path.cwd()), files)
        for file in (out, err): file.seek(0)
        return subprocess.CompletedProcess([PROGRAM, *args], code, out.read(), err.read())


def background(kind, *args, env=None, **more) -> subprocess.Popen:
    "A program or script in a process of its own that goes on by itself and may be killed, without seconds of imports"
    part = server(env)
    start = [*ASK, part, kind] if part else [PROGRAM] if kind == "program" else [sys.executable]
    return subprocess.Popen([*start, *map(str, args)], env=env, **more)


def xitcal(*args, check=True, fresh=False, env=None, cwd=None):
    "Run the command line in a process of its own; what it printed. `fresh`: in one that is started, not forked"
    args, part = [*map(str, args)], None if fresh else server(env)
    done = (forked(part, "program", args, env, cwd) if part
            else subprocess.run([PROGRAM, *args], capture_output=True, text=True, env=env, cwd=cwd))
    if check and done.returncode:
        raise AssertionError(f"xitcal {' '.join(args)} failed:\n{done.stdout}\n{done.stderr}")
    return done


def pytest_addoption(parser): parser.addoption("--slow", action="store_true", help="run also the tests that are marked slow")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes a minute or more; run with --slow")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"): # each worker has a core, and a study that it runs has one worker unless it asks for more
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
    if not FORKING: return
    # they import at the first request, and end when their standard input does
    env = dict(os.environ, MPLBACKEND="module://matplotlib_inline.backend_inline", PYTHONWARNINGS="ignore:IProgress not found")
    config.stash[SERVERS] = [subprocess.Popen([sys.executable, FORKS, "serve", f"{os.environ[ADDRESS]}-{part}", part], stdin=subprocess.PIPE, env=env)
                             for part in ("whole", "half")]


def pytest_unconfigure(config):
    for process in config.stash.get(SERVERS, []):
        process.stdin.close()
        process.wait()


# files that take longest, in this order; a worker that began one last would end alone
LONGEST = ("test_xtreme_study", "test_pages", "test_site", "test_conditions", "test_cli", "test_ray", "test_calibrate", "test_stores", "test_recalibration",
           "test_headlines", "test_own_targets", "test_repair", "test_hub", "test_faults")


def _place(item) -> tuple:
    "Long files, then the others, then notebooks, which are handed out one by one"
    name = item.path.stem
    return (0, LONGEST.index(name)) if name in LONGEST else (2 if name == "test_notebooks" else 1, 0)


@pytest.hookimpl(tryfirst=True) # xdist reads the groups
def pytest_collection_modifyitems(config, items):
    "A file's tests go to one worker, so that they share its fixtures. Without --slow the tests that are marked so are skipped and counted"
    items.sort(key=_place)
    for item in items:
        if item.path.stem != "test_notebooks": item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: make test SLOW=--slow runs it"))


@pytest.fixture(autouse=True)
def _environment():
    "What a test or the code it calls sets in the environment ends with it: `make_study` in this process sets XITCAL_DATA for its workers"
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys(): del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def started_kernels(monkeypatch):
    "Kernels are started as a user's are, not forked"
    monkeypatch.delenv("JUPYTER_PATH", raising=False)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    "A finished small study: every kind of the default study, three languages, two seeds"
    path = tmp_path_factory.mktemp("small") / "store"
    xitcal("run", "--store", path, *SMALL)
    return path
