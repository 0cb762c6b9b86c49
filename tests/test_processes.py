"""Every process that xitcal starts beside others gets its share of linear-algebra threads."""
import os
import re
from pathlib import Path

import nbformat

from xitcal.core.processes import THREAD_VARIABLES
from xitcal.report.html import run_notebook
from xitcal.study import runner
from xitcal.study.grid import Study
from xitcal.study.runner import run_study
from xitcal.training.trainer import Options

ROOT = Path(__file__).parents[1]
COUNT = "import numpy, threadpoolctl; print(sorted({p['num_threads'] for p in threadpoolctl.threadpool_info()}))"


def test_a_page_of_the_report_runs_with_one_thread(tmp_path, monkeypatch, started_kernels):
    for name in THREAD_VARIABLES: monkeypatch.setenv(name, "7")
    path = tmp_path / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(COUNT)]), path)
    done = run_notebook(path, tmp_path)
    assert done.cells[0].outputs[0].text.strip() == "[1]"


def _note(folder):
    "What a worker finds in its environment, before any library reads it"
    (Path(folder) / str(os.getpid())).write_text(repr({os.environ.get(n) for n in THREAD_VARIABLES}))


def worker(plan, path, options, threads, parent, messages, added=()):
    "Stands for the worker of the runner, and publishes nothing"
    _note(os.environ["SEEN"])


def test_workers_share_the_cores(tmp_path, monkeypatch):
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setattr(runner, "_worker", worker)
    monkeypatch.setattr(runner.os, "cpu_count", lambda: 4)
    study = Study(intermediates=("none",), targets=("xnli", "pawsx"), seeds=(0,), target_rows=8, test_rows=4, calibration_rows=4)
    before = {n: os.environ.get(n) for n in THREAD_VARIABLES}
    run_study(study, tmp_path / "store", workers=2, options=Options(), progress=False)
    assert [p.read_text() for p in seen.iterdir()] == ["{'2'}"] * 2
    assert {n: os.environ.get(n) for n in THREAD_VARIABLES} == before


def test_whoever_starts_processes_side_by_side_sets_their_threads():
    starts = re.compile(r"NotebookClient\(|ProcessPoolExecutor\(|\.Process\(|Pool\(")
    for path in [*ROOT.glob("xitcal/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py")]:
        text = path.read_text(encoding="utf-8")
        if any("Thread" not in line for line in text.splitlines() if starts.search(line)):
            assert re.search(r"thread_settings|threads_of_children|OMP_NUM_THREADS", text), path
