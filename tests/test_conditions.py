"""Conditions beyond a task: λ of what intermediate training changes, before or after target fine-tuning, shares of its steps, chains and weights."""
import json
import shutil
from collections import Counter
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import xitcal

from xitcal.core.errors import XitcalError
from xitcal.data.suites import ADDED, add_task, find_suite
from xitcal.data.tasks import phase2_title
from xitcal.predictions.degenerate import degenerate_sentence
from xitcal.report.figures import condition_look, conditions_in
from xitcal.report.sentences import same_data
from xitcal.study.cards import read_known
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, study_cells, study_runs
from xitcal.study.plan_text import estimate, kept_at_once
from xitcal.study.publish import study_files
from xitcal.study.ray_engine import needed_stages
from xitcal.study.runner import drop_used, run_study, work_through
from xitcal.study.stages import checked_rows
from xitcal.study.store import Store
from xitcal.study.summarise import compact
from xitcal.training.models import interpolated_model, load_encoder, load_tokenizer, load_trained
from xitcal.training.predict import predict
from xitcal.training.trainer import Options

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


@pytest.mark.parametrize("name, said", [("mnli@x", "λ = x is not a number above 0 and at most 1.5"), ("mnli@0", "write none"), ("mnli@1", "leave @1 out"),
                                        ("mnli@2", "at most 1.5"), ("mnli@2steps", "between 0 and 1"), ("mlm--mlm", "has mlm twice"),
                                        ("mlm--mnil", "did you mean 'mnli'?"), ("2mnli", "one of several tasks"), ("none@0.5", "stands alone"),
                                        ("mnli@0.5@0.5after", "has no other λ"), ("mnli@0.5after--squad", "at the end"), ("mnli@0after", "write none"),
                                        ("mnli@1after", "leave @1after out"), ("mnli@2after", "at most 1.5"), ("mnil@0.5after", "did you mean 'mnli'?"),
                                        ("none@0.5after", "stands alone"), ("mnli@after", "λ = ? is not a number")])
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


# ---- λ after target fine-tuning

LATE = ("none", "mnli", "mnli@0.5", "mnli@0.5after", "mnli@1.5after", "mnli@0.5steps@0.25after", "mlm--mnli@0.5after")
ORDER = ["target", "intermediate", "language", "split", "example", "unit"]


def parameters(folder, task): return {n: p.detach() for n, p in load_trained(folder, find_suite("embedded").tasks[task]).named_parameters()}


def manifests(store): return {p.parent.name: p.stat().st_mtime_ns for p in store.glob("stages/*/manifest.json")}


def rows_of(store, target, condition, *columns):
    table = load_predictions(store, split=None).to_pandas().query("target == @target and intermediate == @condition").sort_values(ORDER)
    return table[list(columns or ("split", "language", "example", "confidence"))].reset_index(drop=True)


def check_formula(place, plan, most=1e-6):
    "Every model merged after target fine-tuning has the weights of the formula, head included; how many there were"
    merged = [s for s in plan.stages.values() if s.phase == "merged" and plan.stages[s.inputs[0]].phase == "target"]
    for stage in merged:
        task = plan.stages[stage.inputs[0]].facts["tasks"][0]["name"]
        after, before, found = (parameters(place.folder(name), task) for name in (*stage.inputs, stage.name))
        head = [n for n in found if "classifier" in n or "qa_outputs" in n]
        assert found.keys() == after.keys() == before.keys() and head and any(not torch.equal(after[n], before[n]) for n in head)
        for n in found: assert torch.allclose(found[n], before[n] + stage.facts["dose"] * (after[n] - before[n]), atol=most), (stage.title, n)
        assert not [f for f in place.folder(stage.name).iterdir() if f.suffix in (".bin", ".pt")]
    return len(merged)


@pytest.fixture(scope="module")
def late(doses, tmp_path_factory):
    "The study of doses, grown by merges after target fine-tuning; what was there before"
    store = shutil.copytree(doses[0], tmp_path_factory.mktemp("late") / "s", copy_function=shutil.copy2)
    before = manifests(store)
    run_study(replace(STUDY, intermediates=LATE), store, 1, progress=False)
    return store, before


