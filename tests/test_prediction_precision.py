"""Predictions in bfloat16: another identity, the same file from two calls, every kind, and nothing that mixes them with predictions in float32."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import xitcal
from stores import made_store

from xitcal.core.errors import XitcalError
from xitcal.core.schema import EVENT_SCHEMA, PREDICTION_SCHEMA
from xitcal.data.suites import find_suite
from xitcal.inference.results import read_results
from xitcal.report.paper import run_command, stored_study
from xitcal.report.result_sentences import seeds_words
from xitcal.report.sentences import made_words
from xitcal.study import runner
from xitcal.study.cards import data_card, model_card, read_known
from xitcal.study.export import choose_cells
from xitcal.study.grid import Setting, Study, make_plan
from xitcal.study.ledger import load_predictions, study_cells
from xitcal.study.options import make_study
from xitcal.study.protocol import FULL
from xitcal.study.runner import run_study
from xitcal.study.store import Store
from xitcal.study.summarise import store_results
from xitcal.study.tidy import tidy_results
from xitcal.training.models import build_head, encoder_precision, load_tokenizer
from xitcal.training.predict import predict

SUITE = find_suite("embedded")
STUDY = Study(intermediates=("none", "mnli"), targets=("xnli", "panx", "tatoeba"), languages=("en", "sw"), seeds=(0,), test_rows=20, calibration_rows=20)
BF16 = replace(STUDY, prediction_precision="bf16")
NAME = "full predicted in bf16"


def test_float32_is_no_part_of_an_identity_and_bfloat16_is():
    plain, rounded = make_plan(FULL), make_plan(replace(FULL, prediction_precision="bf16"))
    trained = {n for n, s in plain.stages.items() if s.phase != "prediction"}
    assert all("precision" not in s.facts for n, s in plain.stages.items() if n not in trained)
    assert plain.stages.keys() & rounded.stages.keys() == trained and len(rounded.stages) == len(plain.stages)
    assert {s.facts["precision"] for n, s in rounded.stages.items() if n not in trained} == {"bf16"}


@pytest.mark.parametrize("setting", [Setting(predicted="bf16"), Setting("lora", 1e-3, .5, "bf16"), Setting("lora", None, 2.)])
def test_names_of_settings_say_all_of_them(setting):
    assert Setting.parse(setting.name) == setting


# kinds that give events; masked LM trains and gives none
@pytest.mark.parametrize("name", ["xnli", "hellaswag", "udpos", "panx", "xquad", "tatoeba", "bucc"])
def test_every_kind_predicts_in_bfloat16(name):
    task, tokenizer = SUITE.tasks[name], load_tokenizer(SUITE.encoder())
    rows = SUITE.rows(name, "validation", ["en"], n=12) if name == "hellaswag" else SUITE.rows(name, "test", ["de"], n=12)
    torch.manual_seed(0)
    model = build_head(SUITE.encoder(), task).eval()
    plain, rounded, again = (predict(model, tokenizer, task, rows, task.recipe, bf16=b) for b in (False, True, True))
    assert rounded.equals(again) and rounded.schema.equals(plain.schema)
    assert rounded.schema.remove_metadata().equals(EVENT_SCHEMA) and "forward" not in model.base_model.__dict__
    values = [np.sort(np.concatenate(t["logits"].to_pylist())) for t in (plain, rounded)]
    assert values[0].tobytes() != values[1].tobytes()  # the encoder did run in bfloat16
    assert abs(values[0].mean() - values[1].mean()) < .05
    last = values[1][values[1] > -1e4]
    assert (torch.tensor(last).bfloat16().float().numpy() != last).mean() > .5  # heads and pooling did not round


def test_masked_language_modelling_runs_in_bfloat16_before_retrieval(tmp_path):
    study = Study(intermediates=("mlm",), targets=("tatoeba",), languages=("sw",), seeds=(0,), intermediate_rows=16, test_rows=10, prediction_precision="bf16")
    run_study(study, tmp_path / "s", workers=1, progress=False)
    assert set(load_predictions(tmp_path / "s")["method"].to_pylist()) == {NAME}


def test_the_head_gets_float32():
    task, seen = SUITE.tasks["xnli"], {}
    model = build_head(SUITE.encoder(), task).eval()
    inside = next(m for m in model.base_model.modules() if isinstance(m, torch.nn.Linear))
    inside.register_forward_hook(lambda m, x, out: seen.update(encoder=out.dtype))
    model.classifier.register_forward_hook(lambda m, x, out: seen.update(head=x[0].dtype, logits=out.dtype))
    with torch.inference_mode(), encoder_precision([model], True):
        model(input_ids=torch.tensor([[5, 6, 7]]))
    assert seen == dict(encoder=torch.bfloat16, head=torch.float32, logits=torch.float32)


@pytest.fixture(scope="module")
def run_both(tmp_path_factory):
    "A small study that was run in float32, then in bfloat16; what the second run said"
    path = tmp_path_factory.mktemp("both") / "store"
    study = Study(intermediates=("none",), targets=("pawsx", "tatoeba"), methods=("full", "lora"), languages=("en", "sw"), seeds=(0,), target_rows=48,
                  test_rows=12, calibration_rows=12)
    run_study(study, path, workers=1, progress=False)
    before = {p: p.stat().st_mtime_ns for p in path.glob("stages/*/manifest.json")}
    run_study(replace(study, prediction_precision="bf16"), path, workers=1, progress=False)
    return path, before


def test_one_store_holds_both_and_trains_once(run_both):
    path, before = run_both
    now = {p: p.stat().st_mtime_ns for p in path.glob("stages/*/manifest.json")}
    assert before.items() < now.items()
    new = [Store(path).manifest(p.parent.name) for p in now.keys() - before.keys()]
    assert len(new) == 3 and all(m["facts"]["precision"] == "bf16" and m["title"].endswith(" predicted in bf16") for m in new)
    table = load_predictions(path)
    assert table.schema.remove_metadata().equals(PREDICTION_SCHEMA)
    events = table.to_pandas()
    assert set(events.method) == {"full", "lora", NAME, "lora predicted in bf16"}
    wide = events[events.event == "label"].pivot(index=["target", "language", "example"], columns="method", values="confidence")
    for method in ("full", "lora"):  # of the same models, so nearly the same
        change = (wide[method] - wide[f"{method} predicted in bf16"]).abs()
        assert 0 < change.max() < .05


def test_two_calls_give_the_same_file(run_both, tmp_path):
    path, _ = run_both
    run_study(Study(intermediates=("none",), targets=("pawsx", "tatoeba"), languages=("en", "sw"), seeds=(0,), target_rows=48, test_rows=12,
                    calibration_rows=12, prediction_precision="bf16"), tmp_path / "s", workers=1, progress=False)
    for stage in study_cells(tmp_path / "s").stage:
        one, two = (p / "stages" / stage / "predictions.parquet" for p in (path, tmp_path / "s"))
        assert one.read_bytes() == two.read_bytes()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    "Made-up predictions of which the baseline alone is there in bfloat16, and both conditions in float32"
    path = tmp_path_factory.mktemp("mixed") / "store"
    made_store(path, STUDY)
    return made_store(path, replace(BF16, intermediates=("none",)))


def test_summaries_keep_both_apart_and_say_which_is_which(mixed):
    folder = store_results(mixed, progress=False)
    about = json.loads((folder / "seed-0.json").read_text())
    assert about["predicted"] == {"full": ["fp32"], NAME: ["bf16"]}
    plain, rounded = read_results(folder), read_results(folder, NAME)
    assert plain.sums.conditions == ["none", "mnli"] and rounded.sums.conditions == ["none"]
    assert "predict in float32" in seeds_words(plain) and f"never averaged with these: {NAME}." in seeds_words(plain)
    assert "predict in bfloat16" in seeds_words(rounded)


def test_a_change_is_never_between_two_precisions(tmp_path):
    path = made_store(tmp_path / "store", replace(STUDY, intermediates=("none",)))
    made_store(path, replace(BF16, intermediates=("mnli",)))
    found = tidy_results(path, ("signed_ce",), draws=2, progress=False)
    assert set(found.method) == {"full", NAME} and set(found.what) == {"estimate"}  # a baseline in float32 is none for bfloat16


def test_a_store_in_bfloat16_alone_is_read_as_ever_and_says_so(tmp_path):
    path = made_store(tmp_path / "store", BF16)
    results = read_results(store_results(path, progress=False))
    assert results.sums.conditions == ["none", "mnli"] and "predict in bfloat16" in seeds_words(results)
    assert "predict in bfloat16" in made_words(load_predictions(path).to_pandas(), str(path))
    again = stored_study(path)
    assert again == replace(BF16, seeds=again.seeds) and "--prediction-precision bf16" in run_command(again, "s")


def test_an_export_asks_which(mixed):
    with pytest.raises(XitcalError, match=f"more than one method .full, {NAME}.: choose one with --method"):
        choose_cells(study_cells(mixed), intermediate="none")
    assert set(choose_cells(study_cells(mixed), intermediate="none", method=NAME).method) == {NAME}


def test_cards_say_which(run_both):
    known = read_known(run_both[0])
    assert NAME in data_card(known).text
    start = known.cells.start[(known.cells.target == "pawsx") & (known.cells.method == "full")].item()
    card = model_card(known, start)
    assert "### PAWS-X\n" in card.text and "### PAWS-X predicted in bf16\n" in card.text and "| method | full |" in card.text
    assert {"accuracy", "accuracy predicted in bf16"} < {e.metric_name for e in card.data.eval_results}


def test_predictions_of_other_models_are_refused_in_either_precision(mixed, monkeypatch):
    tasks = SUITE.tasks | {"xnli": replace(SUITE.tasks["xnli"], recipe=replace(SUITE.tasks["xnli"].recipe, epochs=3.25))}
    monkeypatch.setattr(SUITE, "tasks", tasks)
    with pytest.raises(XitcalError, match="recipe.epochs was .* and is 3.25 now"):
        runner.record_study(Store(mixed), make_plan(replace(BF16, intermediates=("mnli",))))


@pytest.mark.parametrize("there", [False, True])
def test_a_machine_that_emulates_says_so_once_and_predicts(tmp_path, monkeypatch, capsys, there):
    monkeypatch.setattr(runner, "use_bf16", lambda precision, device: there)
    study = Study(intermediates=("none",), targets=("tatoeba",), languages=("sw",), seeds=(0,), test_rows=10, prediction_precision="bf16")
    run_study(study, tmp_path / "s", workers=1, progress=False)
    assert len(load_predictions(tmp_path / "s")) == 10
    assert capsys.readouterr().err.count("not known to have instructions for bfloat16") == (not there)


def test_the_command_line_has_the_option(tmp_path):
    few = ("--target", "tatoeba", "--intermediate", "none", "--language", "sw", "--test-rows", 10, "--flops", 6e10)
    assert "predicted in bf16" in xitcal("plan", *few, "--prediction-precision", "bf16").stdout
    assert "predicted in" not in xitcal("plan", *few).stdout
    config = tmp_path / "study.toml"
    config.write_text('prediction-precision = "bf16"\n')
    assert make_study(config).prediction_precision == "bf16" and make_study().prediction_precision == "fp32"
    for wrong in ("auto", "fp16"):
        done = xitcal("plan", *few, "--prediction-precision", wrong, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("xitcal: Predictions are made in fp32 or in bf16") and repr(wrong) in done.stderr
