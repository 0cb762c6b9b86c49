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
from forks import ADDRESS, ask, kernel_folder
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
SERVER = pytest.StashKey[subprocess.Popen]()
# what libraries read when they are imported: where it differs from the beginning, a process must be started
READ_EARLY = re.compile("HF_|HUGGINGFACE_|TRANSFORMERS_|CUDA|.*_NUM_THREADS|.*_MAXIMUM_THREADS|MPL|PYTHON|(NO|HTTPS?)_PROXY|PATH|CXX|RAY", re.I)
SMALL = ["--intermediate", "none,mnli", "--target", "xnli,pawsx,panx,xquad,tatoeba", "--language", "en,sw,ar", "--seeds", "0,1",
         "--intermediate-rows", "64", "--target-rows", "64", "--test-rows", "20", "--calibration-rows", "20"]


def can_fork(env) -> bool:
    "Whether an environment is, for libraries, the one in which the tests began"
    now = dict(os.environ if env is None else env)
    return FORKING and not any(READ_EARLY.match(name) for name in START.keys() | now.keys() if START.get(name) != now.get(name))


def forked(kind, args, env=None, cwd=None) -> subprocess.CompletedProcess:
    "What `subprocess.run` gives for a program (xitcal's), or for a notebook, without five seconds of imports"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = ask(kind, args, dict(os.environ if env is None else env), str(cwd or Path.cwd()), (out.fileno(), err.fileno()))
        for file in (out, err): file.seek(0)
        return subprocess.CompletedProcess([PROGRAM, *args], code, out.read(), err.read())


def xitcal(*args, check=True, fresh=False, env=None, cwd=None):
    "Run the command line in a process of its own; what it printed. `fresh`: in one that is started, not forked"
    args = [*map(str, args)]
    done = (subprocess.run([PROGRAM, *args], capture_output=True, text=True, env=env, cwd=cwd) if fresh or not can_fork(env)
            else forked("program", args, env, cwd))
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
    # it imports at the first request, and ends when its standard input does
    env = dict(os.environ, MPLBACKEND="module://matplotlib_inline.backend_inline", PYTHONWARNINGS="ignore:IProgress not found")
    config.stash[SERVER] = subprocess.Popen([sys.executable, FORKS, os.environ[ADDRESS]], stdin=subprocess.PIPE, env=env)


def pytest_unconfigure(config):
    if server := config.stash.get(SERVER, None):
        server.stdin.close()
        server.wait()


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
