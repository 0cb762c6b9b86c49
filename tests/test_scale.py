"""How work grows: reads and calls are counted, and no test takes a time. Streams give what memory gives, to the last bit."""
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import made_store

from xitcal.calibration.calibrate import calibrate, compare, judge_groups
from xitcal.calibration.prediction_files import Decided, read_decided, read_file
from xitcal.core.errors import XitcalError
from xitcal.study import export, grid, runner
from xitcal.study.export import export_table
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions
from xitcal.study.store import Store
from xitcal.study.summarise import page_events, store_results
from xitcal.training.trainer import Options

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

SMALL = Study(targets=("xnli", "panx"), intermediates=("none", "mnli"), languages=("en", "sw"), seeds=(0, 1))
GROUPS = ["target", "event", "language"]


def counting(calls: Counter, owner, name: str, monkeypatch) -> None:
    "Count the calls of a function from now on"
    made = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **k: (calls.update([name]), made(*a, **k))[1])


def calls_of(study: Study, folder: Path, monkeypatch) -> Counter:
    "What a run asks of a store when its stages cost nothing"
    calls, store, plan = Counter(), Store(folder), make_plan(study)
    def publish(plan, stage, store, *rest):
        with store.publishing(stage.name, dict(facts={}, inputs=[])): pass
    with monkeypatch.context() as patch:
        patch.setattr(runner, "do_stage", publish)
        for name in ("published", "manifest", "dropped"): counting(calls, Store, name, patch)
        runner.work_through(plan, store, Options(drop_weights=True))
    return calls + Counter(stages=len(plan.stages) - 1)


def test_a_run_looks_at_a_stage_so_often_and_not_more_often_in_a_larger_study(tmp_path, monkeypatch):
    small, large = (calls_of(replace(SMALL, seeds=tuple(range(n))), tmp_path / f"{n}", monkeypatch) for n in (2, 12))
    assert large["stages"] == 6 * small["stages"]
    for name in ("published", "manifest", "dropped"):
        assert 0 < large[name] <= 6 * small[name] * 1.1, name


def test_a_plan_hashes_each_name_once(monkeypatch):
    def hashed(n):
        calls = Counter()
        with monkeypatch.context() as patch:
            counting(calls, grid.hashlib, "sha256", patch)
            plan = make_plan(replace(SMALL, seeds=tuple(range(n))))
            before = calls["sha256"]
            for _ in range(3): assert [s.name for s in plan.stages.values()] == list(plan.stages)
        assert calls["sha256"] == before
        return before
    hashed(1) # the encoder's files
    assert hashed(12) - hashed(6) == hashed(18) - hashed(12) > 0


def test_a_report_reads_a_manifest_so_often_and_not_more_often_with_more_seeds(tmp_path, monkeypatch):
    def read(n):
        calls, store = Counter(), made_store(tmp_path / f"{n}", replace(SMALL, targets=("xnli",), seeds=tuple(range(n))), n=4)
        with monkeypatch.context() as patch:
            counting(calls, Store, "manifest", patch)
            store_results(store, progress=False)
        return calls["manifest"]
    assert read(4) <= 2 * read(2)


@pytest.fixture(scope="module")
def store(tmp_path_factory): return made_store(tmp_path_factory.mktemp("scale") / "store", SMALL)


@pytest.fixture(scope="module")
def whole(store): return load_predictions(store)


