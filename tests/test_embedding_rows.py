"""Training the embedding rows that occur ends as plain training does, for every class of encoder and every way to train."""
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from encoders import ENCODERS, make_encoder
from safetensors.torch import load_file

import xitcal.training.trainer
from xitcal.data.suites import find_suite
from xitcal.data.tasks import MASKED
from xitcal.training.dropout import is_of_compiler
from xitcal.training.models import load_encoder, load_tokenizer, load_trained
from xitcal.training.predict import predict
from xitcal.training.trainer import Material, Options, Training, train

SUITE = find_suite("embedded")
NLI, TAGS = SUITE.tasks["mnli"], SUITE.tasks["panx"]


def recipe_of(task, **more):
    "Two steps with everything that touches embeddings: clipping, weight decay, a head of its own rate"
    return replace(task.recipe, batch_size=4, epochs=1., max_length=64, stride=16, evaluate_every=0, learning_rate=1e-3, weight_decay=.1,
                   clip=.5, head_rate=3., **more)


def material(task, validation=False):
    if task is MASKED: return Material(MASKED, SUITE.translated_rows("mlm", ["en", "ar"], 8))
    rows = SUITE.rows(task.name, "train", ["en"], 8)
    return Material(task, rows, SUITE.rows(task.name, "validation", ["en"], 8) if validation else None)


def plain(monkeypatch): monkeypatch.setattr(xitcal.training.trainer, "train_rows", lambda models, tokens: None)


def difference(one, other) -> float:
    "Largest difference of two checkpoints' weights"
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys() and all(a[n].shape == b[n].shape for n in a)
    return max((a[n] - b[n]).abs().max().item() for n in a)


def both(start, materials, recipe, tmp_path, monkeypatch, **options):
    "The same training with rows and without; how many rows were trained"
    options = Options(precision="fp32", **options)
    tmp_path.joinpath("w").mkdir()
    made = Training(start, materials, recipe, 0, tmp_path / "w", options)
    train(start, materials, recipe, 0, tmp_path / "rows", tmp_path / "work-rows", options)
    plain(monkeypatch)
    train(start, materials, recipe, 0, tmp_path / "plain", tmp_path / "work-plain", options)
    return None if made.rows is None else len(made.rows.weight)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    "Function from an encoder's name to its folder"
    place, made = tmp_path_factory.mktemp("encoders"), {}
    def get(name):
        if name not in made: made[name] = make_encoder(name, place, "safetensors")
        return made[name]
    return get


@pytest.mark.parametrize("name", ENCODERS)
def test_weights_and_predictions_of_every_class_are_those_of_plain_training(name, folder, tmp_path, monkeypatch):
    start, recipe = folder(name), recipe_of(NLI)
    rows = both(start, [material(NLI)], recipe, tmp_path, monkeypatch)
    before = load_trained(tmp_path / "plain", NLI).get_input_embeddings()
    assert 0 < rows < before.num_embeddings # something was left out
    assert difference(tmp_path / "rows", tmp_path / "plain") < 2e-6
    test = SUITE.rows("xnli", "test", ["en", "ja", "sw"], 4) # with tokens that training never saw
    made = [predict(load_trained(tmp_path / n, NLI), load_tokenizer(start), SUITE.tasks["xnli"], test, recipe) for n in ("rows", "plain")]
    assert made[0]["prediction"] == made[1]["prediction"]
    assert abs(made[0]["confidence"].to_numpy() - made[1]["confidence"].to_numpy()).max() < 1e-5


def test_rows_that_do_not_occur_shrink_as_weight_decay_wants_it(folder, tmp_path, monkeypatch):
    start = folder("xlm-roberta-base")
    both(start, [material(NLI)], recipe_of(NLI), tmp_path, monkeypatch)
    old, new = (load_encoder(p).get_input_embeddings().weight for p in (start, tmp_path / "rows"))
    factor = 1.
    for step in range(2): factor *= 1 - xitcal.training.trainer.learning_rate(step, 2, recipe_of(NLI)) * .1
    ratio = (new / old)[-3:] # the last three pieces are spare
    assert factor < 1 and torch.allclose(ratio[~ratio.isnan()], torch.tensor(factor), atol=1e-6)


