"""The suite `xtreme` from files of the user's own: XTREME's download folder, the authors' files, and what people get wrong in them."""
import csv
import json
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from xitcal.cli import app
from xitcal.core.errors import XitcalError
from xitcal.data.languages import LANGUAGES
from xitcal.data.rows import check_rows
from xitcal.data.suites import find_suite
from xitcal.data.tasks import RECIPES, TARGETS
from xitcal.data.xtreme.reading import noted
from xitcal.data.xtreme.suite import XtremeSuite, check_data
from xitcal.data.xtreme.user_files import LOCAL, local_identity
from xitcal.report.sentences import fault_sentence
from xitcal.study.grid import Study, make_plan
from xitcal.study.options import make_study
from xitcal.training.phase2 import material_facts

N = 12
NLI = ("entailment", "neutral", "contradiction")
EMBEDDED = find_suite("embedded")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    "What is not in the folder is nowhere"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.delenv("XITCAL_DATA", raising=False)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def told(task, split, code, n=N): return EMBEDDED.rows(task, split, [code], n).to_list()


def quoted(path: Path, rows: list) -> None:
    "As XTREME's scripts write tables"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file: csv.writer(file, delimiter="\t").writerows(rows)


def lines(rows) -> str: return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def squad(rows: list, ids=None, blank=False) -> str:
    "SQuAD JSON, one paragraph a row; without its answers as XTREME's script leaves it"
    answers = lambda r: [dict(text=t, answer_start=s) for t, s in zip(r["answers"]["text"], r["answers"]["answer_start"])]
    asked = lambda i, r: dict(id=ids[i] if ids else r["example"], question=r["question"], answers=[dict(text="", answer_start=0)] if blank else answers(r))
    return json.dumps(dict(version="1.1", data=[dict(paragraphs=[dict(context=r["context"], qas=[asked(i, r)])]) for i, r in enumerate(rows)]))


def words(rows: list, names, tagged=True) -> str:
    "A word a line"
    return "\n".join("".join(f"{w}\t{names[t % len(names)]}\n" if tagged else f"{w}\n" for w, t in zip(r["tokens"], r["tags"])) for r in rows)


