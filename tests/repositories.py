"""Tiny copies of every data set of the suite `xtreme`, in the layout of the hub and with its traps. Their text is the embedded suite's."""
import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from xitcal.data.languages import LANGUAGES
from xitcal.data.suites import find_suite
from xitcal.data.tasks import TARGETS
from xitcal.data.xtreme.sources import HUB
from xitcal.data.xtreme.texts import WIKIPEDIA

NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
PER_ORG_LOC = list(TARGETS["panx"].labels)
TREE_TAGS = list(TARGETS["udpos"].labels)
LETTERS = "ABCDE"


def write(path: Path, columns: dict, **types) -> None:
    "A Parquet file as `datasets` writes it to the hub, with the names of its labels"
    path.parent.mkdir(parents=True, exist_ok=True)
    features = Features(Dataset.from_dict(columns).features | types)
    pq.write_table(pa.table(columns, schema=features.arrow_schema), path)


def told(task: str, split: str, code: str, n: int):
    "Columns of the embedded suite"
    return find_suite("embedded").rows(task, split, [code], n).to_dict()


def pairs(rows: dict, first: str, second: str) -> dict: return {first: rows["sentence1"], second: rows["sentence2"], "label": rows["label"]}


def nli(root: Path, n: int) -> None:
    "SNLI with the label -1, MNLI in its two validation sets, ANLI in three rounds, XNLI by language"
    for split in ("train", "validation", "test"):
        rows = pairs(told("anli+", split, "en", n), "premise", "hypothesis")
        rows["label"] = [-1, *rows["label"][1:]]
        write(root / f"stanfordnlp/snli/plain_text/{split}-00000-of-00001.parquet", rows, label=NLI)
    glue = root / "nyu-mll/glue"
    for split, own in (("train", "train"), ("validation_matched", "validation"), ("validation_mismatched", "test")):
        write(glue / f"mnli/{split}-00000-of-00001.parquet", pairs(told("mnli", own, "en", n), "premise", "hypothesis"), label=NLI)
    for split in ("train", "validation"):
        names = ClassLabel(names=["not_duplicate", "duplicate"])
        write(glue / f"qqp/{split}-00000-of-00001.parquet", pairs(told("qqp", split, "en", n), "question1", "question2"), label=names)
    for i, split in enumerate([f"{s}_r{r}" for s in ("train", "dev", "test") for r in (1, 2, 3)]):
        rows = pairs(told("anli+", "train", "en", n * (i + 2)), "premise", "hypothesis")
        rows = {c: v[n * (i + 1):] for c, v in rows.items()} | dict(uid=[f"{split}-{k}" for k in range(n)], reason=[""] * n)
        write(root / f"facebook/anli/plain_text/{split}-00000-of-00001.parquet", rows, label=NLI)
    for code in TARGETS["xnli"].languages:
        for split in ("validation", "test") if code == "en" else ("test",):
            write(root / f"facebook/xnli/{code}/{split}-00000-of-00001.parquet", pairs(told("xnli", split, code, n), "premise", "hypothesis"), label=NLI)


def paraphrases(root: Path, n: int) -> None:
    "PAWS-X, ids from 1 in every split; beside it google/xtreme's copy, which nobody may read"
    for code in TARGETS["pawsx"].languages:
        for split in ("train", "validation", "test") if code == "en" else ("test",):
            rows = dict(id=list(range(1, n + 1))) | pairs(told("pawsx", split, code, n), "sentence1", "sentence2")
            write(root / f"google-research-datasets/paws-x/{code}/{split}-00000-of-00001.parquet", rows, id=Value("int32"), label=ClassLabel(names=["0", "1"]))
        write(root / f"google/xtreme/PAWS-X.{code}/test-00000-of-00001.parquet", dict(sentence1=["lost"], sentence2=["rows"], label=["0"]))


