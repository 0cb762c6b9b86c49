"""What goes wrong in real studies ends in one clear sentence, loses nothing, and the same command goes on once it is put right."""
import errno
import itertools
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from encoders import make_encoder
from test_local import download_folder, no_hub  # noqa: F401 (a fixture of every test here)

from xitcal.core.errors import XitcalError
from xitcal.report.sentences import fault_sentence
from xitcal.study import stages
from xitcal.study.grid import Study
from xitcal.study.ledger import load_predictions, source_records
from xitcal.study.runner import run_study
from xitcal.study.store import Store
from xitcal.training import trainer
from xitcal.training.trainer import Options


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    "A tiny encoder"
    return str(make_encoder("xlm-roberta-large", tmp_path_factory.mktemp("encoder") / "tiny"))


@pytest.fixture
def real(tmp_path, encoder, monkeypatch):
    "PAWS-X from a folder of files, with a study that trains on it; German and English are there"
    root = download_folder(tmp_path / "data", ("en", "de"))
    monkeypatch.setenv("XITCAL_DATA", str(root))
    for remembered in (stages._loaded, stages._material):  # rows of another test's folder
        remembered.cache_clear()
    study = Study(suite="xtreme", models=(encoder,), targets=("pawsx",), intermediates=("none",), languages=("en", "de"), seeds=(0,), target_rows=8,
                  test_rows=8, calibration_rows=4)
    return root, study, tmp_path / "store"


def sentence(study, store) -> str:
    "What a run says that cannot go on: one line that is no traceback"
    with pytest.raises(XitcalError) as told: run_study(study, store, workers=1, progress=False)
    assert "\n" not in str(told.value) and str(told.value).endswith("."), told.value
    return str(told.value)


def kept(store) -> dict:
    "Files of published stages and when they were written"
    return {str(p.relative_to(store)): p.stat().st_mtime_ns for p in store.glob("stages/*/*") if p.is_file()}


def test_a_folder_that_lacks_a_language(real):
    root, study, store = real
    run_study(study, store, workers=1, progress=False)
    before = kept(store)
    said = sentence(replace(study, languages=("en", "de", "fr")), store.with_name("other"))
    assert "Task pawsx, language fr" in said and kept(store) == before


@pytest.mark.parametrize("gone", ["pawsx/test-de.tsv", "pawsx/train-en.tsv"])
def test_a_folder_that_lacks_a_file(real, gone):
    "The training that needs no such file is kept, and used when the file is there again"
    root, study, store = real
    aside = (root / gone).rename(root.parent / "aside")
    said = sentence(study, store)
    assert "Task pawsx" in said and ("de" if "test" in gone else "train") in said
    before = kept(store)
    aside.rename(root / gone)
    plan = run_study(study, store, workers=1, progress=False)
    assert all(Store(store).published(s.name) for s in plan.stages.values() if s.phase != "pretrained")
    assert before.items() <= kept(store).items()
    assert load_predictions(store).num_rows == 16


def test_labels_that_are_missing_for_some_pairs(real):
    "Pairs without a label are left out, counted and told; a file with fewer labels than pairs is refused"
    root, study, store = real
    path = root / "labels/pawsx/test-de.tsv"
    whole = path.read_text().splitlines()
    path.write_text("\n".join(whole[:-2]) + "\n")
    assert "has 12 records, but its file of labels" in (said := sentence(study, store)) and "has 10; get both from one release" in said
    path.write_text("\n".join(["", *whole[1:]]) + "\n")
    for remembered in (stages._loaded, stages._material):
        remembered.cache_clear()
    run_study(study, store, workers=1, progress=False)
    told = fault_sentence(source_records(store))
    assert "1 without a label of" in told or "1 left out" in told, told


def test_another_encoder_of_the_same_name(real, encoder):
    "The weights of a model folder were exchanged: the store keeps what it has and says so"
    root, study, store = real
    folder = root.parent / "encoder"
    shutil.copytree(encoder, folder)
    study = replace(study, models=(str(folder),))
    run_study(study, store, workers=1, progress=False)
    before = kept(store)
    weights = next(folder.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    said = sentence(replace(study, seeds=(0, 1)), store)
    assert f"model {folder}: weights was" in said and "choose another --store" in said and kept(store) == before


SMALL = Study(targets=("pawsx",), intermediates=("mnli",), languages=("en", "sw"), seeds=(0,), intermediate_rows=128, target_rows=128, test_rows=10,
              calibration_rows=10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The predictions of a run that nothing disturbed"
    path = tmp_path_factory.mktemp("whole") / "store"
    run_study(SMALL, path, workers=1, progress=False)
    return load_predictions(path)


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "is on a full disk; free some space"), (errno.EDQUOT, "is over its disk quota")])
def test_a_disk_that_fills_during_a_checkpoint(whole, tmp_path, monkeypatch, number, words):
    "Half of the second checkpoint is written; the first one stays, and the run goes on from it"
    store, saves, real_save, ticks = tmp_path / "store", [], trainer.save_file, itertools.count()
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: (next(ticks) + 1) // 2))  # a save takes no time, a step a second

    def full(tensors, path, *args, **options):
        if "state.safetensors" not in str(path): return real_save(tensors, path, *args, **options)
        saves.append(path)
        real_save(tensors, path, *args, **options)
        if len(saves) == 2:
            os.truncate(path, os.path.getsize(path) // 2)
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(trainer, "save_file", full)
    with pytest.raises(XitcalError, match=words) as told:
        run_study(SMALL, store, workers=1, options=Options(save_seconds=0), progress=False)
    assert "it goes on where it stopped" in str(told.value) and "\n" not in str(told.value)
    (path,) = store.glob("work/*/state.safetensors")
    assert trainer._read_state(path, {})[1]["done"] == 1
    monkeypatch.setattr(trainer, "save_file", real_save)
    run_study(SMALL, store, workers=1, progress=False)
    assert load_predictions(store).equals(whole) and not list((store / "work").iterdir())