def test_predictions_are_written_in_row_groups_of_bounded_size(store, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(export.row_groups, "__defaults__", (100,))
    assert export_table(store, tmp_path / "all.parquet") == len(whole) > 1000
    file = pq.ParquetFile(tmp_path / "all.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert set(sizes[:-1]) == {100} and 0 < sizes[-1] <= 100
    assert file.read().equals(whole)


def test_predictions_are_never_in_memory_as_a_whole(store, whole, tmp_path, monkeypatch):
    "What waits for a group is shorter than a group and one model's predictions"
    held, joined = [], pa.concat_tables
    monkeypatch.setattr(export.row_groups, "__defaults__", (100,))
    monkeypatch.setattr(export.pa, "concat_tables", lambda tables: (held.append(sum(map(len, tables))), joined(tables))[1])
    export_table(store, tmp_path / "all.parquet")
    assert 0 < max(held) < len(whole) / 3


def test_an_export_that_ends_early_leaves_no_file(store, tmp_path, monkeypatch):
    def broken(*args, **options):
        yield load_predictions(store).slice(0, 10)
        raise XitcalError("In the store, something is damaged.")
    monkeypatch.setattr(export, "prediction_tables", broken)
    with pytest.raises(XitcalError, match="damaged"): export_table(store, tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()


@pytest.fixture(scope="module")
def files(whole, tmp_path_factory):
    "Predictions of two conditions, each in row groups of 64"
    folder, found = tmp_path_factory.mktemp("files"), {}
    for name in ("none", "mnli"):
        found[name] = folder / f"{name}.parquet"
        table = whole.filter(pa.compute.equal(whole["intermediate"], name))
        pq.write_table(table, found[name], row_group_size=64)
    return found


@pytest.mark.parametrize("everything", [False, True])
def test_a_file_of_many_row_groups_gives_what_memory_gives(files, everything):
    table, part = read_file(files["mnli"]), read_decided(files["mnli"], GROUPS, everything, rows=50)
    assert isinstance(part, Decided) and pq.ParquetFile(files["mnli"]).num_row_groups > 5
    for options in (dict(smooth=not everything, all_estimates=everything),):
        exactly(calibrate(table, GROUPS, **options), calibrate(part, GROUPS, **options))
    exactly(judge_groups(table, GROUPS), judge_groups(part, GROUPS))


def exactly(first, second): pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_comparison_of_two_streams(files):
    whole, parts = ([make(files[n]) for n in ("mnli", "none")] for make in (read_file, lambda path: read_decided(path, GROUPS, rows=50)))
    exactly(compare(*whole, GROUPS), compare(*parts, GROUPS))


def test_at_most_a_part_of_a_file_is_decoded(files, monkeypatch):
    from xitcal.calibration import prediction_files
    seen, decided = [], prediction_files.decisions_and_classes
    monkeypatch.setattr(prediction_files, "decisions_and_classes", lambda table, *a: (seen.append(len(table)), decided(table, *a))[1])
    rows = len(read_decided(files["mnli"], GROUPS, rows=50).rows)
    assert max(seen) <= 50 and sum(seen) == rows


def test_rows_of_many_widths_and_of_none(tmp_path):
    "Probabilities are summed in an order that depends on the widest row of the whole file"
    rng = np.random.default_rng(0)
    widths = [3] * 70 + [20] * 5 + [9] * 25
    table = pd.DataFrame(dict(logits=[rng.normal(size=w).astype(np.float32) for w in widths], label=[int(rng.integers(w)) for w in widths],
                              example=np.arange(100.), language="en"))
    table.loc[::7, "label"] = -100
    table.to_parquet(tmp_path / "a.parquet")
    exactly(calibrate(read_file(tmp_path / "a.parquet")), calibrate(read_decided(tmp_path / "a.parquet", rows=30)))


def test_a_page_refuses_more_events_than_it_holds(store, whole):
    assert len(page_events(store, len(whole) * 3)) == len(whole)
    with pytest.raises(XitcalError, match="and this page compares at most 99 at once"): page_events(store, 99)


def test_growth_is_computed():
    import scale
    sizes = [100, 1000, 10000]
    table = pd.DataFrame([dict(axis="stages", work="plan", stages=n, seconds=1e-6 * n**2, before=400., mebibytes=400 + .01 * n) for n in sizes]
                         + [dict(axis="stages", work="flat", stages=n, seconds=1., before=400., mebibytes=400.) for n in sizes])
    found = scale.growth(table).set_index(["work", "measure"])
    time, memory, flat = (found.loc[k] for k in (("plan", "seconds"), ("plan", "mebibytes"), ("flat", "seconds")))
    assert time.exponent == pytest.approx(2) and time.at_aim == pytest.approx(1e4) and time.largest == pytest.approx((86400 / 1e-6)**.5)
    assert memory.exponent == pytest.approx(1) and memory.at_aim == pytest.approx(1400) and memory.largest == pytest.approx((16384 - 400) / .01)
    assert flat.exponent == 0 and flat.at_aim == 1 and flat.largest == float("inf")


def test_a_constant_part_does_not_hide_growth():
    import scale
    table = pd.DataFrame([dict(axis="events", work="calibrate", events=n, seconds=5 + 1e-5 * n, before=0., mebibytes=1.) for n in (10**4, 10**5, 10**6)])
    time = scale.growth(table).set_index("measure").loc["seconds"]
    assert time.exponent < 1 and time.at_aim == pytest.approx(5 + 1e4) and time.largest == pytest.approx((86400 - 5) / 1e-5)


def test_the_stages_of_a_grid():
    import scale
    for size in (100, 1000):
        assert len(make_plan(scale.study_of(size, 2)).stages) == scale.stage_count(size) + 1
