"""Logs of other tools, recognised by what they hold: `tests/logs` has a file in each layout, and real ones."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import xitcal
from scipy.special import log_softmax, softmax

from xitcal.calibration.calibrate import calibrate
from xitcal.calibration.evaluation_logs import read_predictions
from xitcal.calibration.prediction_files import read_decisions
from xitcal.core.errors import XitcalError

LOGS = Path(__file__).parent / "logs"
HARNESS = LOGS / "samples_xcopa_sw_2026-11-30T09-00-00.123456.jsonl"


def edited(tmp_path, name, change, lines=False) -> Path:
    "A copy of a log after `change` of its content"
    text = (LOGS / name).read_text()
    held = [json.loads(x) for x in text.splitlines()] if lines else json.loads(text)
    held = change(held) or held
    path = tmp_path / f"edited{Path(name).suffix}"
    path.write_text("".join(json.dumps(x) + "\n" for x in held) if lines else json.dumps(held))
    return path


def refused(path, sentence, **options):
    with pytest.raises(XitcalError, match=sentence) as error:
        read_predictions(path, **options)
    assert "\n" not in str(error.value)


# --- each tool ------------------------------------------------------------------------------------------------------------


def test_lm_evaluation_harness():
    table = read_predictions(HARNESS)
    assert table.attrs["tool"] == "lm-evaluation-harness" and (table.task == "xcopa_sw").all() and (table.language == "sw").all()
    decisions, scores = read_decisions(table)
    assert table.example.tolist() == [0, 1, 2, 3] and table.label.tolist() == [1, 1, 2, 0]
    assert decisions.correct.tolist() == [True, False, True, False]  # as its acc says
    assert decisions.confidence[0] == pytest.approx(softmax([-3.5, -1.25, -6])[1])
    assert scores["nll"][0][1] == pytest.approx(-log_softmax([-2, -2.5, -8])[1])


def test_the_length_of_a_choice_counts_when_asked():
    table = read_predictions(HARNESS, by_length=True)
    assert table.logits[0] == pytest.approx(np.array([-3.5, -1.25, -6]) / [6, 9, 10])
    samples = [json.loads(x) for x in HARNESS.read_text().splitlines()]
    assert [int(z.argmax() == y) for z, y in zip(table.logits, table.label)] == [s["acc_norm"] for s in samples]


def test_older_logs_of_the_harness_hold_numbers_and_lists(tmp_path):
    def older(samples):
        for s in samples:
            s["arguments"] = [list(a.values()) for a in s["arguments"].values()]
            s["filtered_resps"] = [[float(x), y == "True"] for x, y in s["filtered_resps"]]
            s["target"] = int(s["target"])
            del s["filter"], s["metrics"]

    old, new = read_predictions(edited(tmp_path, HARNESS.name, older, True)), read_predictions(HARNESS)
    assert np.array_equal(np.stack(old.logits), np.stack(new.logits)) and old.label.tolist() == new.label.tolist()


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda s: s[0].update(filtered_resps=s[0]["filtered_resps"][:2]), "doc_id 0: the log-likelihoods of all choices are needed, and there are 2 for 3"),
        (lambda s: s[1]["filtered_resps"][2].__setitem__(0, "nan"), "doc_id 1: the log-likelihoods of all choices are needed"),
        (lambda s: s + s[:1], "has doc_id 0 twice, so it holds more than one run"),
        (lambda s: s[2].update(target="[0, 2]"), "doc_id 2: several choices are right"),
        (lambda s: s[2].update(acc=0.43), "doc_id 2: several choices are right"),
        (lambda s: s[0].update(acc=0.0), "doc_id 0: the target '1' tells no right choice that agrees with acc"),
        (lambda s: s[1].update(target="snow"), "doc_id 1: the target 'snow' tells no right choice"),
    ],
)
def test_what_a_log_of_the_harness_may_not_be(tmp_path, change, sentence):
    refused(edited(tmp_path, HARNESS.name, change, True), sentence)


def test_generated_samples_of_the_harness_have_no_choices():
    refused(LOGS / "lm_eval_generated.jsonl", "lm_eval_generated.jsonl, doc_id 0: there are no log-likelihoods of choices but generated text")


def test_helm():
    table = read_predictions(LOGS / "helm_per_instance_stats.json")
    assert table.attrs["tool"] == "HELM" and table.confidence.tolist() == [0.8125, 0.4375, 0.625, 0.5]
    assert table.correct.tolist() == [True, False, False, False]  # a tie of two choices is not right, as in HELM's ECE
    assert table.perturbation.tolist() == ["", "", "", "typos"] and set(calibrate(table, ["perturbation"], smooth=False).perturbation) == {"", "typos"}
    refused(LOGS / "helm_display_predictions.json", "read the per_instance_stats.json beside it")


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            lambda rows: [r | dict(stats=[s for s in r["stats"] if s["name"]["name"] != "max_prob"]) for r in rows],
            "instance id0: there is no max_prob or no exact_match",
        ),
        (lambda rows: rows + rows[1:2], "instance, trial and perturbation .*id1.* twice"),
        (
            lambda rows: [r | dict(stats=[s | dict(sum=0) if s["name"]["name"] == "logprob" else s for s in r["stats"]]) for r in rows],
            "every log-probability is 0",
        ),
    ],
)
def test_what_statistics_of_helm_may_not_be(tmp_path, change, sentence):
    refused(edited(tmp_path, "helm_per_instance_stats.json", change), sentence)


def test_machamp_tagging():
    table = read_predictions(LOGS / "machamp_upos.out", LOGS / "machamp_upos.gold")
    assert table.attrs == dict(tool="MaChAmp", classes=["INTJ", "NOUN", "VERB"]) and table.label.tolist() == [1, 2, 0, 1]
    assert table.example.nunique() == 2 and table.unit.tolist() == [0, 1, 0, 1]
    assert table.probs[0] == pytest.approx(np.array([0.12, 0.75, 0.125]) / 0.995)  # the place for unknown labels is not listed
    assert read_decisions(table)[0].correct.tolist() == [True, False, True, True]


def test_machamp_with_some_labels_only_gives_confidence_and_correct(tmp_path):
    table = read_predictions(LOGS / "machamp_nli.top2", LOGS / "machamp_nli.gold")
    assert table.confidence.tolist() == [0.75, 0.5, 0.875] and table.correct.tolist() == [True, False, True] and table.example.tolist() == [0, 1, 2]
    refused(LOGS / "machamp_nli.top2", "writes predictions in place of the right answers; give the file that was predicted as well")
    refused(LOGS / "machamp_nli.top2", "it must be the file that was predicted", labels=LOGS / "machamp_upos.gold")
    (tmp_path / "gold").write_text((LOGS / "machamp_upos.gold").read_text().replace("INTJ", "X"))
    refused(LOGS / "machamp_upos.out", "row 3: the right answer 'X' is none of the classes INTJ, NOUN, VERB", labels=tmp_path / "gold")


def test_euroeval(tmp_path):
    table = read_predictions(LOGS / "euroeval_swerec-model-outputs.json")
    assert table.attrs == dict(tool="EuroEval", classes=["negative", "neutral", "positive"]) and table.label.tolist() == [2, 1, 1]
    assert table.logits[0].tolist() == [-2, -2.5, -0.25] and table.logits[2] == pytest.approx([np.logaddexp(-4, -4), -0.125, -3.5])
    name = "euroeval_swerec-model-outputs.json"
    refused(
        edited(tmp_path, name, lambda c: {k: {a: b for a, b in v.items() if a != "label"} for k, v in c.items()}),
        "holds no right answers; EuroEval keeps them with --debug",
    )
    refused(
        edited(tmp_path, name, lambda c: {k: v | dict(scores=[v["scores"][0][:2]]) for k, v in c.items()}),
        "index 0: the log-likelihoods of all choices are needed, and there is none of neutral",
    )
    refused(edited(tmp_path, name, lambda c: {k: v | dict(scores=None) for k, v in c.items()}), "there is none of negativ, neutral, positiv")
    refused(edited(tmp_path, name, lambda c: c | {"x": next(iter(c.values()))}), "index 0 twice")


def test_inspect_as_json_and_as_a_zip(tmp_path):
    table = read_predictions(LOGS / "inspect_log.json")
    assert (
        table.attrs["tool"] == "Inspect"
        and table.label.tolist() == [0, 3, 0]
        and table.seed.tolist() == [1, 1, 2]
        and table.example.tolist() == ["q1", "q2", "q1"]
    )
    assert table.logits[1] == pytest.approx([-3, -0.75, -4, np.logaddexp(-1, -2)])
    log = json.loads((LOGS / "inspect_log.json").read_text())
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for s in log["samples"]:
            file.writestr(f"samples/{s['id']}_epoch_{s['epoch']}.json", json.dumps(s))
    zipped = read_predictions(tmp_path / "log.eval").sort_values(["seed", "example"], ignore_index=True)
    assert zipped.label.tolist() == table.label.tolist() and np.array_equal(np.stack(zipped.logits), np.stack(table.logits))


def _samples(change):
    def edit(log):
        for s in log["samples"]:
            change(s)

    return edit


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            _samples(lambda s: s["output"]["choices"][0].pop("logprobs")),
            "sample q1, epoch 1: there are no log-probabilities of choices; evaluate a multiple-choice task with --logprobs",
        ),
        (
            _samples(lambda s: s["output"]["choices"][0]["logprobs"]["content"][-1]["top_logprobs"].pop(2)),
            "the log-likelihoods of all choices are needed, and there is none of C",
        ),
        (_samples(lambda s: s.update(target=["A", "B"])), r"the target \['A', 'B'\] is not one letter"),
        (_samples(lambda s: s.update(target="Paris")), "the target 'Paris' is not one letter"),
        (_samples(lambda s: s["scores"]["choice"].update(explanation="Choices were shuffled before generating a response")), "its choices were shuffled"),
        (lambda log: log | dict(samples=log["samples"] + log["samples"][:1]), "sample and epoch .*q1.* twice"),
        (lambda log: log.pop("samples") and log, "a log of Inspect without samples"),
    ],
)
def test_what_a_log_of_inspect_may_not_be(tmp_path, change, sentence):
    refused(edited(tmp_path, "inspect_log.json", change), sentence)


def test_pipelines(tmp_path):
    table = read_predictions(LOGS / "pipeline_outputs.json", LOGS / "pipeline_labels.txt")
    assert table.attrs == dict(tool="a pipeline", classes=["NEGATIVE", "POSITIVE"]) and table.label.tolist() == [1, 1, 0]
    assert table.probs.map(list).tolist() == [[0.25, 0.75], [0.875, 0.125], [0.4375, 0.5625]]
    refused(LOGS / "pipeline_outputs.json", "outputs of a pipeline without right answers; give a file with a label a line")
    shot = read_predictions(LOGS / "pipeline_zero_shot.jsonl")
    assert shot.language.tolist() == ["sw", "sw"] and shot.example.tolist() == ["z1", "z2"] and read_decisions(shot)[0].correct.tolist() == [True, False]
    top = edited(tmp_path, "pipeline_outputs.json", lambda rows: [r[0] for r in rows])
    alone = read_predictions(top, LOGS / "pipeline_labels.txt")
    assert alone.confidence.tolist() == [0.75, 0.875, 0.5625] and alone.correct.tolist() == [True, False, False]
    (tmp_path / "two.txt").write_text("POSITIVE\nNEGATIVE\n")
    refused(top, "two.txt has 2 labels and edited.json 3 predictions", labels=tmp_path / "two.txt")
    (tmp_path / "odd.csv").write_text("label\nPOSITIVE\ngood\nNEGATIVE\n")
    refused(LOGS / "pipeline_outputs.json", "row 2: the right answer 'good' is none of the classes", labels=tmp_path / "odd.csv")


def test_dumps_of_a_trainer(tmp_path):
    rng = np.random.default_rng(0)
    pairs, tokens = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(2, 3, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", predictions=pairs, label_ids=np.array([0, 1, 2, 0, 1]), metrics=np.array(dict(test_loss=1.0), dtype=object))
    table = read_predictions(tmp_path / "a.npz")
    assert (
        table.attrs["tool"] == "Trainer.predict"
        and np.stack(table.logits) == pytest.approx(pairs.astype(float))
        and table.example.tolist() == [0, 1, 2, 3, 4]
    )
    np.savez(tmp_path / "b.npz", predictions=tokens, label_ids=np.array([[0, 3, -100], [-100, 1, 2]]))
    table = read_predictions(tmp_path / "b.npz")
    assert table.example.tolist() == [0, 0, 1, 1] and table.unit.tolist() == [0, 1, 1, 2] and table.label.tolist() == [0, 3, 1, 2]
    assert np.array_equal(table.logits[2], tokens[1, 1])
    np.savez(tmp_path / "c.npz", predictions=pairs.argmax(1), label_ids=np.zeros(5, int))
    refused(tmp_path / "c.npz", "logits need one axis more than labels")
    np.savez(tmp_path / "d.npz", predictions=np.array([pairs, None], dtype=object), label_ids=np.zeros(2, int))
    refused(tmp_path / "d.npz", "arrays must not be objects")


# --- real files -----------------------------------------------------------------------------------------------------------------

REAL = sorted((LOGS / "real").glob("*")) if (LOGS / "real").exists() else []


@pytest.mark.parametrize("path", [p for p in REAL if p.suffix != ".md"], ids=lambda p: p.name)
def test_real_files_of_the_tools_are_read(path):
    "What each tool wrote about a tiny random model: its own accuracy is that of the table"
    accuracy = json.loads((LOGS / "real" / "README.md").read_text().split("```json")[1].split("```")[0])[path.name]
    table = read_predictions(path)
    decisions = read_decisions(table)[0]
    assert table.attrs["tool"] and len(table) == accuracy["rows"] and decisions.correct.mean() == pytest.approx(accuracy["accuracy"], abs=1e-6)


# --- all of them ----------------------------------------------------------------------------------------------------------------

WITHOUT = [HARNESS.name, "helm_per_instance_stats.json", "euroeval_swerec-model-outputs.json", "inspect_log.json", "pipeline_zero_shot.jsonl"]


@pytest.mark.parametrize("name", WITHOUT)
def test_a_log_is_recognised_by_what_it_holds(tmp_path, name):
    "Whatever it is called"
    shutil.copy(LOGS / name, tmp_path / "x.txt")
    assert read_predictions(tmp_path / "x.txt").attrs["tool"] == read_predictions(LOGS / name).attrs["tool"]


@pytest.mark.parametrize("name", WITHOUT)
def test_calibrate_reads_it_without_an_option(name):
    said = xitcal("calibrate", LOGS / name, "--fast").stdout
    assert said.startswith(f"{name} is a log of ") and "ECE-15" in said


def test_a_log_is_repaired_like_any_file(tmp_path):
    lines = [json.loads(x) for x in HARNESS.read_text().splitlines()]
    many = [s | dict(doc_id=10 * i + s["doc_id"]) for i in range(10) for s in lines]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(s) + "\n" for s in many))
    said = xitcal("recalibrate", "fit", tmp_path / "log.jsonl", "--method", "temperature", "--examples", 20, "--out", tmp_path / "map.json",
                  fresh=True).stdout
    assert "log.jsonl is a log of lm-evaluation-harness." in said and "fitted on 20 rows" in said
    said = xitcal("recalibrate", "apply", tmp_path / "log.jsonl", "--map", tmp_path / "map.json", "--unused", "--out", tmp_path / "b.parquet",
                  fresh=True).stdout
    assert "20 rows in" in said and len(pd.read_parquet(tmp_path / "b.parquet")) == 20


def test_its_own_layouts_stay_its_own(tmp_path):
    table = pd.DataFrame(dict(logits=[[1.0, 2.0], [2.0, 1.0]], label=[1, 1], example=["a", "b"]))
    for kind in ("parquet", "jsonl", "json"):
        path = tmp_path / f"a.{kind}"
        table.to_parquet(path) if kind == "parquet" else table.to_json(path, orient="records", lines=kind == "jsonl")
        read = read_predictions(path)
        assert "tool" not in read.attrs and read.label.tolist() == [1, 1]
    (tmp_path / "a.csv").write_text("confidence,correct\n.9,1\n")
    refused(tmp_path / "a.csv", "is no log of another tool", labels=tmp_path / "a.csv")
    refused(tmp_path / "gone.json", "There is no file")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path / "broken.npz", "broken.npz cannot be read")
    (tmp_path / "zip.npz").write_bytes(b"")
    refused(tmp_path / "zip.npz", "ends in '.npz'")
    (tmp_path / "list.json").write_text("[]")
    refused(tmp_path / "list.json", "has no rows")
