"""`--engine ray` on a cluster of two nodes on this machine: the same predictions, also when a node or the process that started the run dies."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import background, xitcal

from xitcal.core.errors import XitcalError
from xitcal.study import ray_engine
from xitcal.study.grid import Study, make_plan
from xitcal.study.runner import run_study
from xitcal.study.store import Store

USUAL = dict(os.environ)  # in which processes may be forked; xitcal forbids reports by itself
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

NODE = dict(num_cpus=1, object_store_memory=80 * 2**20)
STUDY = Study(intermediates=("none",), targets=("udpos", "xnli"), languages=("en", "sw"), seeds=(0,), target_rows=1200, test_rows=8, calibration_rows=12)
OPTIONS = ["--intermediate", "none", "--target", "udpos,xnli", "--language", "en,sw", "--seeds", "0", "--target-rows", "1200", "--test-rows", "8",
           "--calibration-rows", "12", "--save-seconds", "0"]


@pytest.fixture(scope="module")
def cluster():
    "Two nodes with a core each; the tests run on the first"
    for again in (True, True, False):
        try:
            cluster = Cluster(initialize_head=True, head_node_args=NODE | dict(include_dashboard=False))
            cluster.add_node(**NODE)
            break
        except Exception: # on a busy machine Ray gives a node half a minute to start
            if not again: raise
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    "Checksums of the predictions of a run without Ray"
    path = tmp_path_factory.mktemp("usual")
    run_study(STUDY, path, workers=1, progress=False)
    return checksums(path)


def checksums(path: Path) -> dict[str, str]:
    "Of the predictions of all cells of the study"
    store = Store(path, create=False)
    return {c.stage: store.manifest(c.stage)["files"]["predictions.parquet"]["sha256"] for c in make_plan(STUDY).cells}


def start(cluster, store: Path) -> subprocess.Popen:
    "The command line, as a process of its own"
    return background("program", "run", "--store", store, *OPTIONS, "--engine", "ray", "--address", cluster.address, env=USUAL, stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE, text=True)


def wait_for(condition, run: subprocess.Popen, seconds: float = 300.) -> None:
    "Until something holds while a run goes on"
    until = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(.02)


def under_way(store: Path) -> list[Path]:
    "Trainings that have written a checkpoint and are not published"
    return [p for p in (store / "work").glob("target-*") if any(p.rglob("*.safetensors")) and not (store / "stages" / p.name / "manifest.json").exists()]


def finished(run: subprocess.Popen) -> str:
    "What a run said that ended well"
    out, err = run.communicate(timeout=400)
    assert run.returncode == 0, err
    return out


def test_a_node_that_dies_in_a_training_changes_nothing(cluster, usual, tmp_path):
    store, other = tmp_path / "store", cluster.worker_nodes and next(iter(cluster.worker_nodes))
    run = start(cluster, store)
    wait_for(lambda: len(under_way(store)) == 2, run) # one on each node
    cluster.remove_node(other, allow_graceful=False)
    cluster.add_node(**NODE)
    assert "All 4 stages are in" in finished(run)
    assert checksums(store) == usual


def test_a_driver_that_dies_and_two_that_go_on(cluster, usual, tmp_path):
    store = tmp_path / "store"
    first = start(cluster, store)
    wait_for(lambda: under_way(store), first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    for run in [start(cluster, store) for _ in range(2)]: assert "All 4 stages are in" in finished(run)
    assert checksums(store) == usual
    assert not list((store / "damaged").glob("*"))


def test_faults_of_a_cluster_are_one_sentence(tmp_path, monkeypatch):
    for more, said in ((["--engine", "ray", "--address", "127.0.0.1:1"], "No Ray cluster listens at 127.0.0.1:1"),
                       (["--engine", "ray", "--address", "ray://127.0.0.1:10001"], "is no address of a Ray cluster; write HOST:PORT"),
                       (["--engine", "rya"], "did you mean 'ray'?"), (["--address", "127.0.0.1:1"], "--address is for --engine ray")):
        run = xitcal("run", "--store", tmp_path / "store", *OPTIONS, *more, check=False, env=USUAL)
        assert run.returncode == 2 and said in run.stderr and "Traceback" not in run.stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(XitcalError, match=r"Ray is not installed; pip install 'xitcal\[ray\]'"): ray_engine.RayEngine()(None, None, None, None)


def test_what_a_task_ends_with_is_said_in_one_sentence(monkeypatch):
    found = {"own": ray.exceptions.RayTaskError("f", "traceback", XitcalError("A clear sentence.")),
             "lacking": ray.exceptions.RayTaskError("f", "No module named 'xitcal'", ImportError("No module named 'xitcal'")),
             "memory": ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.\nMore"),
             "crash": ray.exceptions.WorkerCrashedError(), "code": ray.exceptions.RayTaskError("f", "traceback", ValueError("a fault of ours"))}

    def get(ref): raise found[ref]
    monkeypatch.setattr(ray, "get", get)
    for ref, kind, said in (("own", XitcalError, "^A clear sentence.$"), ("lacking", XitcalError, "A Ray node has no xitcal; install it"),
                            ("memory", XitcalError, "XNLI ran out of memory .* smaller --budget"), ("crash", XitcalError, "Ray gave up XNLI"),
                            ("code", RuntimeError, "A stage failed on a Ray node")):
        with pytest.raises(kind, match=said): ray_engine._check_result(ray, ref, "XNLI")


def test_nodes_of_another_version_or_without_the_store_end_the_run(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine.xitcal, "__version__", "0.0")
    engine = ray_engine.RayEngine(cluster.address)
    work = ray_engine._Work
    monkeypatch.setattr(ray_engine, "_Work", lambda *args: work(*args, version="0.0"))
    with pytest.raises(XitcalError, match="Ray node .* has xitcal .* and this run has 0.0; install the same version"):
        run_study(STUDY, tmp_path / "store", progress=False, engine=engine)
    monkeypatch.setattr(ray_engine, "_Work", lambda plan, path, *args: work(plan, tmp_path / "elsewhere", *args))
    with pytest.raises(XitcalError, match="does not see the store .*elsewhere"):
        run_study(STUDY, tmp_path / "store", progress=False, engine=engine)
    assert not ray.is_initialized()
    shutil.rmtree(tmp_path / "store")
    assert json.dumps(vars(engine)) # nothing of a cluster stays in the engine
