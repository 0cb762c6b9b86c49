"""What can go wrong at the hub, or on the way to it, with a model or with the texts of Wikipedia: one sentence each, from the real loading code."""
import json
import shutil
import subprocess
import time

import pytest
from conftest import background
from encoders import make_encoder
from loopback import Loopback
from repositories import encyclopedia, pin
from test_convert import PROBE
from test_hub import environment, one, result, start

from xitcal.data.xtreme.texts import WIKIPEDIA

MODELS = {  # what is done to the hub or to the repository, and what is said
    "none": (None, "has no own/none (or it is private); give a folder with the model's files."),
    "gated": ("gated", "own/gated is gated; accept its terms on http://127.0.0.1:PORT/own/gated and run `hf auth login`, or give a folder"),
    "broken": ("broken", "cannot be loaded"),
    "cut": ("cut", "own/cut broke off on its way from http://127.0.0.1:PORT ("),
    "weights": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]), "cannot be loaded"),
    "config": (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
    "empty": (lambda f: (f / "config.json").unlink(), "give a folder or hub id that holds config.json"),
}


def probed(actions, endpoint, home, **more):
    "A probe of its own process"
    env = environment(endpoint, home, **more)
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    probe = background("script", PROBE, env=env, text=True, **pipes)
    out, err = probe.communicate(json.dumps(actions), timeout=500)
    assert probe.returncode == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    "The sentence of each fault, of a hub that is down, of an empty cache without a hub, and what a warm cache without a hub gives"
    place = tmp_path_factory.mktemp("models")
    made, root = make_encoder("mbert", place, "safetensors"), place / "hub"
    for name, (spoil, _) in MODELS.items():
        if name == "none": continue
        folder = shutil.copytree(made, root / "models/own" / name)
        if callable(spoil): spoil(folder)
    shutil.copytree(made, root / "models/own/good")
    with Loopback(root) as hub:
        for name, (spoil, _) in MODELS.items():
            if isinstance(spoil, str): getattr(hub, spoil).add(f"own/{name}")
        told = probed([("encoder", f"own/{name}") for name in (*MODELS, "good")], hub.endpoint, place / "home")
        port = hub.endpoint.rpartition(":")[2]
    down = probed([("encoder", "own/good")], hub.endpoint, place / "cold")
    offline = probed([("encoder", "own/good"), ("encoder", "own/gated")], hub.endpoint, place / "home", HF_HUB_OFFLINE="1")
    return dict(zip((*MODELS, "good"), told)), port, down[0], offline


@pytest.mark.parametrize("fault", MODELS)
def test_a_fault_of_a_model_is_told_in_one_sentence(models, fault):
    told, port, _, _ = models
    said = told[fault]["error"]
    assert said.startswith(f"Model 'own/{fault}' cannot be loaded") and "\n" not in said and "Traceback" not in said
    assert MODELS[fault][1].replace("PORT", port) in said, said


def test_a_model_without_a_hub(models):
    told, port, down, (warm, cold) = models
    assert "done" in told["good"] and "done" in warm
    assert f"http://127.0.0.1:{port} cannot be reached (" in down["error"] and "check the network, HF_ENDPOINT and HTTPS_PROXY" in down["error"]
    assert "own/gated is not in the cache" in cold["error"] and "HF_HUB_OFFLINE is set; unset it once to download" in cold["error"]


