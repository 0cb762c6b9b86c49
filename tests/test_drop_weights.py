"""`xitcal run --drop-weights`: weights go when nothing starts from them any more, and come back when something does."""
import re

import pytest
from conftest import xitcal

from xitcal.study.ledger import load_predictions
from xitcal.study.store import Store

SMALL = ["--intermediate", "none,mnli", "--language", "en,sw", "--seeds", "0", "--intermediate-rows", "32", "--target-rows", "32", "--test-rows", "8",
         "--calibration-rows", "8", "--workers", "1"]


def weights(store): return sorted(p.parent.name.partition("-")[0] for p in store.glob("stages/*/*.safetensors"))


def run(store, target, *more): return xitcal("run", "--store", store, *SMALL, "--target", target, *more)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    "A study that keeps all weights"
    store = tmp_path_factory.mktemp("kept") / "store"
    run(store, "xnli,tatoeba,pawsx")
    return store


def predictions(store): return load_predictions(store).to_pandas().sort_values(["intermediate", "target", "language", "example"]).reset_index(drop=True)


def test_weights_go_and_predictions_stay(kept, tmp_path):
    store = tmp_path / "store"
    run(store, "xnli,tatoeba", "--drop-weights")
    assert weights(store) == [] and len(list(store.glob("stages/*"))) == 7
    place = Store(store)
    trained = [p.name for p in store.glob("stages/*") if not p.name.startswith("prediction")]
    assert all(place.dropped(name) and place.fault(name) is None for name in trained)
    assert "model.safetensors" in place.manifest(trained[0])["dropped"]

    done = run(store, "xnli,tatoeba", "--drop-weights") # nothing is needed, so nothing is trained
    assert "trained again" not in done.stderr and all(place.dropped(name) for name in trained)

    done = run(store, "xnli,tatoeba,pawsx", "--drop-weights") # one more target starts from the intermediate model
    said = re.search(r"xitcal: 1 trained models whose weights were dropped are needed again and are trained again: MNLI, seed 0\.", done.stderr)
    assert said, done.stderr
    assert weights(store) == []
    both = predictions(kept), predictions(store)
    assert both[0].equals(both[1]) # whether weights were kept or dropped and made again


def test_weights_of_a_finished_study_go_later(kept):
    assert weights(kept) == ["intermediate"] + ["target"] * 4
    before = predictions(kept)
    run(kept, "xnli,tatoeba,pawsx", "--drop-weights")
    assert weights(kept) == [] and predictions(kept).equals(before)


def test_the_plan_counts_the_disk_both_ways():
    said = xitcal("plan", *SMALL, "--target", "xnli,tatoeba,pawsx").stdout
    together, at_once = map(float, re.search(r"([\d.]+) GiB together, or at most ([\d.]+) GiB at a time with --drop-weights", said).groups())
    assert 0 <= at_once < together