@pytest.mark.parametrize("name", ["xlm-roberta-base", "rembert"]) # output weights tied to the embeddings, and not
@pytest.mark.parametrize("tasks", [(MASKED,), (NLI, MASKED)], ids=["alone", "mixed"])
def test_masked_lm_trains_every_row(name, tasks, folder, tmp_path, monkeypatch):
    assert both(folder(name), [material(t) for t in tasks], recipe_of(NLI), tmp_path, monkeypatch) is None
    assert difference(tmp_path / "rows", tmp_path / "plain") == 0


def test_several_heads_on_one_encoder(folder, tmp_path, monkeypatch):
    rows = both(folder("mbert"), [material(NLI), material(TAGS), material(SUITE.tasks["hellaswag"])], recipe_of(NLI), tmp_path, monkeypatch)
    assert rows and difference(tmp_path / "rows", tmp_path / "plain") < 2e-6


def test_lora_freezes_them_all_and_its_checkpoint_holds_only_what_it_trains(folder, tmp_path, monkeypatch):
    start = folder("xlm-roberta-base")
    assert both(start, [material(NLI)], recipe_of(NLI), tmp_path, monkeypatch, method="lora") is None
    assert difference(tmp_path / "rows", tmp_path / "plain") == 0
    made = Training(start, [material(NLI)], recipe_of(NLI), 0, tmp_path / "w", Options(method="lora"))
    made.save()
    saved = load_file(tmp_path / "w" / "state.safetensors")
    assert not any("word_embeddings" in n for n in saved) and any("lora_A" in n for n in saved)
    assert sum(t.numel() for n, t in saved.items() if n.startswith("weights/")) == sum(
        p.numel() for m in made.models.values() for p in m.parameters() if p.requires_grad)


class Killed(Exception): pass


@pytest.mark.parametrize("more", [dict(), dict(evaluate_every=1, keep_best=True)], ids=["last", "best"])
def test_a_training_that_was_killed_ends_in_the_same_weights(more, folder, tmp_path):
    start, recipe = folder("xlm-roberta-base"), replace(recipe_of(NLI), epochs=3., **more)
    materials = [material(NLI, validation=True)]
    train(start, materials, recipe, 0, tmp_path / "whole", tmp_path / "work", Options(precision="fp32"))
    broken = Training(start, materials, recipe, 0, tmp_path / "work", Options(precision="fp32", save_seconds=0))
    def kill(done, total):
        if done == 4: raise Killed
    broken.options.on_step = kill
    with pytest.raises(Killed): broken.run()

    train(start, materials, recipe, 0, tmp_path / "resumed", tmp_path / "work", Options(precision="fp32"))
    assert difference(tmp_path / "whole", tmp_path / "resumed") == 0


def test_the_mean_of_checkpoints(folder, tmp_path, monkeypatch):
    both(folder("xlm-roberta-base"), [material(NLI)], replace(recipe_of(NLI), epochs=2.), tmp_path, monkeypatch, average=2)
    assert difference(tmp_path / "rows", tmp_path / "plain") < 2e-6


def test_a_checkpoint_of_another_shape_is_put_aside(folder, tmp_path):
    "As after an update of xitcal that keeps more or fewer rows"
    start = folder("xlm-roberta-base")
    made = Training(start, [material(NLI)], recipe_of(NLI), 0, tmp_path, Options(precision="fp32"))
    made.save()
    other = Training(start, [Material(NLI, SUITE.rows("mnli", "train", ["en"], 40))], recipe_of(NLI), 0, tmp_path, Options(precision="fp32"))
    assert len(other.rows.weight) != len(made.rows.weight)
    assert not other.resume() and (tmp_path / "state.damaged").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_where_nothing_compiles_training_goes_on_and_says_so(folder, tmp_path, monkeypatch):
    "The weights are those of plain training, and what a compiler makes would be kept in the cache"
    import torch._inductor.config
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-compiler-of-this-name")) # CXX is read once a process
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    start, recipe, materials = folder("xlm-roberta-base"), recipe_of(NLI), [material(NLI)]
    train(start, materials, recipe, 0, tmp_path / "plain", tmp_path / "work", Options(precision="fp32"))
    with pytest.warns(UserWarning, match=r"cannot be compiled here \(.*no-compiler-of-this-name.*\), so training goes on with plain ones; --no-compile"):
        train(start, materials, recipe, 0, tmp_path / "asked", tmp_path / "work-2", Options(precision="fp32", compile=True))
    assert difference(tmp_path / "plain", tmp_path / "asked") == 0
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(Path(os.environ["XITCAL_CACHE"]) / "compiled")
    assert not is_of_compiler(RuntimeError("not enough memory: you tried to allocate memory"))