def tags(root: Path, n: int) -> None:
    "UD-POS by language code and the contaminated copy; PAN-X"
    for code in TARGETS["udpos"].languages:
        for split in ("train", "validation", "test") if code == "en" else ("test",):
            rows = told("udpos", split, code, n)
            write(root / f"izhx/xtreme-r-udpos/{code}/{split}.parquet", dict(tokens=rows["tokens"], pos_tags=rows["tags"]),
                  pos_tags=Sequence(ClassLabel(names=TREE_TAGS)))
    poison = dict(tokens=[["μῆνιν", "ἄειδε"]], pos_tags=[[7, 15]])
    write(root / "google/xtreme/udpos.Greek/test-00000-of-00001.parquet", poison, pos_tags=Sequence(ClassLabel(names=TREE_TAGS)))
    for code in TARGETS["panx"].languages:
        for split in ("train", "validation", "test") if code == "en" else ("test",):
            rows = told("panx", split, code, n)
            kept = [[t if t < len(PER_ORG_LOC) else 0 for t in sentence] for sentence in rows["tags"]]
            write(root / f"google/xtreme/PAN-X.{code}/{split}-00000-of-00001.parquet",
                  dict(tokens=rows["tokens"], ner_tags=kept, langs=[[code] * len(t) for t in kept]), ner_tags=Sequence(ClassLabel(names=PER_ORG_LOC)))


def asked(task: str, split: str, code: str, n: int, prefix: str = "") -> dict:
    "Questions; the first one's context has lost a leading blank, so that its answers stand one character before their offsets"
    rows = told(task, split, code, n)
    answers = [dict(text=list(a["text"]), answer_start=[int(s) for s in a["answer_start"]]) for a in rows["answers"]]
    answers[0]["answer_start"] = [s + 1 for s in answers[0]["answer_start"]]
    return dict(id=[f"{prefix}{split}-{i}" for i in range(n)], title=["t"] * n, question=rows["question"], context=rows["context"], answers=answers)


def questions(root: Path, n: int) -> None:
    "SQuAD, SQuAD 2, XQuAD, MLQA (and its script repository), TyDiQA with the language in the id"
    for task, folder in (("squad", "rajpurkar/squad/plain_text"), ("squad2", "rajpurkar/squad_v2/squad_v2")):
        for split in ("train", "validation"): write(root / folder / f"{split}-00000-of-00001.parquet", asked(task, split, "en", n))
    for code in TARGETS["xquad"].languages: write(root / f"google/xquad/xquad.{code}/validation-00000-of-00001.parquet", asked("xquad", "test", code, n))
    for code in TARGETS["mlqa"].languages:
        for split in ("validation", "test") if code == "en" else ("test",):
            write(root / f"google/xtreme/MLQA.{code}.{code}/{split}-00000-of-00001.parquet", asked("mlqa", split, code, n))
    (root / "facebook/mlqa").mkdir(parents=True)
    (root / "facebook/mlqa/mlqa.py").write_text("raise SystemExit('a script that must not run')")
    prefixes = HUB["tydiqa"][0].only[1]
    for split, size in (("train", 4 * n), ("validation", n)):
        parts = [asked("tydiqa", "test" if split == "validation" else "train", code if split == "validation" else "en", size, f"{name}{k}-")
                 for k, (code, name) in enumerate(prefixes.items())]
        write(root / f"google-research-datasets/tydiqa/secondary_task/{split}-00000-of-00001.parquet", {c: sum((p[c] for p in parts), []) for c in parts[0]})


def choices(root: Path, n: int) -> None:
    "HellaSwag with its label as a string, Cosmos QA in the branch of Parquet files, CommonsenseQA with letters"
    for split in ("train", "validation"):
        rows = told("hellaswag", split, "en", n)
        endings = [[*c, "something else", "and more"][:4] for c in rows["choices"]]
        write(root / f"Rowan/hellaswag/data/{split}-00000-of-00001.parquet", dict(ind=[7] * n, activity_label=["a"] * n, ctx_a=rows["context"],
              ctx_b=rows["question"], endings=endings, label=[str(y) for y in rows["label"]]))
        rows = told("cosmosqa", split, "en", n)
        texts = [[*c, "something else", "and more"][:4] for c in rows["choices"]]
        write(root / f"allenai/cosmos_qa@refs%2Fconvert%2Fparquet/default/{split}/0000.parquet",
              dict(id=[f"c{i}" for i in range(n)], context=rows["context"], question=rows["question"], label=rows["label"])
              | {f"answer{k}": [t[k] for t in texts] for k in range(4)}, label=Value("int32"))
        rows = told("commonsenseqa", split, "en", n)
        texts = [[*c, "something else", "and more", "none"][:5] for c in rows["choices"]]
        write(root / f"tau/commonsense_qa/data/{split}-00000-of-00001.parquet", dict(id=[f"q{i}" for i in range(n)], question=rows["question"],
              question_concept=["x"] * n, choices=[dict(label=list(LETTERS), text=t) for t in texts], answerKey=[LETTERS[y] for y in rows["label"]]))
    (root / "allenai/cosmos_qa").mkdir(parents=True)
    (root / "allenai/cosmos_qa/cosmos_qa.py").write_text("raise SystemExit('a script that must not run')")


