"""Conditions beyond a task: λ of what intermediate training changes, shares of its steps, chains and weights."""
import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import xitcal

from xitcal.core.errors import XitcalError
from xitcal.data.suites import ADDED, add_task, find_suite
from xitcal.report.figures import condition_look, conditions_in
from xitcal.report.sentences import same_data
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


@pytest.mark.slow
def test_doses_are_conditions_of_predictions_and_of_the_report(doses, tmp_path):
    store = doses[0]
    means = load_predictions(store).to_pandas().groupby(["target", "intermediate"])["confidence"].mean()
    assert study_cells(store)["done"].all() and means["xnli"].nunique() == means["tatoeba"].nunique() == 5
    xitcal("report", "--store", store, "--out", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "MNLI at λ = 0.5" in html and "MNLI for 50 % of its steps" in html


@pytest.mark.slow
def test_dropped_weights_of_doses_come_back(doses, tmp_path):
    store, names = tmp_path / "s", "none,mnli@0.5"
    run(store, names, "--drop-weights")
    assert not list(store.glob("stages/*/*.safetensors"))
    told = run(store, names + ",mnli@1.5", "--drop-weights").stderr
    assert "MNLI, seed 0" in told and "λ = 0.5" not in told # which is done and needed by nothing
    both = [load_predictions(s).to_pandas().query("intermediate == 'mnli@1.5'").sort_values(["target", "language", "example"])["confidence"].to_numpy()
            for s in (doses[0], store)]
    assert (both[0] == both[1]).all()


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    "A study of chains and weights, and its plan"
    names, store = ("none", "mlm", "mlm--mnli", "mnli+squad", "2mnli+squad"), tmp_path_factory.mktemp("mixtures") / "s"
    run(store, ",".join(names), "--target", "xnli")
    return Store(store), make_plan(replace(STUDY, intermediates=names, targets=("xnli",)))


def test_a_link_of_a_chain_starts_from_the_link_before(mixtures):
    place, plan = mixtures
    trained = titled(plan, "intermediate")
    first, last = trained["masked LM alone, seed 0"], trained["masked LM, then MNLI, seed 0"]
    assert last.inputs == (first.name,) and place.manifest(last.name)["inputs"] == [first.name]
    assert first.name in plan_of("mlm").stages and last.facts == titled(plan_of("mnli"), "intermediate")["MNLI, seed 0"].facts
    means = load_predictions(place.path).to_pandas().groupby("intermediate")["confidence"].mean()
    assert study_cells(place.path)["done"].all() and means.nunique() == len(means) == 5


def test_weights_share_the_same_steps_anew(mixtures):
    place, plan = mixtures
    counts = {title.split(",")[0]: pd.Series([h["task"] for h in json.loads((place.folder(s.name) / "result.json").read_text())["history"] if "task" in h])
              .value_counts().to_dict() for title, s in titled(plan, "intermediate").items() if "SQuAD" in title}
    plain, weighed = counts["MNLI + SQuAD v1.1"], counts["2 × MNLI + SQuAD v1.1"]
    assert plain["mnli"] == plain["squad"] and sum(plain.values()) - sum(weighed.values()) in (-1, 0, 1)
    assert weighed["mnli"] / weighed["squad"] == pytest.approx(2, abs=.3)
    costs = estimate(plan).set_index("title").examples
    assert costs["MNLI + SQuAD v1.1, seed 0"] == pytest.approx(costs["2 × MNLI + SQuAD v1.1, seed 0"], abs=1)


def test_chains_and_weights_are_kept_apart_by_figures():
    table = pd.DataFrame(dict(intermediate=["mlm--mnli", "mnli@1.5", "mnli:mlm", "2mnli+squad", "mnli@0.5", "none", "mnli", "mnli@0.25steps"]))
    assert conditions_in(table) == ["none", "mnli", "mnli@0.25steps", "mnli@0.5", "mnli@1.5", "mnli:mlm", "2mnli+squad", "mlm--mnli"]
    looks = {name: condition_look(name) for name in table.intermediate}
    assert looks["mnli@0.5"]["color"] == looks["mnli"]["color"] != looks["mlm--mnli"]["color"]
    assert looks["mlm--mnli"]["label"] == "after masked LM, then MNLI" and looks["2mnli+squad"]["label"] == "after 2 × MNLI + SQuAD v1.1"
    assert same_data("mnli@0.5", "xnli") and same_data("mlm--mnli", "xnli") and not same_data("mlm--mnli", "panx")


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
