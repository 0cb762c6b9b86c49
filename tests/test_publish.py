"""`xitcal push` and `pull` with the hub's own client against a hub on this machine: private, existing, interrupted, no token, a wrong one."""
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, xitcal
from huggingface_hub import DatasetCard, HfApi, ModelCard, constants
from loopback_upload import UploadHub
from stores import made_store

from xitcal.core.errors import XitcalError
from xitcal.core.schema import PREDICTION_SCHEMA
from xitcal.study import publish
from xitcal.study.grid import Study
from xitcal.study.ledger import load_predictions, study_cells
from xitcal.study.publish import pull, push
from xitcal.study.store import Store, with_file

STUDY = Study(intermediates=("none", "mnli"), targets=("xnli", "panx"), languages=("en", "sw"), seeds=(0,), test_rows=20, calibration_rows=20)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    "A store whose predictions are made up and which has no models"
    return made_store(tmp_path_factory.mktemp("toy") / "store", STUDY)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A hub of this test's own, with the right token set"
    with UploadHub(tmp_path / "hub") as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.endpoint + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "right")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


def refused(contains: str, call, *args, **more) -> str:
    "The one sentence of an error"
    with pytest.raises(XitcalError) as error: call(*args, **more)
    said = str(error.value)
    assert contains in said and "\n" not in said and "Traceback" not in said, said
    return said


ORDER = ["target", "intermediate", "seed", "split", "language", "event", "example", "unit"]


def rows(store): return load_predictions(store, split=None).to_pandas().sort_values(ORDER).reset_index(drop=True)


def test_a_study_comes_back_as_it_went(toy, hub, tmp_path):
    said = push(toy, "me/study", progress=False)
    assert f"{hub.endpoint}/datasets/me/study" in said
    folder = hub.root / "datasets/me/study"
    assert folder in hub.private and not (hub.root / "models").exists()
    assert len(hub.sent) == 1 and hub.sent[0][-1] == "README.md"
    told = pull("me/study", tmp_path / "back")
    assert told.startswith("4 of 4 cells are in") and not list(tmp_path.glob("*.part"))
    pd.testing.assert_frame_equal(rows(toy), rows(tmp_path / "back"))
    assert all(Store(tmp_path / "back").fault(s) is None for s in study_cells(toy).stage)


def test_nothing_is_sent_twice_and_a_study_may_grow(toy, hub, tmp_path):
    small = made_store(tmp_path / "small", replace(STUDY, intermediates=("none",)))
    for name in study_cells(small).stage: # the same stages as in the larger store, with the seconds that they took
        shutil.copytree(toy / "stages" / name, small / "stages" / name, dirs_exist_ok=True)
    push(small, "me/study", progress=False)
    hub.sent.clear()
    push(small, "me/study", progress=False)
    assert hub.sent == []
    push(toy, "me/study", progress=False)
    sent = [name for lot in hub.sent for name in lot]
    grown = set(study_cells(toy).stage) - set(study_cells(small).stage)
    assert {n.split("/")[1] for n in sent if n.startswith("stages/")} == grown and "store.json" not in sent
    hub.sent.clear()
    assert "holds another study" in refused("2 cells that this store lacks", push, small, "me/study", progress=False) and hub.sent == []


def test_an_interrupted_push_goes_on(toy, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "_LOT", 3)
    hub.breaks = 2
    refused("broke off", push, toy, "me/study", progress=False)
    first = [name for lot in hub.sent for name in lot]
    assert "study.json" in first and "README.md" not in first
    assert pull("me/study", tmp_path / "half").startswith(f"{sum('predictions.parquet' in n for n in first)} of 4 cells")
    hub.breaks, hub.sent = None, []
    push(toy, "me/study", progress=False)
    second = [name for lot in hub.sent for name in lot]
    assert second and not set(first) & set(second) and "README.md" in second
    pull("me/study", tmp_path / "back")
    pd.testing.assert_frame_equal(rows(toy), rows(tmp_path / "back"))