def translations(root: Path, n: int) -> None:
    "Tatoeba with line ends; BUCC's pools with pairs counted from 1, in two formats, and the pairs alone, which nobody may read"
    sides = lambda task, code, side: [r for r in find_suite("embedded").rows(task, "test", [code], n) if r["side"] == side and r["gold"]]
    for code, three in HUB["tatoeba"][0].configs.items():
        queries, pool = sides("tatoeba", code, "query"), sides("tatoeba", code, "pool")
        write(root / f"google/xtreme/tatoeba.{three}/validation-00000-of-00001.parquet", dict(source_sentence=[r["text"] + "\n" for r in pool],
              target_sentence=[r["text"] + "\n" for r in queries], source_lang=[three] * len(pool), target_lang=["eng"] * len(pool)))
    for code in TARGETS["bucc"].languages:
        english = ["Nothing of the sort."] + [r["text"] for r in sides("bucc", code, "query")]
        other = [r["text"] for r in sides("bucc", code, "pool")]
        record = dict(sentence1=other, sentence2=english, gold=[[i + 1, i + 2] for i in range(len(other))])
        path = root / f"mteb/BUCC/{code}-en"
        path.mkdir(parents=True)
        if code == "de": write(path / "test-00000-of-00001.parquet", {c: [v] for c, v in record.items()})
        else: (path / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(record, ensure_ascii=False).encode()))
        write(root / f"google/xtreme/bucc18.{code}/test-00000-of-00001.parquet", dict(source_sentence=["gold"], target_sentence=["pairs"]))


def encyclopedia(root: Path, n: int) -> None:
    "Wikipedia in forty languages, two files each: a title, a heading that is too short, and a long paragraph"
    for code in LANGUAGES:
        texts = find_suite("embedded").translated_rows("mlm", [code], 4 * n).to_dict()["text"]
        articles = [f"Title {i}\n\nSee\n\n" + " ".join(texts[k] for k in (i, i + n, i + 2 * n, i + 3 * n)) * 3 for i in range(n)]
        for part in range(2):
            mine = list(range(part, n, 2))
            columns = dict(id=[str(i) for i in mine], url=[f"https://{code}/{i}" for i in mine], title=[f"Title {i}" for i in mine],
                           text=[articles[i] for i in mine])
            write(root / f"wikimedia/wikipedia/20231101.{code}/train-{part:05d}-of-00002.parquet", columns)


def pin(root: Path) -> Path:
    "Give the repositories the commits that the sources ask for"
    sources = [WIKIPEDIA, *(s for found in HUB.values() for s in found)]
    commits = {f"datasets/{s.at}": s.revision for s in sources if re.fullmatch("[0-9a-f]{40}", s.revision)}
    (root / "commits.json").write_text(json.dumps(commits))
    return root


def make_repositories(root: Path, n: int = 8) -> Path:
    "All of them under ROOT/datasets, `n` records in each split"
    for make in (nli, paraphrases, tags, questions, choices, translations, encyclopedia): make(root / "datasets", n)
    return pin(root)


def change(path: Path, **values) -> None:
    "Write a Parquet file again, each named column with its first value exchanged; the names of its labels stay"
    table = pq.read_table(path)
    columns = table.to_pydict()
    for column, value in values.items(): columns[column][0] = value
    pq.write_table(pa.table(columns, schema=table.schema), path)
