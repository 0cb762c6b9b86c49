"""The same training and the same prediction, by xitcal and by transformers' Trainer, each as a function that gives its processor seconds.

Both get the same token ids, made beforehand, the same encoder under the same fresh head, and the same recipe. Processor seconds of one process
with one thread are elapsed seconds on a free core."""
import time
import warnings
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from datasets import Dataset
from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from xitcal.data.suites import find_suite
from xitcal.data.tasks import Recipe
from xitcal.kinds.registry import kind_of
from xitcal.training.batching import micro_batches, share_of_step
from xitcal.training.models import build_head, encoder_precision, load_tokenizer, use_bf16
from xitcal.training.predict import default_budget, predict, run_model
from xitcal.training.trainer import Material, Options, Training

warnings.filterwarnings("ignore", message=".*IProgress.*")

# What a Trainer is fed of a feature, by the columns that the kind's feature has
LABELS = {"label": lambda f: dict(labels=f["label"]), "tags": lambda f: dict(labels=f["tags"]),
          "span": lambda f: dict(start_positions=f["span"][0], end_positions=f["span"][1])}


@dataclass
class Work:
    "A task with the rows that all contestants train on and predict"
    target: str          # Target task that is predicted
    rows: int            # English training rows
    test_rows: int       # Rows a language to predict
    epochs: float        # Passes over the training rows
    validation: int = 500 # English validation rows
    source: str = "embedded" # Suite
    model: str = ""      # Folder or hub id of the encoder; "" for the suite's own
    changes: dict | None = None # To the task's recipe

    @cached_property
    def suite(self): return find_suite(self.source)

    @cached_property
    def encoder(self): return self.model or self.suite.encoder()

    @cached_property
    def tokenizer(self): return load_tokenizer(self.encoder)

    @cached_property
    def test(self): return self.suite.tasks[self.target]

    @cached_property
    def task(self): return self.suite.tasks[self.test.trained_on or self.target]

    @cached_property
    def kind(self): return kind_of(self.task)

    @property
    def recipe(self) -> Recipe: return replace(self.task.recipe, rows=self.rows, epochs=self.epochs, **self.changes or {})

    @cached_property
    def train_rows(self): return self.suite.rows(self.task.name, "train", ["en"], n=self.rows)

    @cached_property
    def validation_rows(self): return self.suite.rows(self.task.name, "validation", ["en"], n=self.validation)

    @cached_property
    def train_features(self): return self.kind.features(self.train_rows, self.tokenizer, self.task, self.recipe)

    @cached_property
    def test_features(self):
        rows = self.suite.rows(self.target, "test", list(self.test.languages), n=self.test_rows)
        return self.kind.features(rows, self.tokenizer, self.test, self.recipe)

    def tokens(self, features) -> int: return sum(self.kind.length(f) for f in features)

    def score(self, model) -> float:
        "Share of right decisions on English validation rows: labels, tags, or exact matches"
        events = predict(model, self.tokenizer, self.task, self.validation_rows, self.recipe)
        headline = np.array(events["event"].to_pylist()) == self.kind.event_kinds[0]
        return float(events["correct"].to_numpy()[headline].mean())


def for_trainer(features: list[dict]) -> list[dict]:
    "Features as the models of transformers name their inputs"
    make = next(make for name, make in LABELS.items() if name in features[0])
    return [dict(input_ids=f["input_ids"], **{n: _plain(v) for n, v in make(f).items()}) for f in features]


def _plain(value): return value.tolist() if hasattr(value, "tolist") else value


def _trainer(work: Work, model, folder: str, data=None, **options) -> Trainer:
    "A Trainer with the recipe, without logs, evaluation or files; everything else is its default"
    r = work.recipe
    defaults = dict(per_device_train_batch_size=r.batch_size, num_train_epochs=r.epochs,
                    learning_rate=r.learning_rate, warmup_steps=r.warmup, weight_decay=r.weight_decay, adam_epsilon=r.adam_epsilon,
                    max_grad_norm=r.clip, use_cpu=True, dataloader_pin_memory=False, report_to=[], logging_strategy="no",
                    save_strategy="no", eval_strategy="no", disable_tqdm=True, output_dir=folder)
    tagging = DataCollatorForTokenClassification if work.kind.name == "tagging" else DataCollatorWithPadding
    trainer = Trainer(model=model, args=TrainingArguments(**defaults | options), train_dataset=data, processing_class=work.tokenizer,
                      data_collator=tagging(work.tokenizer))
    trainer.remove_callback(PrinterCallback)
    return trainer


def _head(work: Work, seed: int, attention: str):
    "The encoder under a fresh head"
    model = build_head(work.encoder, work.task, seed)
    model.set_attn_implementation(attention)
    return model


