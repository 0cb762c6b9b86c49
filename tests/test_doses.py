"""The study of doses, on a small embedded study in its place: a seed whose results lack conditions is completed from its store."""
import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from xitcal.data.tasks import read_condition
from xitcal.inference.results import read_results
from xitcal.study.grid import Study, make_plan
from xitcal.study.protocol import DOSE

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import full_study  # noqa: E402

EARLIER = Study(intermediates=("none", "mnli", "mnli@0.5"), targets=("xnli",), languages=("en", "sw"), seeds=(2,), intermediate_rows=32, target_rows=32,
                test_rows=8, calibration_rows=8)
LATER = replace(EARLIER, intermediates=(*EARLIER.intermediates, "mnli@0.5after"))


def run(seed, study, folder, again=False):
    args = argparse.Namespace(out=folder / "out", folder=folder / "stores", encoder=None, dose=True, workers=1, tables=again)
    args.out.mkdir(exist_ok=True)
    full_study.run_seed(seed, {"full": study}, args)
    tables = {kind: pd.read_parquet(args.out / f"seed-{seed}-{kind}.parquet") for kind in full_study.KINDS}
    return tables, json.loads((args.out / f"seed-{seed}.json").read_text())


def test_a_seed_that_lacks_the_merges_is_completed_without_training(tmp_path, capsys):
    before, about = run(2, EARLIER, tmp_path)
    store = tmp_path / "stores" / "dose-2"
    times = {p.parent.name: p.stat().st_mtime_ns for p in store.glob("stages/*/manifest.json")}
    assert full_study.lacking({"full": LATER}, 2, before) == ["full"] and full_study.lacking({"full": EARLIER}, 2, before) == []
    (tmp_path / "out" / "seed-2-runs.parquet").unlink() # as an earlier version left it
    after, grown = run(2, LATER, tmp_path)
    now = {p.parent.name: p.stat().st_mtime_ns for p in store.glob("stages/*/manifest.json")}
    assert times.items() < now.items() and len(list(store.glob("stages/target-*/*.safetensors"))) == 3 # the script drops no weights
    assert sorted(n.partition("-")[0] for n in now.keys() - times.keys()) == ["merged", "prediction"]
    for kind, table in before.items():
        text = {c: str for c in table.select_dtypes("category")}
        kept = after[kind][after[kind].intermediate.astype(str) != "mnli@0.5after"].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept.astype(text), table.astype(text))
        assert set(after[kind].intermediate.astype(str)) == set(LATER.intermediates)
    assert (grown["date"], grown["command"]) == (about["date"], "python scripts/full_study.py --dose --seeds 2")
    assert ["mnli@0.5after", "xnli"] in grown["planned"]["full"] and "trained again" not in capsys.readouterr().err
    results = read_results(tmp_path / "out")
    assert set(results.sums.conditions) == set(LATER.intermediates)
    run(2, LATER, tmp_path) # and then nothing is left to do
    assert "Seed 2 is in" in capsys.readouterr().out
    again, _ = run(2, LATER, tmp_path, again=True)
    assert len(again["cells"]) == len(after["cells"])


@pytest.mark.parametrize("seed", DOSE.seeds)
def test_merges_of_the_study_need_no_training_of_their_own(seed):
    registered = tuple(n for n in DOSE.intermediates if read_condition(n).after == 1)
    assert [n for n in DOSE.intermediates if n not in registered] == ["mnli@0.5after", "squad@0.5after"]
    first, whole = (make_plan(replace(DOSE, seeds=(seed,), intermediates=names)) for names in (registered, DOSE.intermediates))
    assert list(first.stages) == [n for n in whole.stages if n in first.stages] and len(whole.cells) - len(first.cells) == 6
    new = [s for n, s in whole.stages.items() if n not in first.stages]
    assert {s.phase for s in new} == {"merged", "prediction"} and len(new) == 12
    merged = [s for s in new if s.phase == "merged"]
    assert all(i in first.stages for s in merged for i in s.inputs) and {s.facts["dose"] for s in merged} == {.5}


def test_committed_seeds_are_of_conditions_that_the_study_has():
    "A seed may lack the merges that joined later, never another condition"
    late = {n for n in DOSE.intermediates if read_condition(n).after != 1}
    for path in sorted((ROOT / "studies" / "dose").glob("seed-*-cells.parquet")):
        there = set(pd.read_parquet(path, columns=["intermediate"]).intermediate.astype(str))
        assert set(DOSE.intermediates) - late <= there <= set(DOSE.intermediates)
