"""Nothing is lost: real kills, real damage, two processes on one store, disks that say no."""
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PROGRAM, SMALL, background, xitcal

from xitcal.core.errors import XitcalError
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, record_study, study_cells
from xitcal.study.runner import run_study
from xitcal.study.store import Store

ONE = ["--intermediate", "mnli", "--target", "pawsx", "--language", "en,sw", "--seeds", "0", "--intermediate-rows", "320",
       "--target-rows", "320", "--test-rows", "20"]


def start(store, *args, fresh=False):
    "A run in its own process group"
    how = dict(start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if fresh: return subprocess.Popen([PROGRAM, "run", "--store", str(store), *args], **how)
    return background("program", "run", "--store", store, *args, **how)


def kill(process):
    "SIGKILL to the run, until nothing of it is left that could write"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.read()


def wait_for(condition, process, seconds=120):
    "Until the condition holds or the process has ended"
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return
        time.sleep(.02)


STUDY = Study(intermediates=("mnli",), targets=("pawsx",), languages=("en", "sw"), seeds=(0,), intermediate_rows=320, target_rows=320,
              test_rows=20)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    "The store of a run that nobody disturbed"
    path = tmp_path_factory.mktemp("whole") / "store"
    xitcal("run", "--store", path, "--workers", 1, *ONE)
    return path


@pytest.fixture(scope="module")
def whole(finished):
    "Its predictions"
    return load_predictions(finished)


@pytest.mark.parametrize("moment", ["first checkpoint", "between stages", "anywhere"])
def test_killed_and_resumed_ends_the_same(whole, tmp_path, moment):
    store = tmp_path / "store"
    process = start(store, "--workers", "1", "--save-seconds", "0.2", *ONE)
    if moment == "first checkpoint":
        wait_for(lambda: list(store.glob("work/*/state.safetensors")), process)
    elif moment == "between stages":
        wait_for(lambda: list(store.glob("stages/intermediate-*/manifest.json")), process)
    else:
        wait_for(lambda: (store / "study.json").exists(), process)
        time.sleep(random.uniform(0, 6))
    assert process.poll() is None or moment == "anywhere", process.stderr.read()
    kill(process)
    xitcal("run", "--store", store, "--workers", 1, "--save-seconds", .2, *ONE)
    assert load_predictions(store).equals(whole)
    assert not list((store / "work").iterdir())


def test_a_kill_loses_no_more_than_the_steps_since_the_last_save(tmp_path):
    "Saved after every step of a phase of a hundred: as many saves as were seen, so many steps at least are kept"
    store, saves = tmp_path / "store", set()
    process = start(store, "--workers", "1", "--save-seconds", "0", *ONE, "--intermediate-rows", "3200")
    def seen():
        saves.update((path, path.stat().st_mtime_ns) for path in store.glob("work/*/state.safetensors"))
        return len(saves) >= 5
    wait_for(seen, process)
    kill(process)
    from safetensors import safe_open
    (path,) = store.glob("work/*/state.safetensors")
    with safe_open(path, "pt") as file:
        done = json.loads(file.metadata()["state"])["done"]
    assert done >= len(saves) >= 5


def test_workers_end_with_their_parent(tmp_path):
    store = tmp_path / "store"
    process = start(store, "--workers", "2", *SMALL, fresh=True)
    wait_for(lambda: list(store.glob("locks/*.lock")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end and subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).returncode == 0:
        time.sleep(.2)
    assert subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).returncode == 1


def test_two_processes_share_the_work(whole, tmp_path):
    store = tmp_path / "store"
    both = [start(store, "--workers", "1", *ONE) for _ in range(2)]
    for process in both:
        assert process.wait() == 0, process.stderr.read()
    assert load_predictions(store).equals(whole)
    assert len(list((store / "stages").iterdir())) == 3 and not list((store / "damaged").iterdir())


def _open_and_record(path, seed, gate):
    gate.wait()
    record_study(Store(path), make_plan(Study(targets=("pawsx",), intermediates=("none",), seeds=(seed,))))


def test_many_processes_make_one_store_at_the_same_moment(tmp_path):
    context, n = multiprocessing.get_context("fork"), 8
    for attempt in range(5):
        path, gate = tmp_path / str(attempt), context.Barrier(n)
        makers = [context.Process(target=_open_and_record, args=(path, seed, gate)) for seed in range(n)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
            assert maker.exitcode == 0
        assert sorted(study_cells(path)["seed"]) == list(range(n))


@pytest.mark.parametrize("damage, pattern", [("cut", "prediction-*/predictions.parquet"), ("altered", "prediction-*/predictions.parquet"),
                                             ("missing", "prediction-*/result.json"), ("altered", "prediction-*/manifest.json"),
                                             ("cut", "target-*/model.safetensors")])
def test_damaged_files_are_named_and_made_again(finished, whole, tmp_path, capsys, damage, pattern):
    store = shutil.copytree(finished, tmp_path / "store")
    (path,) = store.glob(f"stages/{pattern}")
    data = bytearray(path.read_bytes())
    if damage == "altered":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:-7] if damage == "cut" else data)
    if damage == "missing":
        path.unlink()
    run_study(STUDY, store, workers=1, progress=False)
    out = capsys.readouterr().out
    assert "Damaged: " in out and path.name in out and path.parent.name in out
    assert load_predictions(store).equals(whole)
    assert len(list((store / "damaged").iterdir())) == 1