def test_a_merge_after_target_fine_tuning_is_that_of_the_formula_and_trains_nothing(late):
    store, before = late
    plan, now = plan_of(*LATE), manifests(store)
    assert before.items() <= now.items() and check_formula(Store(store), plan) == 4
    done = {n: s for n, s in plan.stages.items() if n in now and n not in before}
    trained = {s.title for s in done.values() if s.phase in ("intermediate", "target")}
    assert trained == {"masked LM alone, seed 0", "masked LM, then MNLI, seed 0", "mlm--mnli → MNLI, seed 0"} # what a chain without λ trains
    assert {s.phase for s in done.values() if "mnli@" in s.title} == {"merged", "prediction"}
    assert {s.title for s in done.values() if s.phase == "merged"} >= {"mnli@0.5after → MNLI, seed 0", "mnli@0.5steps@0.25after → MNLI, seed 0"}


def test_predictions_are_those_of_a_model_merged_by_hand(late):
    place, plan, suite = Store(late[0]), plan_of(*LATE), find_suite("embedded")
    task, targets = suite.tasks["xnli"], titled(plan, "target")
    model, start = (load_trained(place.folder(targets[f"{name} → MNLI, seed 0"].name), task) for name in ("mnli", "none"))
    model.load_state_dict({n: (w + start.state_dict()[n]) / 2 if w.is_floating_point() else w for n, w in model.state_dict().items()})
    tokenizer = load_tokenizer(place.folder(targets["mnli → MNLI, seed 0"].name))
    found = rows_of(place.path, "xnli", "mnli@0.5after", "split", "language", "example", "confidence", "prediction")
    for split, codes in (("test", ("en", "sw")), ("calibration", ("en",))):
        by_hand = predict(model, tokenizer, task, checked_rows("embedded", "xnli", split, codes, 8), task.recipe).to_pandas()
        both = found[found.split == split].merge(by_hand, on=["language", "example"], suffixes=("", "_by_hand"))
        assert len(both) == 8 * len(codes) and (both.prediction == both.prediction_by_hand).all()
        assert both.confidence.to_numpy() == pytest.approx(both.confidence_by_hand.to_numpy(), abs=1e-5)
    others = [rows_of(place.path, "xnli", name)["confidence"] for name in ("none", "mnli", "mnli@0.5", "mnli@1.5after")]
    assert all(abs(found.confidence - other).max() > 1e-6 for other in others)


def test_an_encoder_is_merged_once_for_before_and_after(late):
    cells = study_cells(late[0]).query("target == 'tatoeba'").set_index("intermediate").stage
    assert cells["mnli@0.5after"] == cells["mnli@0.5"] and cells["mnli@1.5after"] == cells["mnli@1.5"] and cells.nunique() == len(cells) - 2
    pd.testing.assert_frame_equal(rows_of(late[0], "tatoeba", "mnli@0.5after"), rows_of(late[0], "tatoeba", "mnli@0.5"))
    place, plan = Store(late[0]), plan_of(*LATE)
    chain = titled(plan, "merged")["masked LM, then MNLI, λ = 0.5 after target fine-tuning, seed 0"]
    start, end = weights(find_suite("embedded").encoder()), weights(place.folder(titled(plan, "intermediate")["masked LM, then MNLI, seed 0"].name))
    assert all(torch.allclose(w, (start[n] + end[n]) / 2, atol=1e-6) for n, w in weights(place.folder(chain.name)).items()) # the whole chain


def test_runs_of_merged_models_are_judged_by_their_english_rows(late):
    store = late[0]
    runs = study_runs(store)
    assert set(runs.intermediate.astype(str)) == {*LATE, "mnli@1.5", "mnli@0.5steps"}
    judged = runs[(runs.target.astype(str) == "xnli")].set_index("intermediate")
    tables = compact(store, progress=False)
    assert set(tables["english"].query("target == 'xnli'").intermediate) == set(judged.index)
    assert set(judged.rows) == {"English validation"} and set(judged.index) == set(runs.intermediate)
    merged = [s for s in plan_of(*LATE).stages.values() if s.phase == "merged"]
    assert all("best" not in json.loads((Store(store).folder(s.name) / "result.json").read_text()) for s in merged)


