"""The script of the study on real language, on a small embedded study in its place: condition by condition, and again after an interruption."""
import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xitcal.core.errors import XitcalError
from xitcal.inference.results import read_results, read_seeds
from xitcal.study.grid import Study

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import real_study  # noqa: E402

SMALL = Study(intermediates=("none", "mnli"), targets=("xnli", "tatoeba"), languages=("en", "sw"), seeds=(0, 1), intermediate_rows=32, target_rows=32,
              test_rows=8, calibration_rows=12)


def test_conditions_join_one_by_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real_study, "REAL", SMALL)
    args = argparse.Namespace(out=tmp_path / "out", folder=tmp_path / "stores", precision="fp32", workers=1, budget=4096)
    real_study.run_condition(0, "none", args)
    assert set(read_seeds(args.out).intermediate) == {"none"}
    real_study.run_condition(0, "mnli", args)
    both = read_seeds(args.out)
    assert set(zip(both.intermediate, both.target)) == {(i, t) for i in SMALL.intermediates for t in SMALL.targets}
    results = read_results(args.out)
    assert (results.sums.values["n"][:, 0] > 0).any((2, 3)).all() # paired: every condition has every target
    assert len(results.runs) == 4 and results.sums.unpaired.empty and results.planned == {(i, t) for i in SMALL.intermediates for t in SMALL.targets}
    about = json.loads((args.out / "seed-0.json").read_text())
    assert list(about["conditions"]) == ["none", "mnli"] and about["precision"] == {"full": ["fp32"]}
    assert not list(args.folder.glob("*/stages/*/*.safetensors")) # weights are dropped

    shutil.rmtree(args.folder) # a fresh clone has the results alone
    real_study.run_condition(0, "mnli", args)
    assert "Seed 0, mnli: in out." in capsys.readouterr().out and not args.folder.exists()
    for kind in real_study.KINDS: assert len(read_seeds(args.out, kind)) > 0


def test_conditions_of_one_seed_have_one_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(real_study, "REAL", replace(SMALL, targets=("xnli",)))
    args = argparse.Namespace(out=tmp_path / "out", folder=tmp_path / "stores", precision="fp32", workers=1, budget=4096)
    real_study.run_condition(0, "none", args)
    args.precision = "bf16"
    with pytest.raises(XitcalError, match="Seed 0 was trained in fp32 and mnli in bf16; .* run it again with --precision fp32"):
        real_study.run_condition(0, "mnli", args)
    assert list(json.loads((args.out / "seed-0.json").read_text())["conditions"]) == ["none"]