def test_a_damaged_checkpoint_is_put_aside(whole, tmp_path):
    store = tmp_path / "store"
    process = start(store, "--workers", "1", "--save-seconds", "0.2", *ONE)
    wait_for(lambda: list(store.glob("work/*/state.safetensors")), process)
    kill(process)
    (path,) = store.glob("work/*/state.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    xitcal("run", "--store", store, "--workers", 1, *ONE)
    assert load_predictions(store).equals(whole)


def test_a_store_of_another_version_or_study_is_left_alone(store):
    before = (store / "study.json").read_text()
    other = xitcal("run", "--store", store, "--target", "xnli", "--test-rows", 7, check=False)
    assert other.returncode == 2 and "belongs to a study with" in other.stderr and "choose another --store" in other.stderr
    assert (store / "study.json").read_text() == before


def test_a_store_of_another_version(tmp_path):
    Store(tmp_path / "s")
    (tmp_path / "s" / "store.json").write_text(json.dumps(dict(format=0, xitcal="0.0.1")))
    done = xitcal("run", "--store", tmp_path / "s", *ONE, check=False)
    assert done.returncode == 2 and "was written by xitcal 0.0.1 (format 0)" in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_is_no_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    done = xitcal("run", "--store", tmp_path, *ONE, check=False)
    assert done.returncode == 2 and "holds no store" in done.stderr
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "is on a full disk"), (errno.EROFS, "is on a read-only disk"),
                                           (errno.EACCES, "may not be written by this user")])
def test_disks_that_say_no(tmp_path, monkeypatch, number, words):
    store = Store(tmp_path / "s")
    plan = make_plan(Study(targets=("tatoeba",), intermediates=("none",)))
    def refuse(*args, **kwargs): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(XitcalError, match=words):
        record_study(store, plan)
    with pytest.raises(XitcalError, match="goes on where it stopped"):
        Store(tmp_path / "new")


def test_a_full_disk_loses_nothing(whole, tmp_path):
    "Under a real limit on the size of a file the run ends in a sentence; without it, it goes on"
    store = tmp_path / "store"
    code = ("import resource, signal; from xitcal.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); main()")
    done = subprocess.run([sys.executable, "-c", code, "run", "--store", str(store), "--workers", "1", *ONE], capture_output=True, text=True)
    assert done.returncode == 2 and "too large for its disk" in done.stderr, done.stderr
    xitcal("run", "--store", store, "--workers", 1, *ONE)
    assert load_predictions(store).equals(whole)
