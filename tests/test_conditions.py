"""Conditions beyond a task: λ of what intermediate training changes, shares of its steps, chains and weights."""
import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import xitcal

from xitcal.core.errors import XitcalError
from xitcal.data.suites import ADDED, add_task, find_suite
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, study_cells
from xitcal.study.plan_text import estimate
from xitcal.study.store import Store
from xitcal.training.models import load_encoder

FEW = ("--target", "xnli,tatoeba", "--language", "en,sw", "--seeds", 0, "--intermediate-rows", 64, "--target-rows", 32, "--test-rows", 8,
       "--calibration-rows", 8, "--workers", 1)
STUDY = Study(targets=("xnli", "tatoeba"), languages=("en", "sw"), seeds=(0,), intermediate_rows=64, target_rows=32, test_rows=8, calibration_rows=8)


def plan_of(*names): return make_plan(replace(STUDY, intermediates=names))


def run(store, names, *more): return xitcal("run", "--store", store, "--intermediate", names, *FEW, *more)


def phases(plan): return pd.Series([s.phase for s in plan.stages.values()]).value_counts().to_dict()


def titled(plan, phase): return {s.title: s for s in plan.stages.values() if s.phase == phase}


def weights(path): return {n: p.detach() for n, p in load_encoder(path).named_parameters() if not n.startswith("pooler.")}


@pytest.fixture(scope="module")
def doses(tmp_path_factory):
    "A study of doses, run in two goes"
    store = tmp_path_factory.mktemp("doses") / "s"
    run(store, "none,mnli,mnli@0.5")
    before = {p.parent.name: p.stat().st_mtime_ns for p in store.glob("stages/*/manifest.json")}
    run(store, "none,mnli,mnli@0.5,mnli@1.5,mnli@0.5steps")
    return store, before


def test_weights_at_a_dose_are_those_of_the_formula(doses):
    place, plan = Store(doses[0]), plan_of("mnli@0.5", "mnli@1.5")
    merged = titled(plan, "merged")
    start, (trained,) = weights(find_suite("embedded").encoder()), titled(plan, "intermediate").values()
    end = weights(place.folder(trained.name))
    assert any(not torch.equal(start[n], end[n]) for n in start)
    for dose in (.5, 1.5):
        folder = place.folder(merged[f"MNLI at λ = {dose:g}, seed 0"].name)
        found = weights(folder)
        assert found.keys() == start.keys() and {w.dtype for w in found.values()} == {torch.float32}
        assert all(torch.allclose(found[n], (1 - dose) * start[n] + dose * end[n], atol=1e-6) for n in start)
        assert not [f for f in folder.iterdir() if f.suffix in (".bin", ".pt")]


def test_doses_share_one_training_and_nothing_is_done_twice(doses):
    store, earlier = doses
    now = {p.parent.name: p.stat().st_mtime_ns for p in store.glob("stages/*/manifest.json")}
    plan = plan_of("none", "mnli", "mnli@0.5", "mnli@1.5", "mnli@0.5steps")
    assert earlier.items() < now.items() and now.keys() == {n for n, s in plan.stages.items() if s.phase != "pretrained"}
    assert phases(plan) == dict(pretrained=1, intermediate=2, merged=2, target=5, prediction=10)
    steps = {title: json.loads((Store(store).folder(s.name) / "result.json").read_text())["steps"] for title, s in titled(plan, "intermediate").items()}
    assert steps["MNLI for 50 % of its steps, seed 0"] * 2 == steps["MNLI, seed 0"]


def test_doses_are_conditions_of_predictions_and_of_the_report(doses, tmp_path):
    store = doses[0]
    means = load_predictions(store).to_pandas().groupby(["target", "intermediate"])["confidence"].mean()
    assert study_cells(store)["done"].all() and means["xnli"].nunique() == means["tatoeba"].nunique() == 5
    xitcal("report", "--store", store, "--out", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "MNLI at λ = 0.5" in html and "MNLI for 50 % of its steps" in html


def test_dropped_weights_of_doses_come_back(doses, tmp_path):
    store, names = tmp_path / "s", "none,mnli@0.5"
    run(store, names, "--drop-weights")
    assert not list(store.glob("stages/*/*.safetensors"))
    told = run(store, names + ",mnli@1.5", "--drop-weights").stderr
    assert "MNLI, seed 0" in told and "λ = 0.5" not in told # which is done and needed by nothing
    both = [load_predictions(s).to_pandas().query("intermediate == 'mnli@1.5'").sort_values(["target", "language", "example"])["confidence"].to_numpy()
            for s in (doses[0], store)]
    assert (both[0] == both[1]).all()


def test_a_dose_costs_nothing_and_its_encoder_takes_its_disk(doses):
    costs = estimate(plan_of("mnli@0.5", "mnli@0.5steps", "mnli")).set_index("title")
    assert costs.tokens["MNLI at λ = 0.5, seed 0"] == 0 == costs.seconds["MNLI at λ = 0.5, seed 0"]
    assert costs.examples["MNLI for 50 % of its steps, seed 0"] * 2 == costs.examples["MNLI, seed 0"]
    assert "Disk: 4 trained models" in xitcal("plan", "--intermediate", "none,mnli@0.5", *FEW[:-2]).stdout


@pytest.mark.parametrize("name, said", [("mnli@x", "λ = x is no number above 0 and at most 1.5"), ("mnli@0", "write none"), ("mnli@1", "leave @1 out"),
                                        ("mnli@2", "at most 1.5"), ("mnli@2steps", "between 0 and 1"), ("mlm--mlm", "has mlm twice"),
                                        ("mlm--mnil", "did you mean 'mnli'?"), ("2mnli", "one of several tasks"), ("none@0.5", "stands alone")])
def test_names_without_sense_end_in_one_sentence(name, said):
    with pytest.raises(XitcalError, match=said.replace("?", r"\?")) as error: plan_of(name)
    assert "\n" not in str(error.value)


def test_the_command_line_says_so_too(tmp_path):
    done = xitcal("plan", "--intermediate", "mnli@9", check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Condition 'mnli@9' cannot be: λ = 9" in done.stderr


def test_tasks_of_a_users_own_have_no_sign_of_the_grammar_in_their_name():
    suite = find_suite("embedded")
    rows = suite.rows("mnli", "train", n=8)
    try:
        for name in ("a@b", "a--b", "2a", "a+b", "a:b", ""):
            with pytest.raises(XitcalError, match="cannot be called"): add_task(replace(suite.tasks["mnli"], name=name), rows, rows)
        add_task(replace(suite.tasks["mnli"], name="a-b2"), rows, rows)
        assert phases(plan_of("a-b2@0.5"))["merged"] == 1
    finally: ADDED.clear()
