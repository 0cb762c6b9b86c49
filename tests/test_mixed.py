"""One store, one study: the same names for other data, conditions or encoders are refused, and what a store of earlier days mixed is not read."""
import json
import os
import shutil
from dataclasses import asdict, replace
from unittest.mock import patch

import pytest
from conftest import xitcal
from encoders import make_encoder
from loopback import Loopback
from repositories import make_repositories

from xitcal.core.errors import XitcalError
from xitcal.data.suites import find_suite
from xitcal.study.export import export_xtreme
from xitcal.study.grid import Study, fingerprint, make_plan
from xitcal.study.ledger import prediction_tables, record_study, study_cells
from xitcal.study.runner import run_study
from xitcal.study.store import Store

FEW = Study(suite="embedded", intermediates=("none",), targets=("tatoeba",), languages=("de",), seeds=(0,), test_rows=8, calibration_rows=0)


def publish(store: Store, plan) -> None:
    "Every stage of a plan as if it were done"
    for stage in plan.stages.values():
        if stage.phase != "pretrained" and not store.published(stage.name):
            with store.publishing(stage.name, dict(facts=stage.facts, inputs=list(stage.inputs))) as folder: (folder / "result.json").write_text("{}")


def contents(store: Store) -> dict: return {p: p.read_bytes() for p in sorted(store.path.rglob("*")) if p.is_file() and p.suffix != ".lock"}


def refused(store: Store, plan, *words: str) -> None:
    "In one sentence that holds these words, and nothing in the store is another"
    before = contents(store)
    with pytest.raises(XitcalError) as error: record_study(store, plan)
    assert all(w in str(error.value) for w in (*words, "choose another --store, or remove stages/prediction-")) and "\n" not in str(error.value), error.value
    assert contents(store) == before


@pytest.fixture
def ours(tmp_path):
    "A folder with files of one's own: Tatoeba and, in `ccg`, a CCGbank"
    (tmp_path / "own/tatoeba").mkdir(parents=True)
    for name, text in (("de.txt", "Hallo.\nGut.\n"), ("en.txt", "Hello.\nGood.\n")): (tmp_path / f"own/tatoeba/de-en.{name[:2]}").write_text(text)
    (tmp_path / "own/labels/tatoeba").mkdir(parents=True)
    (tmp_path / "own/labels/tatoeba/test-de.tsv").write_text("0\n1\n")
    (tmp_path / "bank/ccg").mkdir(parents=True)
    for split in ("train", "dev", "test"): (tmp_path / f"bank/ccg/ccg.{split}").write_text("Mr. left\tNP S[dcl]\\NP\n" * 2)
    return tmp_path


REAL = Study(suite="xtreme", models=("some/encoder",), languages=("de",), seeds=(0,), intermediates=("none",), targets=("tatoeba",))


def test_the_hub_first_and_a_folder_then(ours, monkeypatch):
    store, plan = Store(ours / "store"), make_plan(REAL)
    record_study(store, plan)
    publish(store, plan)
    monkeypatch.setenv("XITCAL_DATA", str(ours / "own"))
    other = make_plan(REAL)
    assert other.cells[0].stage != plan.cells[0].stage  # or there is nothing to refuse
    refused(store, other, "tatoeba after none (model some/encoder, method full)", "task.options.source was 'google/xtreme@main' and is 'files ")
    refused(store, make_plan(replace(REAL, intermediates=("mnli",))), "target tatoeba")  # another condition, on other data
    record_study(store, make_plan(replace(REAL, targets=("xnli",))))  # the folder has nothing of it
    shutil.rmtree(store.folder(plan.cells[0].stage))  # as the sentence says
    record_study(store, other)
    assert study_cells(store.path).query("target == 'tatoeba'").stage.tolist() == [other.cells[0].stage]


def test_many_tasks_without_ccg_and_then_with_it(ours, monkeypatch):
    store, multi = Store(ours / "store"), replace(REAL, intermediates=("multi",), targets=("xnli",), languages=("de",))
    eight = make_plan(multi)
    record_study(store, eight)
    publish(store, eight)
    monkeypatch.setenv("XITCAL_DATA", str(ours / "bank"))
    nine = make_plan(multi)
    refused(store, nine, "xnli after multi (model some/encoder, method full, seed 0)", "intermediate training multi: tasks was 8 of them and is 9 of them now")
    refused(store, make_plan(replace(multi, seeds=(1,))), "intermediate training multi")  # seeds of eight and of nine tasks are no sample


