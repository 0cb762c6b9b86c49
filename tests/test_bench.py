"""The benchmark compares like with like; how fast anything is, no test says."""
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import contestants  # noqa: E402
import limits  # noqa: E402
import speed  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["xnli", "udpos", "xquad"])
def work(request): return contestants.Work(request.param, rows=70, test_rows=1, epochs=1., validation=20)


def test_a_trainer_gets_the_same_rows(work):
    fed = contestants.for_trainer(work.train_features)
    assert [f["input_ids"] for f in fed] == [f["input_ids"] for f in work.train_features]
    assert len({f["row"] for f in work.train_features}) == work.rows and set(fed[0]) > {"input_ids"}


def test_same_steps_and_another_model_afterwards(work):
    start = contestants._head(work, 0, "eager").state_dict()
    for run in (contestants.train_xitcal, contestants.train_trainer):
        seconds, steps, model = run(work, 0)
        assert steps == 3 and seconds > 0  # 70 rows in steps of 32
        assert any(not torch.equal(start[n], w) for n, w in model.state_dict().items())


def test_same_recipe(work, tmp_path):
    trainer = contestants._trainer(work, contestants._head(work, 0, "sdpa"), str(tmp_path), contestants.for_trainer(work.train_features))
    args, recipe = trainer.args, work.recipe
    assert (args.learning_rate, args.train_batch_size, args.num_train_epochs) == (recipe.learning_rate, recipe.batch_size, recipe.epochs)
    assert (args.weight_decay, args.adam_epsilon, args.max_grad_norm) == (recipe.weight_decay, recipe.adam_epsilon, recipe.clip)
    assert args.get_warmup_steps(100) == round(100 * recipe.warmup)
    assert args.optim == "adamw_torch_fused" and args.use_cpu


def test_same_loss_on_a_batch():
    for target in ("xnli", "udpos"):  # answers differ on purpose: xitcal bars spans outside the context
        work = contestants.Work(target, rows=16, test_rows=1, epochs=1.)
        model, features = contestants._head(work, 0, "eager").eval(), work.train_features
        inputs, labels = work.kind.collate(features, work.tokenizer.pad_token_id)
        ours = work.kind.loss(model(**inputs), labels, 0.) / sum(work.kind.units(f) for f in features)
        theirs = model(**inputs, labels=labels["label" if target == "xnli" else "tags"]).loss
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("by_length", [False, True])
def test_same_logits_in_the_same_order(work, by_length):
    model = contestants._head(work, 0, "eager")
    _, ours = contestants.predict_xitcal(work, model)
    _, theirs = contestants.predict_trainer(work, model, by_length=by_length)
    assert len(ours) == len(theirs) == len(work.test.languages)
    for f, a, b in zip(work.test_features, ours, theirs):
        if work.kind.name == "tagging": b = b[:len(f["words"])][f["words"] >= 0]
        if work.kind.name == "answers": b = b[:len(f["input_ids"])]
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_bfloat16_leaves_the_model_as_it_was():
    work = contestants.Work("xnli", rows=32, test_rows=1, epochs=1.)
    model = contestants._head(work, 0, "eager")
    before = contestants.predict_xitcal(work, model)[1]
    contestants.predict_trainer(work, model, bf16_full_eval=True)
    np.testing.assert_array_equal(before, contestants.predict_xitcal(work, model)[1])


def test_contestants_take_turns():
    order = []
    found = speed.rounds({name: lambda r, name=name: order.append(name) or (name, r) for name in "abc"}, 4)
    assert "".join(order) == "abcbcacababc" and found["b"] == [("b", r) for r in range(4)]
    assert speed.fastest(dict(slow=dict(s=2.), quick=dict(s=1.)), lambda s: (s,)) == "quick"


def test_operations_counted():
    path = contestants.Work("xnli", 1, 1, 1.).suite.encoder()
    shapes = limits.encoder_shapes(path, 100)
    layers = 4
    products = layers * sum(2 * m * k * n for m, k, n in shapes)
    assert products == pytest.approx(6 * 100 * limits.body_weights(path), rel=.02)  # biases and layer norms apart


def test_a_small_bench(monkeypatch):
    monkeypatch.setenv("CXX", "no-compiler-of-this-name")  # half a minute a model
    monkeypatch.setattr(speed, "TRAINING", {"grouped": speed.GROUPED})
    monkeypatch.setattr(speed, "PREDICTION", {"by length": dict(by_length=True)})
    table = speed.bench(("udpos",), rows=64, test_rows=1, epochs=1., repeats=2, large=128)
    check(table, ["udpos"])
    profile = table[table.part == "profile"]
    assert (profile[profile.setting == "training"].share > 0).all() and np.allclose(profile.groupby("setting").share.sum(), 1)
    assert table[table.part == "padding"].set_index("contestant").share.between(0, .99).to_dict() == dict(training=True, prediction=True)


def test_padding_is_what_the_batches_hold(monkeypatch):
    work = contestants.Work("xnli", rows=64, test_rows=1, epochs=1.)
    lengths = [work.kind.length(f) for f in work.test_features]
    monkeypatch.setattr(contestants, "default_budget", lambda device: 10**9)  # all in one batch
    assert contestants.padding(work)["prediction"] == pytest.approx(1 - sum(lengths) / (len(lengths) * max(lengths)))


def test_what_is_compiled_computes_the_same(monkeypatch):
    work = contestants.Work("xnli", rows=64, test_rows=1, epochs=1.)
    model = contestants._head(work, 0, "eager")
    plain, seen = contestants.predict_xitcal(work, model)[1], []
    runnable = lambda **inputs: seen.append(1) or model(**inputs)  # what torch.compile gives is called, not the model
    runnable.train, runnable.training, runnable.device = model.train, model.training, model.device
    np.testing.assert_array_equal(plain, contestants.predict_xitcal(work, model, runnable=runnable)[1])
    assert seen
    monkeypatch.setenv("CXX", "no-compiler-of-this-name")
    assert speed.measure_compiled(work, model, 2) == []


def check(table, targets):
    "A table holds what it should, and its columns agree"
    runs = table[table.part.isin(["training", "prediction"])]
    for part, more in (("training", []), ("prediction", ["xitcal in bf16"])):
        for target in targets:
            found = runs[(runs.part == part) & (runs.task == target)].set_index("contestant")
            assert set(found.index) == {"xitcal", "Trainer", "Trainer by length", "Trainer at its best", *more}
            np.testing.assert_allclose(found.times, found.seconds / found.seconds["xitcal"], rtol=.01)
            assert found.tokens.nunique() == 1 and found.steps.nunique() <= 1
    assert ((runs.low <= runs.seconds) & (runs.seconds <= runs.high)).all()
    limit = table.set_index("contestant").gflops["matrix product, bf16, large"]
    np.testing.assert_allclose(runs.share, runs.gflops / limit, atol=1e-3)
    assert set(table.part) - {"compiled"} == {"limit", "training", "prediction", "attention", "profile", "padding", "claim"}


def test_the_committed_table():
    check(pd.read_csv(FOLDER / "speed.csv"), list(speed.TARGETS))
    assert json.loads((FOLDER / "speed.json").read_text())["threads"] == 1
