"""Real logs of other evaluation tools about a tiny random model: `python scripts/tool_logs.py` writes tests/logs/real (a minute).

Needs lm_eval and inspect-ai beside xitcal's own requirements, and no network. A decoder with random weights and a vocabulary of 24 words answers
made-up questions: as a task of lm-evaluation-harness with --log_samples, as a task of Inspect with log-probabilities, through Trainer.predict and
through a text-classification pipeline. The README beside the files says the versions, and the accuracy that each tool, or the labels, say; the tests
compare these with what is read.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast, Trainer, TrainingArguments, pipeline

OUT = Path(__file__).parents[1] / "tests" / "logs" / "real"
WORDS = ["<pad>", "<unk>", "</s>", "A", "B", "C", "D", "ANSWER", ":", *"where who what is the a bee cat dog snow lives makes water hive house".split()]
LETTERS, N = "ABCD", 24
CHOICES = ["a hive", "the house", "water", "snow"]


def make_model(folder: Path):
    "A random decoder and a classifier with the same tokenizer"
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=256)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    torch.manual_seed(0)
    shape = dict(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
        initializer_range=0.4,
    )
    for name, make, more in (("decoder", LlamaForCausalLM, {}), ("classifier", LlamaForSequenceClassification, dict(num_labels=3))):
        make(LlamaConfig(**shape, **more)).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return tokenizer


def questions() -> list[dict]:
    "Made-up questions with four choices and an answer drawn at random"
    draw = random.Random(0)
    return [dict(question=" ".join(draw.choices(WORDS[9:], k=6)), choices=CHOICES, answer=draw.randrange(4)) for _ in range(N)]


def harness(folder: Path, rows):
    "samples_*.jsonl of lm-evaluation-harness, and its accuracy"
    (folder / "task").mkdir()
    (folder / "task" / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "task" / "tiny.yaml").write_text(
        "task: tiny_sw\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: "
        + str(folder / "task" / "rows.jsonl")
        + "\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: answer\ndoc_to_choice: choices\nmetric_list:\n  - metric: acc\n  - metric: acc_norm\n'
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "lm_eval",
            "run",
            "--model",
            "hf",
            "--model_args",
            f"pretrained={folder / 'decoder'},max_length=128",
            "--tasks",
            "tiny_sw",
            "--include_path",
            folder / "task",
            "--device",
            "cpu",
            "--batch_size",
            "4",
            "--output_path",
            folder / "lm",
            "--log_samples",
        ],
        check=True,
    )
    [samples], [results] = (list((folder / "lm").rglob(x)) for x in ("samples_*.jsonl", "results_*.json"))
    shutil.copy(samples, OUT / samples.name)
    return samples.name, json.loads(results.read_text())["results"]["tiny_sw"]["acc,none"]


def inspect(folder: Path, rows):
    "Logs of Inspect in both formats, and how many of its samples have their target as the most probable letter"
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.log import write_eval_log
    from inspect_ai.model import get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    samples = [Sample(input=r["question"] + " ANSWER :", choices=r["choices"], target=LETTERS[r["answer"]], id=f"q{i}") for i, r in enumerate(rows)]
    found = {}
    model = get_model("hf/tiny", model_path=str(folder / "decoder"), do_sample=False, device="cpu", use_chat_template=False)
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=match(), name="tiny")
    with chdir(folder):  # a log names the git repository that it is made in
        [log] = eval(task, model=model, log_dir="inspect", display="none", max_tokens=1, logprobs=True, top_logprobs=len(WORDS))
    assert log.status == "success", log.error
    right = []
    for s in log.samples:
        tops = {t.token.strip(): t.logprob for t in s.output.choices[0].logprobs.content[0].top_logprobs}
        right.append(max(LETTERS, key=tops.get) == s.target)
    for kind, n in (("eval", N), ("json", 4)):  # JSON is ten times as large
        write_eval_log(log.model_copy(update=dict(samples=log.samples[:n])), str(OUT / f"inspect.{kind}"), format=kind)
        found[f"inspect.{kind}"] = dict(rows=n, accuracy=float(np.mean(right[:n])))
    return found


def transformers_files(folder: Path, rows, tokenizer):
    "A dump of Trainer.predict and the outputs of a pipeline beside their labels"
    from datasets import Dataset

    texts, labels = [r["question"] for r in rows], [r["answer"] % 3 for r in rows]
    model = LlamaForSequenceClassification.from_pretrained(folder / "classifier")
    data = Dataset.from_dict(dict(text=texts, labels=labels)).map(lambda r: tokenizer(r["text"]), remove_columns="text")
    done = Trainer(model, TrainingArguments(str(folder / "trainer"), report_to=[], use_cpu=True), processing_class=tokenizer).predict(data)
    np.savez(OUT / "trainer.npz", predictions=done.predictions, label_ids=done.label_ids)
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    lines = [json.dumps(dict(label=y, output=output)) for y, output in zip(labels, pipe(texts, top_k=None))]
    (OUT / "pipeline.jsonl").write_text("\n".join(lines) + "\n")
    accuracy = float((done.predictions.argmax(1) == np.array(labels)).mean())
    return {"trainer.npz": accuracy, "pipeline.jsonl": accuracy}


def main():
    os.environ |= dict(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        folder, rows = Path(place), questions()
        tokenizer = make_model(folder)
        found = dict([harness(folder, rows)]) | inspect(folder, rows) | transformers_files(folder, rows, tokenizer)
    for path in OUT.iterdir():  # no path of this machine
        if path.suffix in (".json", ".jsonl"):
            path.write_text(path.read_text().replace(place, "tiny"))
    said = {name: x if isinstance(x, dict) else dict(rows=N, accuracy=x) for name, x in found.items()}
    versions = ", ".join(f"{name} {version(name)}" for name in ("lm_eval", "inspect-ai", "transformers"))
    (OUT / "README.md").write_text(
        f"# Real logs\n\nWritten by `scripts/tool_logs.py` with {versions}: a random decoder's answers to made-up questions.\n\n```json\n"
        f"{json.dumps(said, indent=1)}\n```\n"
    )
    print((OUT / "README.md").read_text())


if __name__ == "__main__":
    main()
