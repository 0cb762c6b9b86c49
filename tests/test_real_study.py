"""The script of the study on real language, on a small embedded study in its place: condition by condition, and again after an interruption."""
import argparse
import itertools
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from xitcal.core.errors import XitcalError
from xitcal.inference.results import read_results, read_seeds
from xitcal.study.grid import Study

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import real_study  # noqa: E402

SMALL = Study(intermediates=("none", "mnli"), targets=("xnli", "tatoeba"), languages=("en", "sw"), seeds=(0, 1), intermediate_rows=32, target_rows=32,
              test_rows=8, calibration_rows=12)
PARTS = {"pairs": ("xnli",), "retrieval": ("tatoeba",)}


@pytest.fixture
def args(tmp_path, monkeypatch):
    "A small study in the place of the real one, and the script's arguments"
    monkeypatch.setattr(real_study, "REAL", SMALL)
    monkeypatch.setattr(real_study, "REAL_PARTS", PARTS)
    return argparse.Namespace(out=tmp_path / "out", folder=tmp_path / "stores", precision="fp32", workers=1, budget=4096)


def test_pieces_join_one_by_one(args):
    real_study.run_piece(0, "none", "pairs", args)
    assert set(read_seeds(args.out).intermediate) == {"none"}
    real_study.run_piece(0, "mnli", "pairs", args)
    assert list(args.folder.glob("*/stages/intermediate-*/*.safetensors")) # the other part starts from it
    assert not list(args.folder.glob("*/stages/target-*/*.safetensors")) # nothing starts from these any more
    results = read_results(args.out)
    assert results.sums.targets == ["xnli"] and set(results.sums.conditions) == set(SMALL.intermediates)


def test_a_training_that_parts_share_is_done_and_counted_once(args, capsys, monkeypatch):
    monkeypatch.setattr(real_study, "processor_seconds", itertools.count(0, 100).__next__) # a hundred seconds a piece
    for condition in SMALL.intermediates:
        for part in PARTS: real_study.run_piece(0, condition, part, args)
    both = read_seeds(args.out)
    assert set(zip(both.intermediate, both.target)) == {(i, t) for i in SMALL.intermediates for t in SMALL.targets}
    assert not both.drop(columns=[c for c in both if c not in ("intermediate", "target", "language", "event", "block")]).duplicated().any()
    results = read_results(args.out)
    assert (results.sums.values["n"][:, 0] > 0).any((2, 3)).all() # paired: every condition has every target
    assert len(results.runs) == 4 and results.sums.unpaired.empty and results.planned == {(i, t) for i in SMALL.intermediates for t in SMALL.targets}
    about = json.loads((args.out / "seed-0.json").read_text())
    assert list(about["pieces"]) == ["none pairs", "none retrieval", "mnli pairs", "mnli retrieval"] and about["precision"] == {"full": ["fp32"]}
    assert len(list(args.folder.glob("*/stages/intermediate-*"))) == 1 # one MNLI for both parts
    assert about["core_seconds"] == {"full": 4 * 100} # each piece is counted, and what is there already is not
    assert not list(args.folder.glob("*/stages/*/*.safetensors")) # weights are dropped

    shutil.rmtree(args.folder) # a fresh clone has the results alone
    real_study.run_piece(0, "mnli", "pairs", args)
    assert "Seed 0, mnli pairs: in out." in capsys.readouterr().out and not args.folder.exists()
    for kind in real_study.KINDS: assert len(read_seeds(args.out, kind)) > 0


def test_pieces_join_results_that_an_older_version_named(args):
    real_study.run_piece(0, "none", "pairs", args)
    path = args.out / "seed-0-cells.parquet"
    pd.read_parquet(path).rename(columns={"ece_15": "ece"}).to_parquet(path) # as version 0.1 wrote it
    real_study.run_piece(0, "mnli", "pairs", args)
    cells = read_seeds(args.out, "cells")
    assert cells.columns.is_unique and cells.ece_15.notna().all()


def test_a_length_of_target_fine_tuning_is_a_setting_of_its_own(args, monkeypatch):
    monkeypatch.setattr(real_study, "processor_seconds", itertools.count(0, 100).__next__)
    for length in (2., 1.):
        for condition in SMALL.intermediates: real_study.run_piece(0, condition, "pairs", args, length)
    real_study.run_piece(0, "none", "retrieval", args, 2.) # nothing is fine-tuned, so there is nothing to do
    usual, longer = read_results(args.out), read_results(args.out, "full×2")
    assert usual.sums.targets == longer.sums.targets == ["xnli"] and usual.planned == longer.planned == {(i, "xnli") for i in SMALL.intermediates}
    assert (usual.sums.values["n"] == longer.sums.values["n"]).all() # the same examples
    assert not (usual.sums.values["nll"] == longer.sums.values["nll"]).all() # by other models
    assert len(list(args.folder.glob("*/stages/intermediate-*"))) == 1 # one MNLI for both lengths
    about = json.loads((args.out / "seed-0.json").read_text())
    assert list(about["pieces"]) == ["none pairs full×2", "mnli pairs full×2", "none pairs", "mnli pairs"]
    assert about["core_seconds"] == {"full×2": 200, "full": 200}


def test_pieces_of_one_seed_have_one_precision(args):
    real_study.run_piece(0, "none", "pairs", args)
    args.precision = "bf16"
    with pytest.raises(XitcalError, match="Seed 0 was trained in fp32 and mnli pairs in bf16; .* run it again with --precision fp32"):
        real_study.run_piece(0, "mnli", "pairs", args)
    assert list(json.loads((args.out / "seed-0.json").read_text())["pieces"]) == ["none pairs"]


@pytest.mark.parametrize("parts", [("pairs", "retrieval"), ("retrieval", "pairs")])
def test_a_piece_without_a_training_has_no_precision_and_joins_any(args, parts):
    for part in parts: real_study.run_piece(0, "none", part, args)
    about = json.loads((args.out / "seed-0.json").read_text())
    assert list(about["pieces"]) == [f"none {part}" for part in parts]
    assert about["precision"] == {"full": ["fp32"]} and about["settings"]["full"]["precision"] == "fp32"
    assert set(read_results(args.out).sums.targets) == {"xnli", "tatoeba"}


def test_an_english_temperature_on_the_pieces(args):
    import real_recalibration
    for condition in SMALL.intermediates: real_study.run_piece(0, condition, "pairs", args)
    table = real_recalibration.recalibration(sorted(args.folder.glob("0-*")))
    assert set(table.quantity) == {"gain", "signed_ce_before", "signed_ce"} and set(table.what) == {"level", "change"}
    assert set(table.language.astype(str)) == {"en", "sw", "others"} and set(table.intermediate.astype(str)) == {"none", "mnli"}
    changed = table[(table.what == "change") & (table.language == "sw")].set_index("quantity").value
    levels = table[(table.what == "level") & (table.language == "sw")].pivot_table(index="quantity", columns="intermediate", values="value", observed=True)
    assert abs(changed - (levels["mnli"] - levels["none"])).max() < 1e-12