def test_an_interrupted_pull_goes_on(toy, hub, tmp_path):
    push(toy, "me/study", progress=False)
    stage = study_cells(toy).stage[3]
    hub.cut.add(f"me/study/stages/{stage}/predictions")
    refused("run the same command again", pull, "me/study", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    hub.cut.clear()
    hub.requests.clear()
    pull("me/study", tmp_path / "back")
    again = [r for r in hub.requests if r.startswith("GET") and "/resolve/" in r and "predictions.parquet" in r]
    assert len(again) < 4 and any(stage in r for r in again)
    pd.testing.assert_frame_equal(rows(toy), rows(tmp_path / "back"))


@pytest.mark.parametrize("token, said", [("", "There is no token to write to me/study with; run `hf auth login`"),
                                         ("wrong", "does not accept the token of this machine; run `hf auth login`"),
                                         ("reader", "may not write to me/study; run `hf auth login` with one that may")])
def test_a_token_that_will_not_do(toy, hub, token, said, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    refused(said, push, toy, "me/study", progress=False)
    assert not (hub.root / "datasets").exists() and hub.sent == []


def test_a_private_study_needs_a_token_that_may_read(toy, hub, tmp_path, monkeypatch):
    push(toy, "me/study", progress=False)
    monkeypatch.setenv("HF_TOKEN", "")
    refused("has no dataset me/study, or it is private; check the name, or run `hf auth login`", pull, "me/study", tmp_path / "back")
    monkeypatch.setenv("HF_TOKEN", "reader")
    assert pull("me/study", tmp_path / "back").startswith("4 of 4")


def test_a_public_study_needs_none(toy, hub, tmp_path, monkeypatch):
    push(toy, "me/study", public=True, progress=False)
    monkeypatch.setenv("HF_TOKEN", "")
    assert pull("me/study", tmp_path / "back").startswith("4 of 4")


def test_a_place_that_holds_something_else(toy, hub, tmp_path):
    other = made_store(tmp_path / "other", replace(STUDY, test_rows=7))
    push(other, "me/study", progress=False)
    HfApi().create_repo("me/texts", repo_type="dataset")
    (hub.root / "datasets/me/texts/rows.csv").write_text("a,b\n")
    hub.commits.clear()
    hub.sent.clear()
    before = {p: p.read_bytes() for p in hub.root.rglob("*") if p.is_file()}
    refused("its test_rows is 7 and this store's 20", push, toy, "me/study", progress=False)
    refused("holds something that is no study of xitcal (rows.csv)", push, toy, "me/texts", progress=False)
    refused("is no study that `xitcal push` has sent", pull, "me/texts", tmp_path / "back")
    assert hub.sent == [] and before == {p: p.read_bytes() for p in hub.root.rglob("*") if p.is_file()} and not (tmp_path / "back").exists()


def test_an_empty_place_is_taken(toy, hub):
    HfApi().create_repo("me/study", repo_type="dataset", private=False)
    push(toy, "me/study", progress=False)
    assert hub.root / "datasets/me/study" not in hub.private


def test_damage_on_the_hub_is_found(toy, hub, tmp_path):
    push(toy, "me/study", progress=False)
    file = next((hub.root / "datasets/me/study").glob("stages/prediction-*/result.json"))
    file.write_text(file.read_text().replace("1", "2"))
    hub.commits.clear()
    refused("In me/study, result.json of stage", pull, "me/study", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    about = hub.root / "datasets/me/study/store.json"
    about.write_text(json.dumps(dict(format=1, xitcal="0.0.1")))
    hub.commits.clear()
    refused("The store 'me/study' was written by xitcal 0.0.1", pull, "me/study", tmp_path / "back")


def test_no_hub(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "right")
    refused("http://127.0.0.1:9 cannot be reached", push, toy, "me/study", progress=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("HF_HUB_OFFLINE is set; unset it", push, toy, "me/study", progress=False)
    refused("HF_HUB_OFFLINE is set; unset it", pull, "me/study", tmp_path / "back")


def resign(store: Path, stage: str, name: str) -> None:
    "Enter a file that was written anew in the manifest of its stage"
    folder = store / "stages" / stage
    facts = with_file(json.loads((folder / "manifest.json").read_text()), name, (folder / name).read_bytes())
    (folder / "manifest.json").write_text(json.dumps(facts))


def test_a_model_in_a_folder_loses_its_path(toy, hub, tmp_path):
    made, model = shutil.copytree(toy, tmp_path / "store"), "/somewhere/models/xlmr"
    for stage in study_cells(made).stage:
        path = made / "stages" / stage / "predictions.parquet"
        table = pq.read_table(path)
        at = table.column_names.index("model")
        pq.write_table(table.set_column(at, table.schema.field(at), pa.array([model] * len(table), pa.string())), path)
        resign(made, stage, "predictions.parquet")
    study = json.loads((made / "study.json").read_text())
    (made / "study.json").write_text(json.dumps(study | dict(cells=[c | dict(model=model) for c in study["cells"]])))
    push(made, "me/study", progress=False)
    for file in (p for p in (hub.root / "datasets/me/study").rglob("*") if p.is_file()):
        assert b"somewhere" not in file.read_bytes() and str(tmp_path).encode() not in file.read_bytes(), file
    pull("me/study", tmp_path / "back")
    file = next((tmp_path / "back").glob("stages/*/predictions.parquet"))
    assert set(rows(tmp_path / "back").model) == {"xlmr"} == set(pq.read_table(file)["model"].to_pylist())
    assert all(Store(tmp_path / "back").fault(s) is None for s in study_cells(made).stage)


def test_a_text_with_a_path_is_refused(toy, hub, tmp_path):
    made = shutil.copytree(toy, tmp_path / "store")
    stage = study_cells(made).stage[0]
    (made / "stages" / stage / "result.json").write_text(json.dumps(dict(events=1, cut=[], sources=[dict(places=["/somewhere/rows.tsv"])])))
    resign(made, stage, "result.json")
    for dry_run in (True, False):
        refused("would name the local path '/somewhere/rows.tsv', so nothing was sent", push, made, "me/study", progress=False, dry_run=dry_run)
    assert hub.requests == []


def test_bad_names_and_places(toy, hub, tmp_path):
    for name in ("study", "a/b/c", "me/st udy", ""):
        refused("is no repository; write NAMESPACE/NAME", push, toy, name)
        refused("is no repository; write NAMESPACE/NAME", pull, name, tmp_path / "back")
    refused("is not empty; choose another one for --store", pull, "me/study", toy)
    refused("There is no store at", push, tmp_path / "gone", "me/study")
    refused("has no weights any more", push, toy, "me/study", models=True)
    assert hub.requests == []


def test_the_card_of_the_data(toy, hub, tmp_path):
    "The hub's own reader of cards and `datasets` understand it"
    from datasets import load_dataset
    push(toy, "me/study", progress=False)
    pull("me/study", tmp_path / "back")
    card = DatasetCard.load(tmp_path / "back/README.md")
    assert card.data.language == ["en", "sw"] and [c["config_name"] for c in card.data.configs] == ["all", "xnli", "panx"]
    assert all(f"| `{name}` |" in card.text for name in PREDICTION_SCHEMA.names) and "pull --from me/study" in card.text
    for config, n in {"panx": None, "all": len(rows(toy))}.items():
        table = load_dataset(str(tmp_path / "back"), config, split="predictions", cache_dir=str(tmp_path / "cache"))
        assert table.column_names == PREDICTION_SCHEMA.names and len(table) == (n or (rows(toy).target == config).sum())


# ---- a trained study, by the command line

@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    "What is on the hub after a push with models, a store that was pulled from there, and what was said"
    place = tmp_path_factory.mktemp("trained")
    with UploadHub(place / "hub") as hub:
        env = os.environ | dict(HF_ENDPOINT=hub.endpoint, HF_HOME=str(place / "home"), HF_TOKEN="right", NO_PROXY="127.0.0.1")
        listed = xitcal("push", "--store", store, "--to", "me/study", "--models", "--dry-run", env=env).stdout
        assert hub.requests == []
        said = xitcal("push", "--store", store, "--to", "me/study", "--models", env=env).stdout
        wrong = xitcal("push", "--store", store, "--to", "you/study", check=False, env=env)
        xitcal("pull", "--from", "me/study", "--store", place / "back", env=env)
    return hub.root, place / "back", listed, said, wrong


@pytest.mark.slow
def test_a_dry_run_lists_what_is_sent(trained):
    root, _, listed, said, wrong = trained
    for kind in ("datasets", "models"):
        there = {str(p.relative_to(root / kind / "me/study")) for p in (root / kind / "me/study").rglob("*") if p.is_file()} - {".gitattributes"}
        part = re.split(r"^(?:dataset|model) me/study$", listed, flags=re.M)[1 + (kind == "models")]
        assert set(re.findall(r"^ +[\d,]+  (?!bytes)(\S+)$", part, re.M)) == there
    assert "/datasets/me/study and http" in said
    assert wrong.returncode == 2 and "The token of this machine may not write to you/study" in wrong.stderr


@pytest.mark.slow
def test_published_models_load(trained, store):
    from transformers import AutoModelForSequenceClassification
    root = trained[0] / "models/me/study"
    named = [p.name for p in root.iterdir() if p.is_dir()]
    model = next(n for n in named if "SequenceClassification" in (root / n / "config.json").read_text())
    AutoModelForSequenceClassification.from_pretrained(root, subfolder=model)
    card = ModelCard.load(root / model / "README.md")
    assert card.data.pipeline_tag == "text-classification" and len(card.data.eval_results) in (6, 12)
    for part in ("| encoder |", "| condition |", "| seed |", "## Data and licences", "learning rate", "signed calibration error", "[", "## Known limits"):
        assert part in card.text
    assert f"subfolder='{named[0]}'" in (root / "README.md").read_text() or model in (root / "README.md").read_text()


@pytest.mark.slow
def test_a_pulled_study_is_done_and_gives_a_report(trained, store):
    back = trained[1]
    pd.testing.assert_frame_equal(rows(store), rows(back))
    assert not list(back.rglob("*.safetensors"))
    done = xitcal("run", "--store", back, *SMALL)
    assert "are in" in done.stdout and "trained again" not in done.stderr and not list(back.rglob("*.safetensors"))
    xitcal("predictions", "--store", back, "--out", back.parent / "mine.parquet")
    assert "en" in xitcal("calibrate", back.parent / "mine.parquet", "--by", "target,language,event", "--fast").stdout
    xitcal("report", "--store", back, "--out", back.parent / "report.html")
    assert (back.parent / "report.html").stat().st_size > 10_000