def test_a_degenerate_merged_model_is_found(tmp_path):
    "One that answers the same to all English rows"
    from stores import made_store
    def change(events, cell):
        if not cell.intermediate.endswith("after"): return events
        at = events.column_names.index("prediction")
        return events.set_column(at, events.schema.field(at), pa.array([0] * len(events), events.schema.field(at).type))
    store = made_store(tmp_path / "s", replace(STUDY, intermediates=("none", "mnli@0.5after"), targets=("xnli",)), change=change)
    runs = study_runs(store).set_index("intermediate")
    assert set(runs.rows) == {"English validation"} and runs.degenerate.to_dict() == {"none": False, "mnli@0.5after": True}
    assert "xnli after mnli@0.5after, seed 0" in degenerate_sentence(study_runs(store))


@pytest.mark.parametrize("change", [dict(methods=("lora",), target_lengths=(.5,)), dict(methods=("ia3",), learning_rates=(1e-2,)),
                                    dict(targets=("panx", "xquad"), average=2)])
def test_methods_lengths_and_heads_are_merged_alike(change, tmp_path):
    study = replace(STUDY, intermediates=("squad@0.5after",), targets=("xnli",), languages=("en",), intermediate_rows=32, test_rows=4, calibration_rows=4)
    study = replace(study, **change)
    plan = run_study(study, tmp_path / "s", 1, progress=False)
    assert check_formula(Store(tmp_path / "s"), plan, 1e-5) == len(study.targets)
    assert {c.intermediate for c in plan.cells} == {"squad@0.5after"} and study_cells(tmp_path / "s")["done"].all()
    assert phases(plan)["target"] == 2 * len(study.targets) and phases(plan)["intermediate"] == 1


def test_both_target_models_are_kept_until_they_are_merged(late, tmp_path):
    study = replace(STUDY, intermediates=("mnli@0.5after", "none", "mnli"), targets=("xnli",))
    plan, place, started = make_plan(study), Store(tmp_path / "s"), Counter()
    def tell(what, name, *_):
        if what == "start": started[name] += 1
        stage = plan.stages[name]
        if what == "start" and stage.phase == "merged": assert all(list(place.folder(i).glob("*.safetensors")) for i in stage.inputs)
    work_through(plan, place, Options(drop_weights=True), tell)
    assert set(started.values()) == {1} and len(started) == len(plan.stages) - 1
    assert not list(place.path.glob("stages/*/*.safetensors"))
    file = next(place.path.glob(f"stages/{next(c.stage for c in plan.cells if c.intermediate == 'mnli@0.5after')}/predictions.parquet"))
    mine = pd.read_parquet(file).sort_values(ORDER).confidence.to_numpy()
    assert (mine == rows_of(late[0], "xnli", "mnli@0.5after").confidence.to_numpy()).all()
    # in whatever order stages end: a target model goes only after its predictions and the merge
    (merged,) = (s for s in plan.stages.values() if s.phase == "merged")
    part = Store(tmp_path / "part")
    for stage in plan.stages.values():
        if stage.phase == "pretrained" or stage is merged or merged.name in stage.inputs: continue
        with part.publishing(stage.name, dict(facts=stage.facts, inputs=list(stage.inputs))) as folder:
            (folder / ("events" if stage.phase == "prediction" else "model.safetensors")).write_bytes(b"0")
    ended = [s for s in plan.stages.values() if s.phase == "prediction" and part.published(s.name)]
    assert len(ended) == 2 and [n for s in ended for n in drop_used(plan, s, part)] == []
    with part.publishing(merged.name, dict(facts=merged.facts, inputs=list(merged.inputs))): pass
    assert set(drop_used(plan, merged, part)) == set(merged.inputs)


def test_target_models_whose_weights_were_dropped_come_back_for_a_merge(late, tmp_path, capsys):
    study, store = replace(STUDY, intermediates=("none", "mnli"), targets=("xnli",)), tmp_path / "s"
    run_study(study, store, 1, Options(drop_weights=True), progress=False)
    run_study(replace(study, intermediates=("none", "mnli", "mnli@0.5after")), store, 1, Options(drop_weights=True), progress=False)
    told = capsys.readouterr().err
    assert "3 trained models whose weights were dropped" in told and "mnli → MNLI, seed 0" in told and "none → MNLI, seed 0" in told
    assert not list(store.glob("stages/*/*.safetensors"))
    assert (rows_of(store, "xnli", "mnli@0.5after").confidence == rows_of(late[0], "xnli", "mnli@0.5after").confidence).all()