def train_trainer(work: Work, seed: int = 0, attention: str = "sdpa", plain: bool = False, **options) -> tuple[float, int, object]:
    "Processor seconds, optimiser steps, model; `plain` feeds a list in place of a `datasets.Dataset`"
    data = for_trainer(work.train_features)
    with TemporaryDirectory() as folder:
        trainer = _trainer(work, _head(work, seed, attention), folder, data if plain else Dataset.from_list(data), seed=seed, **options)
        start = time.process_time()
        trainer.train()
        return time.process_time() - start, trainer.state.global_step, trainer.model


def train_xitcal(work: Work, seed: int = 0, precision: str = "auto", attention: str = "eager") -> tuple[float, int, object]:
    "Processor seconds, optimiser steps, model"
    with TemporaryDirectory() as folder:
        options = Options(precision=precision, save_seconds=1e9)
        training = Training(work.encoder, [Material(work.task, work.train_rows)], work.recipe, seed, Path(folder), options)
        model = training.models[work.task.name]
        model.set_attn_implementation(attention)
        start = time.process_time()
        training.run()
        seconds = time.process_time() - start
        if training.rows is not None: model.base_model.set_input_embeddings(training.rows.whole()) # as `finish` does
        return seconds, training.done, model


def predict_trainer(work: Work, model, attention: str = "sdpa", by_length: bool = False, **options) -> tuple[float, list[np.ndarray]]:
    "Processor seconds and logits of each feature; `by_length` sorts the data set beforehand and puts the logits back in order"
    data, model = for_trainer(work.test_features), deepcopy(model) # a Trainer in bfloat16 leaves the weights rounded
    order = sorted(range(len(data)), key=lambda i: -len(data[i]["input_ids"])) if by_length else range(len(data))
    data = [data[i] for i in order]
    model.set_attn_implementation(attention)
    with TemporaryDirectory() as folder:
        trainer, data = _trainer(work, model, folder, **options), data if by_length else Dataset.from_list(data)
        start = time.process_time()
        logits = trainer.predict(data).predictions
        logits = np.stack(logits, -1) if isinstance(logits, tuple) else logits
        found = [z for _, z in sorted(zip(order, logits), key=lambda pair: pair[0])]
        return time.process_time() - start, found


def predict_xitcal(work: Work, model, bf16: bool = False, attention: str = "eager", runnable=None) -> tuple[float, list[np.ndarray]]:
    "Processor seconds and what is kept of the logits of each feature; `runnable` is the model as it was compiled"
    model.set_attn_implementation(attention)
    start = time.process_time()
    with encoder_precision([model], bf16):
        kept = run_model(model if runnable is None else runnable, work.test_features, work.kind, work.test, work.tokenizer.pad_token_id)
    seconds = time.process_time() - start
    model.set_attn_implementation("eager")
    return seconds, kept


def step_seconds(work: Work, compiled: bool, warm: int = 20) -> tuple[float, float]:
    "Processor seconds of the first `warm` steps of a training, which compile where that is asked for, and of one step after them"
    with TemporaryDirectory() as folder:
        training = Training(work.encoder, [Material(work.task, work.train_rows)], work.recipe, 0, Path(folder), Options(compile=compiled))
        training.runnable, seconds = {n: torch.compile(m, dynamic=True) if compiled else m for n, m in training.models.items()}, []
        with encoder_precision(list(training.models.values()), use_bf16("auto", training.accelerator.device)):
            for _ in range(len(training.steps)):
                start = time.process_time()
                training.step()
                seconds.append(time.process_time() - start)
    warm = min(warm, len(seconds) - 1)
    return sum(seconds[:warm]), sum(seconds[warm:]) / len(seconds[warm:])



def padding(work: Work) -> dict[str, float]:
    "Share of padding among what xitcal computes, in training and in prediction: what packing texts without any could save at most"
    with TemporaryDirectory() as folder:
        training = Training(work.encoder, [Material(work.task, work.train_rows)], work.recipe, 0, Path(folder), Options())
        features, budget = training.features[work.task.name], training.options.budget
        steps = [[work.kind.length(features[i]) for i in chosen] for _, chosen in training.steps]
        batches = [[lengths[i] for i in batch] for lengths in steps for batch in share_of_step(lengths, budget)]
    lengths = [work.kind.length(f) for f in work.test_features]
    rest = [[lengths[i] for i in batch] for batch in micro_batches(lengths, default_budget(torch.device("cpu")))]
    return {name: 1 - sum(map(sum, found)) / sum(len(b) * max(b) for b in found) for name, found in (("training", batches), ("prediction", rest))}