def test_a_model_folder_that_was_written_anew(tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(find_suite("embedded").encoder(), folder)
    study, store = replace(FEW, models=(str(folder),)), Store(tmp_path / "store")
    plan = make_plan(study)
    record_study(store, plan)
    publish(store, plan)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | dict(layer_norm_eps=1e-6)))
    refused(store, make_plan(study), f"model {folder}: weights was 'pretrained-")
    refused(store, make_plan(replace(study, targets=("bucc",))), f"model {folder}: weights was")


def test_a_fingerprint_reads_a_piece_at_a_time_and_once(tmp_path):
    import builtins
    import hashlib
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.safetensors").write_bytes(bytes(range(256)) * 10_000)
    whole = hashlib.sha256(b"".join(p.name.encode() + b"\0" + p.read_bytes() for p in sorted(tmp_path.iterdir()))).hexdigest()
    opened, real = [], builtins.open
    with patch("builtins.open", lambda path, *a, **k: opened.append(path) or real(path, *a, **k)):
        assert fingerprint(tmp_path) == whole == fingerprint(tmp_path) and len(opened) == 2
        (tmp_path / "a.json").write_text("{ }")
        assert fingerprint(tmp_path) != whole
    with patch("pathlib.Path.read_bytes", lambda p: pytest.fail("a whole file was read")): fingerprint(tmp_path)


def test_a_store_of_earlier_days_with_two_stages_of_a_cell(tmp_path):
    path = tmp_path / "store"
    run_study(FEW, path, 1, progress=False)
    store, (cell,) = Store(path), make_plan(FEW).cells
    twin = f"prediction-{'0' * 16}"
    study = json.loads((path / "study.json").read_text())
    (path / "study.json").write_text(json.dumps(study | dict(cells=[asdict(cell), asdict(replace(cell, stage=twin))])))
    assert study_cells(path).stage.tolist() == [cell.stage]  # the other one was never made
    shutil.copytree(store.folder(cell.stage), store.folder(twin))
    for read in (lambda: study_cells(path), lambda: list(prediction_tables(path)), lambda: export_xtreme(path, tmp_path / "out")):
        with pytest.raises(XitcalError, match=f"more than one prediction of tatoeba after none.*keep one of stages/{cell.stage}, stages/{twin}"): read()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("moved", ["the encoder", "data"])
def test_what_moves_on_the_hub_between_two_runs(tmp_path, moved):
    root = make_repositories(tmp_path / "hub", 8)
    made = make_encoder("xlm-roberta-large", tmp_path / "made")
    encoder = root / "models/some/encoder"
    shutil.copytree(made, encoder)
    def run(seed, endpoint, home):
        options = ["--suite", "xtreme", "--model", "some/encoder", "--intermediate", "mnli", "--target", "tatoeba", "--language", "de", "--seeds", seed,
                   "--intermediate-rows", "4", "--test-rows", "4", "--store", tmp_path / "store", "--workers", "1", "--revision", "nyu-mll/glue=main"]
        return xitcal("run", *options, check=False, env=os.environ | dict(
            HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / home), HF_HUB_DISABLE_TELEMETRY="1", XITCAL_COUNTS="off", NO_PROXY="127.0.0.1"))
    with Loopback(root) as hub:
        first = run(0, hub.endpoint, "home")
        assert first.returncode == 0 and "changed on the hub" not in first.stderr, first.stderr
        before = contents(Store(tmp_path / "store"))
        folder = encoder if moved == "the encoder" else root / "datasets/nyu-mll/glue"
        was, now = hub.commit(folder), "0123456789" * 4
        hub.commits[folder] = now
        again = run(1, hub.endpoint, "home" if moved == "the encoder" else "another")  # what is cached is not asked for again
    assert was in again.stderr and now in again.stderr, again.stderr
    if moved == "the encoder":
        assert again.returncode == 2 and again.stderr.count("\n") == 1 and "choose another --store" in again.stderr and f"--revision {was}" in again.stderr
        assert contents(Store(tmp_path / "store")) == before
    else:
        assert again.returncode == 0 and again.stderr.count("Data changed on the hub") == 1 and "--revision nyu-mll/glue=" in again.stderr
