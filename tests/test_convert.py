"""Models that cannot be used as they are: weights in a pickle, code of their own, no tokenizer; from folders and from a hub on this machine."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import transformers
from conftest import background, xitcal
from encoders import ENCODERS, make_encoder
from loopback import Loopback

from xitcal.core.errors import XitcalError
from xitcal.data.tasks import TARGETS
from xitcal.training.convert import convert
from xitcal.training.models import load_encoder, load_tokenizer, load_trained

PROBE = Path(__file__).with_name("encoder_probe.py")
PICKLED = [name for name, facts in ENCODERS.items() if facts.weights == "bin"]


class Payload:
    "Makes a folder when it is loaded as a pickle"
    def __init__(self, path): self.path = str(path)
    def __reduce__(self): return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def place(tmp_path_factory): return tmp_path_factory.mktemp("pickles")


@pytest.fixture(scope="module")
def made(place):
    "mDeBERTa, RemBERT and mBERT with a pickle for weights; no other form of them is there"
    folders = {name: make_encoder(name, place, "bin") for name in (*PICKLED, "mbert")}
    for folder in folders.values(): assert not list(folder.glob("*.safetensors")) and (folder / "pytorch_model.bin").is_file()
    return folders


def broken(folder: Path, place: Path, **changes) -> Path:
    "A copy of a model with files changed: their new content, or None for none"
    copy = shutil.copytree(folder, place / "model")
    for name, content in changes.items():
        file = copy / name.replace("__", ".")
        if content is None: file.unlink()
        else: file.write_text(json.dumps(json.loads(file.read_text()) | content if file.exists() else content))
    return copy


def split(folder: Path) -> None:
    "A pickle in two parts and their index, as large models have it"
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    places = {n: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, n in enumerate(weights)}
    for part in set(places.values()): torch.save({n: t for n, t in weights.items() if places[n] == part}, folder / part)
    (folder / "pytorch_model.bin").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(dict(metadata={}, weight_map=places)))


def test_the_encoders_whose_repositories_hold_a_pickle(): assert PICKLED == ["mdeberta-v3", "rembert"]


@pytest.mark.parametrize("parts", (1, 2))
@pytest.mark.parametrize("name", (*PICKLED, "mbert"))
def test_a_pickle_is_refused_then_converted_then_the_same_model(name, parts, made, tmp_path, monkeypatch):
    source = shutil.copytree(made[name], tmp_path / "source")
    if parts == 2: split(source)
    with monkeypatch.context() as shut: # nothing may open a pickle on the way
        shut.setattr(torch, "load", lambda *a, **k: pytest.fail("a pickle was opened"))
        with pytest.raises(XitcalError, match=r"has its weights in pytorch_model.* alone, a pickle .* `xitcal convert .* --out FOLDER`") as told:
            load_encoder(source)
    assert str(told.value).count("\n") == 0
    out = convert(source, tmp_path / "out")
    weights = torch.load(made[name] / "pytorch_model.bin", weights_only=True)
    encoder = load_encoder(out)
    for key, value in encoder.state_dict().items():
        if "pooler" not in key and "position_ids" not in key: assert torch.equal(value, weights[f"{encoder.base_model_prefix}.{key}"].float()), key
    whole = transformers.AutoModelForMaskedLM.from_pretrained(out, dtype=torch.float32)
    assert {n for n in whole.state_dict() if not torch.equal(whole.state_dict()[n], weights[n].float())} == set()
    assert load_tokenizer(out)("Paris, قال")["input_ids"] == transformers.AutoTokenizer.from_pretrained(made[name])("Paris, قال")["input_ids"]
    assert not list(out.glob("*.bin*")) and not list(tmp_path.glob("*.part"))


def test_tied_weights_are_stored_once(made, tmp_path):
    "mDeBERTa's pickle holds its embeddings under two names"
    weights = torch.load(made["mdeberta-v3"] / "pytorch_model.bin", weights_only=True)
    names = [n for n, t in weights.items() if t.data_ptr() == weights["deberta.embeddings.word_embeddings.weight"].data_ptr()]
    assert len(names) == 2
    from safetensors.torch import load_file
    stored = load_file(convert(made["mdeberta-v3"], tmp_path / "out") / "model.safetensors")
    assert [n for n in names if n in stored] == ["deberta.embeddings.word_embeddings.weight"]
    assert stored["deberta.embeddings.word_embeddings.weight"].dtype == torch.float16 # as it was


@pytest.mark.parametrize("legacy", (False, True), ids=("zip", "old"))
def test_a_program_in_a_pickle_does_not_run(legacy, made, tmp_path):
    proof, source = tmp_path / "it ran", shutil.copytree(made["rembert"], tmp_path / "source")
    weights = torch.load(source / "pytorch_model.bin", weights_only=True)
    torch.save(weights | dict(more=Payload(proof)), source / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(XitcalError, match=rf"pytorch_model.bin holds more than weights \(it asks for {os.name}.mkdir\), and nothing of it was run"):
        convert(source, tmp_path / "out")
    assert not proof.exists() and not (tmp_path / "out").exists()
    torch.load(source / "pytorch_model.bin", weights_only=False)
    assert proof.exists() # it would have run


def test_the_command(made, tmp_path):
    source = shutil.copytree(made["rembert"], tmp_path / "source")
    done = xitcal("convert", source, "--out", tmp_path / "out", fresh=True)
    assert done.stdout == f"Safetensors in {tmp_path / 'out'}. Next: xitcal run --model {tmp_path / 'out'}\n"
    load_encoder(tmp_path / "out")
    again = xitcal("convert", source, "--out", tmp_path / "out", check=False)
    assert (again.returncode, again.stdout) == (2, "") and again.stderr == f"xitcal: {tmp_path / 'out'} is there already; give a folder that is new or empty.\n"


FOREIGN = dict(model_type="their-own", auto_map=dict(AutoConfig="configuration_own.OwnConfig", AutoModel="modeling_own.OwnModel"))
LOST = dict.fromkeys(("vocab__txt", "tokenizer__json", "tokenizer_config__json"))
OWN_TOKENIZER = dict(tokenizer_class="OwnTokenizer", auto_map=dict(AutoTokenizer=["tokenization_own.OwnTokenizer", None]))
CASES = {
    "code of its own": (dict(config__json=FOREIGN), load_encoder, "needs code from its own repository for its architecture 'their-own', and no such"),
    "code of its own, tokenizer": (dict(config__json=FOREIGN), load_tokenizer, "needs code from its own repository for its architecture 'their-own'"),
    "code of its own, convert": (dict(config__json=FOREIGN), lambda f: convert(f, f.with_name("out")), "no such code is run; give a model of an architecture"),
    "a tokenizer with code": (LOST | dict(tokenizer_config__json=OWN_TOKENIZER), load_tokenizer, "code from its own repository for its tokenizer"),
    "no tokenizer": (LOST, load_tokenizer, "has no tokenizer; put the files of the tokenizer it was trained with"),
    "another's tokenizer": (dict(config__json=dict(vocab_size=50)), load_tokenizer, "pieces, the model knows 50; give the tokenizer that it was trained with"),
    "no configuration": (dict(config__json=None), load_encoder, "cannot be loaded"),
    "no weights": (dict(pytorch_model__bin=None), load_encoder, "give a folder or hub id that holds config.json, a fast tokenizer and safetensors weights"),
    "nothing to convert": (dict(pytorch_model__bin=None), lambda f: convert(f, f.with_name("out")), "neither pytorch_model.bin nor an index of its parts"),
    "a larger model's configuration": (dict(config__json=dict(num_hidden_layers=4)), lambda f: convert(f, f.with_name("out")), "do not fit a BertModel"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_used_is_told_in_one_sentence(case, made, tmp_path):
    changes, action, sentence = CASES[case]
    folder = broken(made["mbert"], tmp_path, **changes)
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')")
    with pytest.raises(XitcalError) as told: action(folder)
    assert sentence in str(told.value) and "\n" not in str(told.value)
    assert "trust_remote_code" not in str(told.value) and not (tmp_path / "it ran").exists()
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_weights_of_another_shape_are_named_with_both(tmp_path):
    "transformers would only say where to look"
    folder = make_encoder("mbert", tmp_path, "safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | dict(intermediate_size=2 * config["intermediate_size"])))
    for load in (load_encoder, lambda f: load_trained(f, TARGETS["xnli"])):
        with pytest.raises(XitcalError) as told: load(folder)
        assert re.search(r"do not fit a Bert.*'.*encoder.layer.0.intermediate.dense.bias' has the shape \(\d+,\), its config.json asks for", str(told.value))
        assert "\n" not in str(told.value) and "ignore_mismatched_sizes" not in str(told.value)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_class_without_a_tokenizer(name, place, tmp_path):
    "For some transformers makes an empty one"
    folder = make_encoder(name, tmp_path, "safetensors")
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors"): file.unlink()
    load_encoder(folder)
    with pytest.raises(XitcalError, match="has no tokenizer; put the files of the tokenizer it was trained with .* beside its weights.$"):
        load_tokenizer(folder)


def test_a_repository_with_a_pickle_is_refused_then_converted_then_loads(made, place, tmp_path):
    root, proof = tmp_path / "hub", tmp_path / "it ran"
    for repo, name in {"microsoft/mdeberta-v3-base": "mdeberta-v3", "google/rembert": "rembert", "evil/bert": "mbert", "own/code": "mbert"}.items():
        shutil.copytree(made[name], root / "models" / repo)
    split(root / "models/google/rembert")
    torch.save(dict(weight=Payload(proof)), root / "models/evil/bert/pytorch_model.bin")
    (root / "models/own/code/config.json").write_text(json.dumps(FOREIGN))
    shutil.copytree(make_encoder("eurobert", place), root / "models/EuroBERT/EuroBERT-210m") # auto_map beside a class that transformers has
    ids = ("microsoft/mdeberta-v3-base", "google/rembert")
    out = {i: str(tmp_path / i.replace("/", "-")) for i in ids}
    wanted = [("encoder", i) for i in ids]
    after = [("convert", i, out[i]) for i in ids] + [(what, out[i]) for i in ids for what in ("encoder", "tokenizer")] + [
        ("convert", "evil/bert", str(tmp_path / "evil")), ("encoder", "own/code"), ("encoder", "EuroBERT/EuroBERT-210m"), ("encoder", "nobody/nothing")]
    with Loopback(root) as hub:
        env = os.environ | dict(HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path / "home"), HF_HUB_DISABLE_TELEMETRY="1", NO_PROXY="127.0.0.1")
        runs = []
        for actions in (wanted, after):
            probe = background("script", PROBE, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            printed, err = probe.communicate(json.dumps(actions), timeout=200)
            assert probe.returncode == 0, err
            runs.append(json.loads(printed))
            if actions is wanted: assert not [r for r in hub.requests if r.startswith("GET") and r.endswith(".bin")] # not even downloaded
        downloaded = [r for r in hub.requests if r.startswith("GET") and r.endswith(".bin")]
    assert all(f"alone, a pickle that is not opened because it can run code; make safetensors of it with `xitcal convert {i} --out FOLDER`" in r["error"]
               for i, r in zip(ids, runs[0], strict=True))
    converted, loaded, (evil, own, native, nothing) = runs[1][:2], runs[1][2:6], runs[1][6:]
    assert [r["done"] for r in converted] == list(out.values()) and all(r["done"] for r in loaded) and len(downloaded) == 4
    assert "holds more than weights" in evil["error"] and not proof.exists()
    assert "needs code from its own repository" in own["error"] and "done" in native
    assert "Model 'nobody/nothing' cannot be loaded" in nothing["error"]