TEXTS = {
    "none": "has no wikimedia/wikipedia at",
    "gated": "wikimedia/wikipedia at {} is gated; accept its terms on",
    "broken": "wikimedia/wikipedia at {} cannot be loaded from",
    "language": "(it has no 20231101.sw/train-*.parquet)",
    "cut": "wikimedia/wikipedia at {} broke off on its way from http://127.0.0.1",
    "down": "cannot be reached (",
    "offline": "wikimedia/wikipedia at {} is not in the cache",
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    "The answer to each fault; the probes run side by side"
    place, probes, hubs = tmp_path_factory.mktemp("texts"), {}, []
    encyclopedia(place / "whole", 4)
    try:
        for fault in TEXTS:
            root = place / fault
            if fault == "none": (root / "datasets").mkdir(parents=True)
            else: shutil.copytree(place / "whole", root / "datasets")
            if fault == "language": shutil.rmtree(root / "datasets/wikimedia/wikipedia/20231101.sw")
            pin(root)
            hubs.append(Loopback(root).__enter__())
            if fault in ("gated", "broken"): getattr(hubs[-1], fault).add(WIKIPEDIA.at)
            if fault == "cut": hubs[-1].cut.add(f"{WIKIPEDIA.at}/20231101.sw/")  # after the English texts
            more, languages = dict(HF_HUB_OFFLINE="1") if fault == "offline" else {}, "en,sw" if fault == "cut" else "sw"
            endpoint = hubs[-1].endpoint if fault != "down" else "http://127.0.0.1:9"
            probes[fault] = start([one("mlm", languages, "train")], endpoint, place / f"{fault}-home", **more)
        yield {fault: next(iter(result(probe).values())) for fault, probe in probes.items()}, hubs[[*TEXTS].index("cut")], place / "cut-home"
    finally:
        for hub in hubs: hub.__exit__()


@pytest.mark.parametrize("fault", TEXTS)
def test_a_fault_of_the_texts_is_told_in_one_sentence(texts, fault):
    said = texts[0][fault].get("error", "")
    assert said.startswith("Texts for masked language modelling: ") and "\n" not in said, texts[0][fault]
    assert TEXTS[fault].format(WIKIPEDIA.revision[:8]) in said and "--data" in said, said


def whole_texts(home) -> list:
    "Files of texts that the cache takes for whole"
    return [p for p in home.glob("datasets/generator/**/*.arrow") if not any(part.endswith(".incomplete") for part in p.parts)]


def test_texts_that_broke_off_are_not_taken_for_whole(texts, tmp_path):
    "The English texts were there already; the next run reads all again, and has what an undisturbed one has"
    _, hub, home = texts
    asked = [r for r in hub.requests if "/resolve/" in r]
    assert any("20231101.en/" in r for r in asked[:2]) and "20231101.sw/" in asked[-1] and not whole_texts(home)
    hub.cut.clear()
    again, other = (result(start([one("mlm", "en,sw", "train")], hub.endpoint, place)) for place in (home, tmp_path / "home"))
    rows = again["mlm", "train", "en,sw"]["rows"]
    assert rows == other["mlm", "train", "en,sw"]["rows"] and [r["language"] for r in rows] == ["en", "sw"] and len(whole_texts(home)) == 1


def test_two_processes_read_the_same_texts_at_once(tmp_path):
    "After one that was killed half-way, with one cold cache: both have the rows of an undisturbed run, and the texts are streamed once"
    encyclopedia(tmp_path / "hub/datasets", 40)
    wanted, home = [one("mlm", "en,sw,th", "train", n=50)], tmp_path / "home"
    found = lambda probe: result(probe)["mlm", "train", "en,sw,th"]["rows"]
    with Loopback(pin(tmp_path / "hub")) as hub:
        files = lambda: [r for r in hub.requests if "/resolve/" in r]
        alone = found(start(wanted, hub.endpoint, tmp_path / "other"))
        streamed = len(files())
        hub.requests.clear()
        hub.delay = .3
        killed = start(wanted, hub.endpoint, home)
        while killed.poll() is None and not any("20231101.sw/" in r for r in files()): time.sleep(.02)
        killed.kill()
        killed.communicate()
        assert list(home.glob("datasets/generator/**/*.incomplete")) and not whole_texts(home)
        hub.requests.clear()
        both = [start(wanted, hub.endpoint, home) for _ in range(2)]
        assert [found(probe) for probe in both] == [alone, alone] and len(alone) == 50
        assert len(files()) == streamed and len(whole_texts(home)) == 1