def test_all_that_a_merged_model_is_made_of_is_planned_sent_and_carded(late):
    store, plan = Store(late[0]), plan_of(*LATE)
    stage = next(c.stage for c in plan.cells if (c.intermediate, c.target) == ("mnli@0.5after", "xnli"))
    titles = {"embedded encoder", "MNLI, seed 0", "mnli → MNLI, seed 0", "none → MNLI, seed 0", "mnli@0.5after → MNLI, seed 0", "mnli@0.5after, seed 0 → XNLI"}
    assert {plan.stages[n].title for n in needed_stages(plan, stage)} == titles
    known = read_known(store.path)
    alone = replace(known, cells=known.cells[known.cells.stage == stage])
    sent = study_files(alone, "me/study")
    assert {n.split("/")[1] for n in sent if n.startswith("stages/")} == {n for n in needed_stages(plan, stage) if plan.stages[n].phase != "pretrained"}
    card = next(text.decode() for n, text in sent.items() if n.startswith("stages/merged") and n.endswith("README.md"))
    assert "MNLI, λ = 0.5 after target fine-tuning" in card and "0.5 times the difference of the two models before" in card
    assert card.count("| mnli | full |") == 3


def test_a_merge_costs_two_models_of_memory_and_one_of_disk():
    plan = plan_of("none", "mnli", "mnli@0.5after")
    costs = estimate(plan).set_index("title")
    merged = costs.loc["mnli@0.5after → MNLI, seed 0"]
    assert merged.tokens == 0 == merged.seconds and merged.gigabytes == pytest.approx(2 * 4 * 2_882_816 / 2**30, rel=.01)
    models = {s.name: 1. for s in plan.stages.values() if s.phase in ("intermediate", "target", "merged")}
    # MNLI's encoder for retrieval, two target models and the merged one; λ of the encoder comes later
    assert sum(models.values()) == 5 and kept_at_once(plan, models) == 4
    said = xitcal("plan", "--intermediate", "none,mnli,mnli@0.5after", *FEW[:-2]).stdout
    assert "mnli@0.5after → MNLI, seed 0" in said and "Disk: 5 trained models" in said


def test_models_of_other_heads_or_shapes_are_refused_in_a_sentence(late, tmp_path):
    place, plan, tasks = Store(late[0]), plan_of(*LATE), find_suite("embedded").tasks
    folder = place.folder(titled(plan, "target")["none → MNLI, seed 0"].name)
    two = shutil.copytree(folder, tmp_path / "two")
    model = load_trained(folder, tasks["xnli"])
    model.classifier.out_proj, model.config.num_labels = torch.nn.Linear(model.config.hidden_size, 2), 2
    model.save_pretrained(two)
    for pair in ((folder, two), (two, folder)):
        with pytest.raises(XitcalError, match=r"cannot be added: 'classifier.out_proj.bias' is .*; a merge after target fine-tuning takes two") as error:
            interpolated_model(*pair, .5, tasks["xnli"])
        assert "\n" not in str(error.value)
    with pytest.raises(XitcalError, match="do not fit a XLMRobertaForTokenClassification") as error:
        interpolated_model(folder, folder, .5, tasks["panx"])
    assert "\n" not in str(error.value)


def test_merges_after_have_names_and_looks_of_their_own():
    table = pd.DataFrame(dict(intermediate=["mnli@0.5after", "mnli@1.5", "none", "mnli", "mnli@0.5", "anli+--mnli@0.5after", "mnli@0.25steps"]))
    assert conditions_in(table) == ["none", "mnli", "mnli@0.25steps", "mnli@0.5", "mnli@0.5after", "mnli@1.5", "anli+--mnli@0.5after"]
    labels = [condition_look(name)["label"] for name in table.intermediate]
    assert len(set(labels)) == len(labels) and labels[0] == "after MNLI, λ = 0.5 after target fine-tuning"
    assert condition_look("mnli@0.5after")["color"] == condition_look("mnli")["color"]
    assert phase2_title("anli+--mnli@0.5after") == "ANLI+, then MNLI, λ = 0.5 after target fine-tuning"
    assert same_data("mnli@0.5after", "xnli") and not same_data("mnli@0.5after", "panx")


@pytest.mark.slow
def test_merges_after_are_in_the_report(late, tmp_path):
    xitcal("report", "--store", late[0], "--out", tmp_path / "report.html")
    assert "MNLI, λ = 0.5 after target fine-tuning" in (tmp_path / "report.html").read_text()