def download_folder(root: Path, codes=("en", "de", "sw", "th")) -> Path:
    "What scripts/download_data.sh leaves, test sets without their labels, and XTREME's folder of labels"
    gold = lambda task, code, values: put(root / f"labels/{task}/test-{code}.tsv", "".join(f"{v}\n" for v in values))
    for task, names in (("xnli", NLI), ("pawsx", "01")):
        for code in set(codes) & set(TARGETS[task].languages):
            rows = told(task, "test", code)
            quoted(root / f"{task}/test-{code}.tsv", [(r["sentence1"], r["sentence2"]) for r in rows])
            gold(task, code, [names[r["label"]] for r in rows])
        for split, own in (("train", "train"), ("dev", "validation")):
            quoted(root / f"{task}/{split}-en.tsv", [(r["sentence1"], r["sentence2"], names[r["label"]]) for r in told(task, own, "en")])
    for task in ("udpos", "panx"):
        names = TARGETS[task].labels
        for code in set(codes) & set(TARGETS[task].languages):
            put(root / f"{task}/test-{code}.tsv", words(told(task, "test", code), names, tagged=False))
            put(root / f"labels/{task}/test-{code}.tsv", "\n".join("".join(f"{names[t % len(names)]}\n" for t in r["tags"]) for r in told(task, "test", code)))
        for split, own in (("train", "train"), ("dev", "validation")): put(root / f"{task}/{split}-en.tsv", words(told(task, own, "en"), names))
    for code in set(codes) & set(TARGETS["xquad"].languages): put(root / f"xquad/xquad.{code}.json", squad(told("xquad", "test", code), blank=True))
    for code in set(codes) & set(TARGETS["mlqa"].languages):
        put(root / f"mlqa/MLQA_V1/test/test-context-{code}-question-{code}.json", squad(told("mlqa", "test", code), blank=True))
    for task in ("xquad", "mlqa"):
        for code in set(codes) & set(TARGETS[task].languages): put(root / f"labels/{task}/test-{code}.json", squad(told(task, "test", code)))
    put(root / "mlqa/MLQA_V1/dev/dev-context-en-question-en.json", squad(told("mlqa", "validation", "en")))
    for split, own in (("train", "train"), ("dev", "validation")): put(root / f"squad/{split}-v1.1.json", squad(told("squad", own, "en")))
    rows = told("tydiqa", "train", "en", 40)
    put(root / "tydiqa/tydiqa-goldp-v1.1-train/tydiqa-goldp-v1.1-train.json", squad(rows, [f"{('english', 'finnish')[i % 2]}-{i}-1" for i in range(40)]))
    for code in ("en", "sw"):
        put(root / f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{LANGUAGES[code].name.lower()}.json", squad(told("tydiqa", "test", code)))
    sorted_tatoeba(root, "sw")
    pools(root / "bucc2018/de-en.test", root / "labels/bucc2018/test-de.tsv")
    return root


def sorted_tatoeba(root: Path, code: str) -> None:
    "English sorted, labels apart"
    rows = [r for r in told("tatoeba", "test", code) if r["gold"]]
    queries, pool = [r for r in rows if r["side"] == "query"], {r["gold"]: r["text"] for r in rows if r["side"] == "pool"}
    put(root / f"tatoeba/{code}-en.{code}", "".join(pool[q["example"]] + "\n" for q in queries))
    order = sorted(range(len(queries)), key=lambda i: queries[i]["text"])
    put(root / f"tatoeba/{code}-en.en", "".join(queries[i]["text"] + "\n" for i in order))
    put(root / f"labels/tatoeba/test-{code}.tsv", "".join(f"{i}\n" for i in order))


def pools(base: Path, gold: Path) -> None:
    "BUCC: two pools in different orders, ids and pairs"
    put(base.with_name(base.name + ".de"), lines([("de-5", "Ja."), ("de-9", "Nein."), ("de-2", "Nie.")]))
    put(base.with_name(base.name + ".en"), lines([("en-8", "No."), ("en-1", "Sure.")]))
    put(gold, "de-9\ten-8\n")


def same(found, task, code, *columns):
    "Rows as they went in"
    assert [[r[c] for c in columns] for r in found.to_list()] == [[r[c] for c in columns] for r in told(task, "test", code)]


def test_the_download_folder_with_labels(tmp_path):
    suite = XtremeSuite(download_folder(tmp_path))
    for code in ("de", "sw", "th"): same(suite.rows("xnli", "test", code), "xnli", code, "sentence1", "sentence2", "label")
    for code in ("en", "de"): same(suite.rows("pawsx", "test", code), "pawsx", code, "sentence1", "sentence2", "label")
    same(suite.rows("udpos", "test", "th"), "udpos", "th", "tokens", "tags")
    assert [r["tokens"] for r in suite.rows("panx", "test", "sw")] == [r["tokens"] for r in told("panx", "test", "sw")]
    for task in ("xquad", "mlqa"): same(suite.rows(task, "test", "de"), task, "de", "example", "question", "context", "answers")
    same(suite.rows("tydiqa", "test", "sw"), "tydiqa", "sw", "question", "answers")
    for task in ("mnli", "pawsx", "udpos", "panx", "squad", "tydiqa"):
        for split in ("train", "validation", "calibration"): check_rows(suite.rows(task, split), suite.tasks[task])
    assert all(r["example"].startswith("english-") for r in suite.rows("tydiqa", "train"))
    rows = suite.rows("tatoeba", "test", "sw").to_list()
    pairs = {r["example"]: r["text"] for r in rows}
    want = {r["example"]: r["text"] for r in told("tatoeba", "test", "sw")}
    assert {(r["text"], pairs[r["gold"]]) for r in rows if r["side"] == "query"} == {
        (r["text"], want[r["gold"]]) for r in told("tatoeba", "test", "sw") if r["side"] == "query" and r["gold"]}
    rows = {r["example"]: r for r in suite.rows("bucc", "test", "de")}
    assert {k: r["gold"] for k, r in rows.items()} == {"en-8": "de-9", "en-1": "", "de-5": "", "de-9": "en-8", "de-2": ""}
    table = check_data(suite, "xnli,panx,xquad,tatoeba", "de,sw", ["test"])
    assert set(table["found"]) == {"yes", "no"}  # German Tatoeba is not in the folder
    assert "nothing for test in" in table[table["found"] == "no"]["problem"].iloc[0]


def xtreme_tydiqa(root: Path, n: int = 40) -> dict:
    "What download_tydiqa leaves: the training file, its parts by language with ids cut short, test files renamed and without answers. Rows that went in"
    rows, train = told("tydiqa", "train", "en", n), root / "tydiqa/tydiqa-goldp-v1.1-train"
    names = {code: LANGUAGES[code].name.lower() for code in TARGETS["tydiqa"].languages}
    ids = {code: [f"{name}-{1000 + i // 2}-{i % 2}" for i in range(n)] for code, name in names.items()}  # two questions to a document
    documents = [d for code in names for d in json.loads(squad(rows, ids[code]))["data"]]
    whole = [dict(title="t", paragraphs=a["paragraphs"] + b["paragraphs"]) for a, b in zip(documents[::2], documents[1::2])]
    put(train / "tydiqa-goldp-v1.1-train.json", json.dumps(dict(version="v1.1", data=whole)))
    for code in names:
        put(train / f"tydiqa.goldp.{code}.train.json", squad(rows, [i.split("-")[-1] for i in ids[code]]))
        found = told("tydiqa", "test", code)
        test_ids = [f"{names[code]}-{i}-0" for i in range(len(found))]
        put(root / f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{code}.dev.json", squad(found, test_ids, blank=True))
        put(root / f"labels/tydiqa/test-{code}.json", squad(found, test_ids))
    return {i: r for i, r in zip(ids["en"], rows)}


def test_tydiqa_as_xtremes_own_script_leaves_it(tmp_path):
    asked = xtreme_tydiqa(tmp_path)
    suite = XtremeSuite(tmp_path)
    parts = {split: check_rows(suite.rows("tydiqa", split), suite.tasks["tydiqa"]).to_list() for split in ("train", "validation", "calibration")}
    assert {split: len(rows) for split, rows in parts.items()} == dict(train=36, validation=2, calibration=2)
    found = {r["example"]: r for rows in parts.values() for r in rows}
    assert found.keys() == asked.keys()  # English alone, each once
    assert all((r["question"], r["context"], r["answers"]) == tuple(asked[i][c] for c in ("question", "context", "answers")) for i, r in found.items())
    assert suite.tallies["tydiqa", "train", "en"].places == ["tydiqa/tydiqa-goldp-v1.1-train/tydiqa-goldp-v1.1-train.json"]
    for code in TARGETS["tydiqa"].languages:
        same(check_rows(suite.rows("tydiqa", "test", code), suite.tasks["tydiqa"]), "tydiqa", code, "question", "context", "answers")
    shutil.rmtree(tmp_path / "labels")
    for old in ("tydiqa.goldp.{}.dev.json", "tydiqa.{}.dev.json"):  # as it was called until August 2021
        dev = tmp_path / "tydiqa/tydiqa-goldp-v1.1-dev"
        if not (dev / old.format("sw")).exists(): (dev / "tydiqa.goldp.sw.dev.json").rename(dev / old.format("sw"))
        with pytest.raises(XitcalError, match=f"^Task tydiqa, language sw: none of the {N} records for test in .* has a gold label"):
            XtremeSuite(tmp_path).rows("tydiqa", "test", "sw")
    assert len(XtremeSuite(tmp_path).rows("tydiqa", "train")) == 36


def test_without_labels_the_sentence_says_where_they_belong(tmp_path):
    root = download_folder(tmp_path)
    for file in (root / "labels").rglob("*.*"): file.unlink()
    suite = XtremeSuite(root)
    for task, code in (("xnli", "de"), ("pawsx", "de"), ("udpos", "de"), ("panx", "th"), ("xquad", "de"), ("mlqa", "de"), ("tatoeba", "sw"), ("bucc", "de")):
        place = f"labels/{dict(bucc='bucc2018').get(task, task)}/test-{code}.{'json' if task in ('xquad', 'mlqa') else 'tsv'}"
        with pytest.raises(XitcalError, match=f"Task {task}, language {code}: none of the .* has a gold label.*or {place} into the same folder"):
            suite.rows(task, "test", code)
    assert len(suite.rows("mnli", "train")) == N  # it can train all the same


def test_original_files(tmp_path):
    text = [[(code, NLI[r["label"]], "-", r["sentence1"], r["sentence2"]) for r in told("xnli", "test", code)] for code in ("de", "sw")]
    put(tmp_path / "XNLI-1.0/xnli.test.tsv", lines([("language", "gold_label", "x", "sentence1", "sentence2"), *text[0], *text[1]]))
    put(tmp_path / "x-final/de/test_2k.tsv", lines([("id", "sentence1", "sentence2", "label"), (1, 'Er sagte "ja', "Ja", 1), (2, "Nein", 'Ja"', 0)]))
    put(tmp_path / "panx_dataset/de-test", "de:Köln\tB-LOC\nde:liegt\tO\n\nde:10:30\tO\n")
    tree = "# sent_id = 1\n1-2\tzum\t_\t_\n1\tzu\tzu\tADP\n2\tdem\tder\tDET\n3\tHaus\tHaus\tNOUN\n3.1\tnull\tnull\tVERB\n\n"
    put(tmp_path / "ud-treebanks-v2.5/UD_German-A/de_a-ud-test.conllu", tree)
    put(tmp_path / "ud-treebanks-v2.5/UD_German-B/de_b-ud-test.conllu", tree)
    put(tmp_path / "ud-treebanks-v2.5/UD_Swiss_German-C/gsw_c-ud-test.conllu", tree.replace("Haus", "Huus"))
    put(tmp_path / "tatoeba/tatoeba.swh-eng.swh", "Habari.\nAsante.\n")
    put(tmp_path / "tatoeba/tatoeba.swh-eng.eng", "Hi.\nThanks.\n")
    pools(tmp_path / "bucc2018/de-en.training", tmp_path / "bucc2018/de-en.training.gold")
    suite = XtremeSuite(tmp_path)
    for code in ("de", "sw"): same(suite.rows("xnli", "test", code), "xnli", code, "sentence1", "sentence2", "label")
    assert suite.rows("pawsx", "test", "de").to_list()[0] == dict(example="pawsx-1", language="de", sentence1='Er sagte "ja', sentence2="Ja", label=1)
    assert suite.rows("panx", "test", "de")["tokens"] == [["Köln", "liegt"], ["10:30"]]
    assert suite.rows("udpos", "test", "de")["tokens"] == [["zu", "dem", "Haus"]] * 2  # no Swiss German
    assert [r["text"] for r in suite.rows("tatoeba", "test", "sw", 1)] == ["Hi.", "Habari.", "Asante."] or \
           [r["text"] for r in suite.rows("tatoeba", "test", "sw", 1)] == ["Thanks.", "Habari.", "Asante."]
    assert sum(bool(r["gold"]) for r in suite.rows("bucc", "test", "de")) == 2


def test_intermediate_tasks(tmp_path):
    json_lines = lambda rows: "".join(json.dumps(r) + "\n" for r in rows)
    pairs = told("mnli", "train", "en")
    glue = [("index", "sentence1", "sentence2", "gold_label"), *((i, r["sentence1"], r["sentence2"], NLI[r["label"]]) for i, r in enumerate(pairs))]
    for name in ("train", "dev_matched", "dev_mismatched"): put(tmp_path / f"MNLI/{name}.tsv", lines(glue))
    for name in ("train", "dev"):
        put(tmp_path / f"QQP/{name}.tsv", lines([("id", "question1", "question2", "is_duplicate"), *((i, "a", "b", i % 2) for i in range(N))]))
        put(tmp_path / f"squad/{name}-v2.0.json", squad(told("squad2", "train", "en")))
        put(tmp_path / f"commonsenseqa/{name}_rand_split.jsonl", json_lines(dict(id=f"{i}", answerKey="B", question=dict(
            stem="Bed?", choices=[dict(label=x, text=x * 3) for x in "ABCDE"])) for i in range(N)))
    for name in ("train", "dev", "test"):
        put(tmp_path / f"SNLI/snli_1.0_{name}.jsonl", json_lines(dict(sentence1="a", sentence2="b", gold_label=("-", *NLI)[i % 4]) for i in range(N)))
        for r in (1, 2, 3):
            put(tmp_path / f"anli_v1.0/R{r}/{name}.jsonl", json_lines(dict(uid="u", context="a", hypothesis="b", label="enc"[i % 3]) for i in range(N)))
        put(tmp_path / f"ccg/AUTO/{dict(train='05', dev='20', test='23')[name]}/wsj.auto",
            "ID=1\n(<T S 0 2> (<L NP NNP NNP Mr. NP>) (<L S[dcl]\\NP VBD VBD left S[dcl]\\NP>) )\n" * 3)
    for name in ("train", "val"):
        put(tmp_path / f"hellaswag/hellaswag_{name}.jsonl",
            json_lines(dict(ind=1, ctx_a="A man sits.", ctx_b="he", endings=list("abcd"), label=i % 4) for i in range(N)))
    for name in ("train", "valid"):
        put(tmp_path / f"cosmosqa/{name}.csv", "id,context,question,answer0,answer1,answer2,answer3,label\n" + "".join(
            f'{i},"He said, ""no"".",Why?,a,b,c,d,{i % 4}\n' for i in range(N)))
    suite = XtremeSuite(tmp_path)
    for task in ("anli+", "mnli", "qqp", "squad2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"):
        for split in ("train", "validation", "calibration", "test"): assert len(check_rows(suite.rows(task, split), suite.tasks[task])), (task, split)
    assert len(suite.rows("anli+", "train")) == 5 * N - N // 4 and suite.tallies["anli+", "train", "en"].left_out == {"no gold label": N // 4}
    assert suite.rows("cosmosqa", "train")[0]["context"] == 'He said, "no".'
    assert suite.tasks["ccg"].labels == ("NP", "S[dcl]\\NP") and not suite.absent
    assert "ccg" in [f["name"] for f in material_facts("multi", suite)] and len(material_facts("multi", XtremeSuite())) == 8


HEAD = "language\tgold_label\tsentence1\tsentence2\n"
BAD = {  # a table of German test pairs, and what is said of it
    "wrong column": ("language\tgold_label\tsentence1\nde\tneutral\ta\n", "column 'sentence2' is missing; there are language, gold_label, sentence1"),
    "label outside": (HEAD + "de\tneutrl\ta\tb\n", "record 0 of test in XNLI-1.0/xnli.test.tsv: label 'neutrl' is none of"),
    "empty text": (HEAD + "de\tneutral\t \tb\n", "record 0 of test in XNLI-1.0/xnli.test.tsv: sentence1 is empty"),
    "short line": (HEAD + "de\tneutral\ta\n", "record 0 of test in XNLI-1.0/xnli.test.tsv: sentence2 is empty"),
    "not there": (HEAD + "fr\tneutral\ta\tb\n", "XNLI-1.0/xnli.test.tsv' has no records in this language; it has fr. Leave the language out"),
    "header alone": (HEAD, "XNLI-1.0/xnli.test.tsv' has no records; put it right"),
    "empty file": ("", "XNLI-1.0/xnli.test.tsv' has no records; put it right"),
    "no column of languages": ("sentence1\tsentence2\na\tb\n", "'language' is missing); put it right"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_tables(tmp_path, fault):
    text, sentence = BAD[fault]
    put(tmp_path / "XNLI-1.0/xnli.test.tsv", text)
    with pytest.raises(XitcalError) as told_off: XtremeSuite(tmp_path).rows("xnli", "test", "de")
    assert sentence in str(told_off.value) and str(told_off.value).startswith("Task xnli, language de")


def test_bad_files_of_other_kinds(tmp_path):
    put(tmp_path / "panx/test-de.tsv", "Köln\nliegt\n")
    put(tmp_path / "labels/panx/test-de.tsv", "B-LOC\n")
    put(tmp_path / "panx/test-sw.tsv", "Nairobi\tB-CITY\n")
    put(tmp_path / "xquad/xquad.de.json", "{")
    put(tmp_path / "xquad/xquad.ar.json", squad([dict(example="1", question="q", context="In Paris.", answers=dict(text=["Rome"], answer_start=[3]))]))
    put(tmp_path / "xquad/xquad.ru.json", squad(told("xquad", "test", "ru", 2), ["a", "a"]))
    put(tmp_path / "tatoeba/tatoeba.swh-eng.swh", "a\nb\n")
    put(tmp_path / "tatoeba/tatoeba.swh-eng.eng", "a\n")
    pools(tmp_path / "bucc2018/de-en.test", tmp_path / "bucc2018/de-en.test.gold")
    put(tmp_path / "bucc2018/de-en.test.gold", "de-9\ten-77\n")
    suite = XtremeSuite(tmp_path)
    for task, code, sentence in (
            ("panx", "de", "it has 2 tokens but 1 tags"), ("panx", "sw", "tag 'B-CITY' is none of O, B-PER"), ("xquad", "de", "is damaged or no such file"),
            ("xquad", "ar", "answer 'Rome' does not stand in the context"), ("xquad", "ru", "example id 'a' occurs twice"),
            ("tatoeba", "sw", "has 2 sentences, but '.*swh-eng.eng' has 1; get both"), ("bucc", "de", "en-77"), ("xnli", "yo", "no test rows in language 'yo'"),
            ("mlqa", "de", "is not in the cache")):
        with pytest.raises(XitcalError, match=f"Task {task}.*{code}.*{sentence}|Task {task}.*{sentence}"): suite.rows(task, "test", code)


def test_labels_of_another_release_are_not_taken_for_a_damaged_file(tmp_path):
    put(tmp_path / "panx/test-de.tsv", "Köln\nliegt\n\nBonn\n")
    put(tmp_path / "labels/panx/test-de.tsv", "B-LOC\nO\n")
    put(tmp_path / "pawsx/test-de.tsv", "one sentence\n")
    with pytest.raises(XitcalError, match="^Task panx, language de.* has 2 records, but its file of labels in .* has 1; get both"):
        XtremeSuite(tmp_path).rows("panx", "test", "de")
    with pytest.raises(XitcalError, match="^Task pawsx, language de.*line 1 of .*has no two sentences"):
        XtremeSuite(tmp_path).rows("pawsx", "test", "de")
    put(tmp_path / "tatoeba/sw-en.sw", "Habari.\nAsante.\n")
    put(tmp_path / "tatoeba/sw-en.en", "Hi.\nThanks.\n")
    put(tmp_path / "labels/tatoeba/test-sw.tsv", "0\n1\n2\n")
    with pytest.raises(XitcalError) as told_off: XtremeSuite(tmp_path).rows("tatoeba", "test", "sw")
    assert str(told_off.value) == (f"Task tatoeba, language sw: the file {str(tmp_path / 'tatoeba/sw-en.en')!r} has 2 records, but its file of labels in "
                                   f"{str(tmp_path / 'labels')!r} has 3; get both from one release, or take the labels away.")


def test_lines_end_at_line_ends_alone(tmp_path):
    "A sentence may hold a separator that Python's splitlines takes for an end of line"
    pools(tmp_path / "bucc2018/de-en.test", tmp_path / "bucc2018/de-en.test.gold")
    for path in (tmp_path / "bucc2018").iterdir():
        if not path.name.endswith("gold"): put(path, path.read_text().replace("\t", "\tA\u2028b\u0085c "))
    put(tmp_path / "tatoeba/tatoeba.deu-eng.deu", "a\u0085b\nc\n")
    put(tmp_path / "tatoeba/tatoeba.deu-eng.eng", "a\nb\n")
    put(tmp_path / "panx/test-de.tsv", "Kö\u0085ln\tB-LOC\n")
    suite = XtremeSuite(tmp_path)
    assert all("\u2028" in text for text in suite.rows("bucc", "test", "de")["text"])
    assert "a\u0085b" in suite.rows("tatoeba", "test", "de")["text"] and suite.rows("panx", "test", "de")["tokens"][0] == ["Kö\u0085ln"]


@pytest.mark.parametrize("name, text, said", [("ccg.train", "no tab\n", "line 1 of"),
                                              ("ccg.train", b"a\xff\tNP\n", "line 1 of"), ("tags_to_id.json", "[1", "is not a JSON object"),
                                              ("AUTO/00/wsj_0001.auto", "(<L NP NNP>)\n", "line 1 of")])
def test_a_bad_ccgbank_is_one_sentence_before_anything_is_read(tmp_path, name, text, said):
    for split in ("train", "dev", "test"): put(tmp_path / "ccg" / f"ccg.{split}", "a\tNP\n")
    if name.startswith("AUTO"): (tmp_path / "ccg/ccg.train").unlink()
    (tmp_path / "ccg" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "ccg" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(XitcalError, match=f"^Task ccg: .*{said}") as told_off: XtremeSuite(tmp_path)
    assert "\n" not in str(told_off.value)


@pytest.mark.parametrize("task, field", [("xquad", "context"), ("xquad", "answers"), ("xquad", "question")])
def test_a_null_field_is_a_fault_of_its_record(tmp_path, task, field):
    data = json.loads(squad([dict(example="1", question="q", context="In Paris.", answers=dict(text=["Paris"], answer_start=[3]))]))
    paragraph = data["data"][0]["paragraphs"][0]
    if field == "context": paragraph["context"] = None
    elif field == "question": paragraph["qas"][0]["question"] = None
    else: paragraph["qas"][0]["answers"][0]["text"] = None
    put(tmp_path / "xquad/xquad.de.json", json.dumps(data))
    with pytest.raises(XitcalError, match="^Task xquad, language de"): XtremeSuite(tmp_path).rows("xquad", "test", "de")


def test_a_few_faults_among_many_are_counted(tmp_path):
    rows = [("a", "b", "1"), *[("c", "d", str(i % 2)) for i in range(500)]]
    random.Random(0).shuffle(rows)
    rows[7] = ("", "b", "1")
    quoted(tmp_path / "pawsx/train-en.tsv", rows)
    suite = XtremeSuite(tmp_path)
    assert len(suite.rows("pawsx", "train")) == 500
    tally = suite.tallies["pawsx", "train", "en"]
    assert tally.left_out == {"at fault": 1} and "record 7 of train in pawsx/train-en.tsv: sentence1 is empty" in tally.fault


def test_an_empty_sentence_of_a_pool_is_left_out_and_counted(tmp_path):
    "The pairs stay those of the files, and a sentence whose counterpart is empty has none"
    base = tmp_path / "bucc2018/de-en.test"
    for code in ("de", "en"):
        put(base.with_name(f"de-en.test.{code}"), lines((f"{code}-{i}", "" if (code, i) == ("de", 7) else f"{code} {i}.") for i in range(120)))
    put(base.with_name("de-en.test.gold"), lines((f"de-{i}", f"en-{i}") for i in (6, 7, 8)))
    suite = XtremeSuite(tmp_path)
    (rows, (note,)) = noted(suite, lambda: check_rows(suite.rows("bucc", "test", "de"), suite.tasks["bucc"]))
    gold = {(r["side"], r["example"]): r["gold"] for r in rows}
    assert len(rows) == 239 and ("pool", "de-7") not in gold and gold["query", "en-7"] == ""
    assert {k: v for k, v in gold.items() if v} == {(s, f"{a}-{i}"): f"{b}-{i}" for s, a, b in (("query", "en", "de"), ("pool", "de", "en")) for i in (6, 8)}
    assert (note["records"], note["rows"], note["faulty"]) == (240, 239, 1)
    assert note["fault"] == "Task bucc, language de, record 0 of test in bucc2018/de-en.test.de: sentence de-7 is empty"
    assert "BUCC 2018 (test): 1 left out of 240, the first Task bucc" in fault_sentence(pd.DataFrame([note]))


def test_what_a_folder_holds_names_the_stages(tmp_path):
    "Other files are other stages; tasks that the folder does not have keep theirs"
    study = Study(suite="xtreme", targets=("xnli", "panx"), intermediates=("none",), seeds=(0,), models=("m",))
    plain = {s.title: name for name, s in make_plan(study).stages.items()}
    download_folder(tmp_path, ("en", "de"))
    for file in [*tmp_path.glob("panx/*"), *tmp_path.glob("labels/panx/*")]: file.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XITCAL_DATA", str(tmp_path))
        own = {s.title: name for name, s in make_plan(study).stages.items()}
    assert plain.keys() == own.keys()
    assert {title for title in plain if plain[title] != own[title]} == {"none, seed 0 → XNLI", "none → MNLI, seed 0"}, own.keys()


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XITCAL_DATA", "")
    result = CliRunner().invoke(app, ["data", "check", "--task", "xnli", "--language", "de", "--split", "test", "--data", str(download_folder(tmp_path))])
    assert result.exit_code == 0 and "xnli/test-de.tsv" in result.output and "1 of 1 found, 1 of them without a problem." in result.output
    assert f"\nTask xnli, language de, test: {N} records here, 5,010 declared for the hub's copy.\n" in result.output
    with pytest.raises(XitcalError, match="'.*/nowhere' does not exist"): make_study(suite="xtreme", data=str(tmp_path / "nowhere"))
    with pytest.raises(XitcalError, match="LDC2005T13"): make_study(suite="xtreme", data=str(tmp_path), intermediate="ccg")
    assert make_study(suite="xtreme", data=str(tmp_path), intermediate="none,ccg").intermediates == ("none",)


def test_a_few_faulty_records_are_left_out_and_told(tmp_path):
    rows = [("one sentence", "another one", "neutral")] * 300
    put(tmp_path / "xnli/test-de.tsv", lines((f"{a} {i}", b, "neutrality" if i == 7 else label) for i, (a, b, label) in enumerate(rows)))
    line = check_data(XtremeSuite(tmp_path), "xnli", "de", ["test"], None).iloc[0]
    assert (line["rows"], line.looked_at, line.records, line.left_out, line.problem, line.found) == (299, 300, 300, "at fault: 1", "", "yes")
    assert "language de, record 7 of test in xnli/test-de.tsv" in line.fault and "neutrality" in line.fault
    result = CliRunner().invoke(app, ["data", "check", "--data", str(tmp_path), "--task", "xnli", "--language", "de", "--split", "test", "--rows", "300"])
    assert result.exit_code == 0 and f"Left out as faulty (at fault: 1), the first: {line.fault}." in result.output


def test_the_table_tells_apart_what_is_not_there_has_another_form_or_is_faulty(tmp_path):
    "And how many records were looked at, the split has, and are declared; files of one's own with another number are not refused"
    put(tmp_path / "xnli/test-de.tsv", lines(("a", f"b {i}", "neutral") for i in range(300)))
    put(tmp_path / "xnli/test-sw.tsv", "one sentence\n")
    put(tmp_path / "xnli/test-th.tsv", lines([("a", "", "neutral")]))
    put(tmp_path / "XNLI-1.0/xnli.dev.tsv", lines([("language", "gold_label", "sentence1"), ("en", "neutral", "a")]))
    put(tmp_path / "squad/train-v1.1.json", squad(told("squad", "train", "en", 40)))
    put(tmp_path / "udpos/test-de.tsv", "Haus\tNOUN\n")
    pools(tmp_path / "bucc2018/de-en.test", tmp_path / "bucc2018/de-en.test.gold")
    suite = XtremeSuite(tmp_path)
    table = check_data(suite, "xnli,squad,udpos,bucc", "de,sw,th,ru", n=5).set_index(["task", "split", "language"])
    shown = lambda *key: tuple(table.loc[key, ["found", "schema", "looked_at", "records", "declared", "rows"]])
    assert shown("xnli", "test", "de") == ("yes", "right", 300, 300, 5010, 5)
    assert shown("xnli", "test", "sw") == shown("xnli", "validation", "en")[:2] + ("", "", 5010, "") == ("yes", "wrong", "", "", 5010, "")
    assert shown("xnli", "test", "th") == ("yes", "right", "", "", 5010, "")
    assert shown("xnli", "test", "ru") == ("no", "", "", "", 5010, "")
    assert shown("squad", "train", "en")[:2] == ("yes", "right") and 5 < table.looked_at["squad", "train", "en"] < 40 == table.records["squad", "train", "en"]
    assert shown("udpos", "test", "de") == ("yes", "right", 1, 1, "not declared", 1)
    assert shown("bucc", "test", "de") == ("yes", "right", 5, 5, "9,580 gold", 5)
    assert table.remark["bucc", "test", "de"] == "1 items in column 'gold' here, 9,580 declared for the hub's copy"
    assert table.remark["xnli", "test", "de"] == "300 records here, 5,010 declared for the hub's copy"
    assert table.remark["udpos", "test", "de"] == "" == table.problem["squad", "train", "en"]
    assert {key for key, problem in table.problem.items() if problem} == {key for key in table.index if table.records[key] == ""}


def test_the_right_number_needs_no_remark(tmp_path):
    put(tmp_path / "tatoeba/tatoeba.swh-eng.swh", "".join(f"sw {i}\n" for i in range(390)))
    put(tmp_path / "tatoeba/tatoeba.swh-eng.eng", "".join(f"en {i}\n" for i in range(390)))
    line = check_data(XtremeSuite(tmp_path), "tatoeba", "sw", ["test"], 7).iloc[0]
    assert (line.records, line.declared, line.looked_at, line.remark, line.problem) == (390, 390, 390, "", "")


def test_a_corrected_file_is_another_file_even_if_it_is_as_long(tmp_path):
    def identity(first, second):
        put(tmp_path / "xnli/test-de.tsv", lines((first, second, "neutral") for _ in range(5)))
        return XtremeSuite(tmp_path).tasks["xnli"].options["source"]
    assert identity("one", "two") != identity("two", "one") and identity("one", "two") == identity("one", "two")


def test_a_sentence_that_lacks_a_tag_is_at_fault_and_not_without_labels(tmp_path):
    "Ten of twenty sentences with one word untagged: 50 % at fault; one of three hundred is counted; sentences without any tag are told as unlabelled"
    tagged = lambda n, bad: "\n".join("in\tO\nKöln\tB-LOC\n" if i not in bad else "in\tO\nKöln\n" for i in range(n))
    put(tmp_path / "panx/test-de.tsv", tagged(20, range(0, 20, 2)))
    with pytest.raises(XitcalError, match=r"^Task panx, language de, record 0 of test in panx/test-de.tsv: it has 2 tokens but 1 tags \(10 of 20 records are"):
        XtremeSuite(tmp_path).rows("panx", "test", "de")
    put(tmp_path / "panx/test-de.tsv", tagged(300, [7]) + "\nin\nBonn\n" * 3)
    suite = XtremeSuite(tmp_path)
    rows, (note,) = noted(suite, lambda: suite.rows("panx", "test", "de"))
    assert (len(rows), note["records"], note["faulty"], note["unlabelled"]) == (299, 303, 1, 3)
    assert "record 7 of test" in note["fault"] and "PAN-X (test): 1 left out and 3 without a label of 303" in fault_sentence(pd.DataFrame([note]))
    put(tmp_path / "panx/test-de.tsv", "in O\nKöln B-LOC\n\nBonn B-LOC\n")
    with pytest.raises(XitcalError, match="^Task panx, language de.*panx/test-de.tsv' has no tab, only blanks; columns are separated by tabs"):
        XtremeSuite(tmp_path).rows("panx", "test", "de")


def test_an_empty_answer_among_others_is_a_fault(tmp_path):
    asked = lambda texts: [dict(example="1", question="q", context="In Paris.", answers=dict(text=texts, answer_start=[3] * len(texts)))]
    put(tmp_path / "xquad/xquad.de.json", squad(asked(["Paris", ""])))
    with pytest.raises(XitcalError, match="^Task xquad, language de, record 0 of test in xquad/xquad.de.json: answer 1 of its 2 is empty"):
        XtremeSuite(tmp_path).rows("xquad", "test", "de")
    put(tmp_path / "xquad/xquad.de.json", squad(asked(["", ""])))
    with pytest.raises(XitcalError, match="none of the 1 records for test .* has a gold label"): XtremeSuite(tmp_path).rows("xquad", "test", "de")


VALUES = {  # of an answer, and what is said of it
    "an offset in quotes": (dict(text="Paris", answer_start="3"),
                            r"holds struct\[answer_start:list\[string\],text:list\[string\]\], not struct\[answer_start:list\[int\]"),
    "an offset with a point": (dict(text="Paris", answer_start=3.0), r"holds struct\[answer_start:list\[float\]"),
    "a number for a text": (dict(text=5, answer_start=3), r"holds struct\[answer_start:list\[int\],text:list\[int\]\], not"),
}


@pytest.mark.parametrize("fault", VALUES)
@pytest.mark.parametrize("others", [0, 2])
def test_types_inside_answers_are_checked(tmp_path, fault, others):
    "Whether all answers are so or one among others is"
    rows = told("xquad", "test", "de", others) if others else []
    data = json.loads(squad([*rows, dict(example="1", question="q", context="In Paris.", answers=dict(text=["Paris"], answer_start=[3]))]))
    answer, sentence = VALUES[fault]
    data["data"][-1]["paragraphs"][0]["qas"][0]["answers"] = [answer]
    put(tmp_path / "xquad/xquad.de.json", json.dumps(data))
    with pytest.raises(XitcalError, match="^Task xquad, language de.*" + sentence) as told_off: XtremeSuite(tmp_path).rows("xquad", "test", "de")
    assert "\n" not in str(told_off.value) and "delete" not in str(told_off.value)
    if others and fault != "an offset with a point": assert f"column 'answers' of record {others} of" in str(told_off.value)


QUOTES = {  # a table of pairs, and the line at fault
    "one that is long": ('a\tb\n"Ja\tNein\n' + "c\td\n" * 40_000, 2), "two, which make one record of two": ('a\tb\n"Ja\tNein\n"c\td\ne\tf\n', 2),
    "a line end inside": ('a\t"b\nc"\nd\te\n', 1), "the last one": ('a\tb\nc\t"d', 2), "marks that enclose a part": ('"Ja" sagte er\tNein\n', 1)}


@pytest.mark.parametrize("fault", QUOTES)
def test_a_mark_that_is_not_closed_is_a_fault_of_its_line(tmp_path, fault):
    text, line = QUOTES[fault]
    put(tmp_path / "xnli/test-de.tsv", text)
    with pytest.raises(XitcalError, match=f"^Task xnli, language de: line {line} of .*xnli/test-de.tsv' has a quotation mark that is not closed"):
        XtremeSuite(tmp_path).rows("xnli", "test", "de")


def test_a_csv_error_of_another_reader_is_one_sentence(tmp_path):
    put(tmp_path / "cosmosqa/train.csv", 'id,context,question,answer0,answer1,answer2,answer3,label\n1,"He said,Why?,a,b,c,d,0\n')
    with pytest.raises(XitcalError, match="^Task cosmosqa.*cosmosqa/train.csv' is damaged or no such file as expected .unexpected end of data.; put it right"):
        XtremeSuite(tmp_path).rows("cosmosqa", "train")


def test_without_labels_a_training_file_is_not_sent_to_xtremes_labels(tmp_path):
    put(tmp_path / "cosmosqa/train.csv", "id,context,question,answer0,answer1,answer2,answer3,label\n1,a,b,c,d,e,f,\n")
    with pytest.raises(XitcalError, match="^Task cosmosqa.*: none of the 1 records for train in .* has a gold label; put files with labels there.$"):
        XtremeSuite(tmp_path).rows("cosmosqa", "train")


def test_the_file_that_is_missing_is_the_one_that_is_named(tmp_path):
    put(tmp_path / "tatoeba/tatoeba.deu-eng.deu", "a\n")
    put(tmp_path / "bucc2018/de-en.training.de", "de-1\ta\n")
    suite = XtremeSuite(tmp_path)
    for task, name, good in (("tatoeba", "tatoeba/tatoeba.deu-eng.eng", "tatoeba.deu-eng.deu"), ("bucc", "bucc2018/de-en.training.en", "de-en.training.de")):
        with pytest.raises(XitcalError, match=f"^Task {task}, language de: the file '.*{name}' is missing beside '{good}'; put it there.$"):
            suite.rows(task, "test", "de")


def test_a_file_in_another_encoding_is_not_to_be_loaded_again(tmp_path):
    "A mark before the first letter, as some editors write it, does no harm"
    for code, encoding in (("de", "latin-1"), ("fr", "utf-16"), ("es", "utf-8-sig")):
        for path, text in ((f"pawsx/test-{code}.tsv", "Köln\tBonn\t1\n"), (f"panx/test-{code}.tsv", "Köln\tB-LOC\n"), (f"xquad/xquad.{code}.json", squad([dict(
                example="1", question="q", context="In Köln.", answers=dict(text=["Köln"], answer_start=[3]))]).replace("\\u00f6", "ö"))):
            put(tmp_path / path, "")
            (tmp_path / path).write_bytes(text.encode(encoding))
    suite = XtremeSuite(tmp_path)
    for task in ("pawsx", "panx", "xquad"):
        rows = check_rows(suite.rows(task, "test", "es"), suite.tasks[task]).to_list()
        assert "Köln" in str(rows[0]) and "\ufeff" not in str(rows[0])
        for code in {"de", "fr"} & set(TARGETS[task].languages):
            sentence = f"^Task {task}, language {code}: the file .*no UTF-8 text: byte.*; put it right, or take it out of the folder.$"
            with pytest.raises(XitcalError, match=sentence): suite.rows(task, "test", code)


def test_one_record_that_is_unlike_the_others_is_named(tmp_path):
    record = lambda i: dict(id=i, answerKey="B", question=dict(stem="Bed?", choices=[dict(label=x, text=x) for x in "ABCDE"]))
    put(tmp_path / "commonsenseqa/train_rand_split.jsonl", "".join(json.dumps(record(7 if i == 3 else f"{i}")) + "\n" for i in range(9)))
    with pytest.raises(XitcalError, match="^Task commonsenseqa.*: column 'id' of record 3 of '.*train_rand_split.jsonl' holds int, not string; put it right"):
        XtremeSuite(tmp_path).rows("commonsenseqa", "train")


def test_a_blank_token_and_a_choice_too_few_are_faults(tmp_path):
    put(tmp_path / "panx/test-de.tsv", "in\tO\n \tO\nKöln\tB-LOC\n")
    put(tmp_path / "hellaswag/hellaswag_train.jsonl", json.dumps(dict(ctx_a="A man sits.", ctx_b="he", endings=list("abc"), label=1)) + "\n")
    suite = XtremeSuite(tmp_path)
    with pytest.raises(XitcalError, match="record 0 of test in panx/test-de.tsv: token 1 is empty"): suite.rows("panx", "test", "de")
    with pytest.raises(XitcalError, match="record 0 of train in hellaswag/hellaswag_train.jsonl: it has 3 choices, not 4"): suite.rows("hellaswag", "train")


def test_a_revision_of_a_model_is_told_how_to_get_it():
    with pytest.raises(XitcalError, match="^'FacebookAI/xlm-roberta-large' is no data set that is read here.*hf download FacebookAI/xlm-roberta-large --rev"):
        XtremeSuite(revisions="FacebookAI/xlm-roberta-large=" + "a" * 40)
    with pytest.raises(XitcalError, match="did you mean 'facebook/xnli'"): XtremeSuite(revisions="facebook/xnil=" + "a" * 40)


def test_xtremes_recipe_says_on_which_rows_the_best_step_of_xnli_is_chosen():
    "XTREME's script takes XNLI's development set; a stage that trains on MNLI has MNLI's validation rows"
    study = Study(suite="xtreme", targets=("xnli",), intermediates=("none",), seeds=(0,), models=("m",), recipes="xtreme")
    (stage,) = (s for s in make_plan(study).stages.values() if s.phase == "target")
    (trained,), recipe = stage.facts["tasks"], stage.facts["recipe"]
    assert (trained["name"], recipe["evaluate_rows"], recipe["keep_best"]) == ("mnli", 2490, True)
    assert "here it is chosen on as many rows of MNLI's validation set" in RECIPES["xtreme"].unsettled


@pytest.mark.parametrize("task, files, changed", [
    ("tatoeba", {"tatoeba/tatoeba.deu-eng.deu": "eins\nzwei\n", "tatoeba/tatoeba.deu-eng.eng": "one\ntwo\n"}, "tatoeba/tatoeba.deu-eng.eng"),
    ("xnli", {"xnli/test-de.tsv": "a\tb\nc\td\n", "labels/xnli/test-de.tsv": "neutral\nneutral\n"}, "labels/xnli/test-de.tsv")])
def test_what_lies_beside_a_file_is_a_part_of_its_identity(task, files, changed, tmp_path):
    "The English side and the labels are in other files than those that are looked for"
    for name, text in files.items(): put(tmp_path / name, text)
    before = local_identity(tmp_path, LOCAL[task])
    assert before and local_identity(tmp_path, LOCAL[task]) == before
    put(tmp_path / changed, files[changed].replace("two", "deux").replace("neutral\n", "contradiction\n", 1))
    assert local_identity(tmp_path, LOCAL[task]) != before
