"""The suite `xtreme` against a hub on this machine: every source, a warm cache, and whatever can go wrong on the way."""
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import background, xitcal
from loopback import Loopback
from repositories import change, make_repositories

from xitcal.data.rows import SPLITS
from xitcal.data.suites import find_suite
from xitcal.data.tasks import INTERMEDIATES, TARGETS, task_facts
from xitcal.data.xtreme.sources import HUB
from xitcal.data.xtreme.suite import XtremeSuite
from xitcal.training.phase2 import material_facts

N = 8
PROBE = Path(__file__).with_name("hub_probe.py")
IMPATIENT = str(Path(__file__).with_name("impatient"))
TASKS = {name: task for name, task in (INTERMEDIATES | TARGETS).items() if name != "ccg"}
ALL = [dict(task=name, split=split, language=code) for name, task in TASKS.items() for split in SPLITS if split == "test" or not task.test_only
       for code in (task.languages if split == "test" else ["en"])]


def environment(endpoint: str, home: Path, **more) -> dict:
    return os.environ | dict(HF_ENDPOINT=endpoint, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY="1", XITCAL_COUNTS="off", NO_PROXY="127.0.0.1",
                             PYTHONPATH=os.pathsep.join(filter(None, [IMPATIENT, os.environ.get("PYTHONPATH")]))) | more


def start(wanted: list, endpoint: str, home: Path, **more) -> subprocess.Popen:
    "A probe of its own process"
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    probe = background("script", PROBE, env=environment(endpoint, home, **more), text=True, **pipes)
    probe.stdin.write(json.dumps(wanted))
    probe.stdin.close()
    probe.stdin = None
    return probe


def result(probe: subprocess.Popen) -> dict:
    "What a probe found, by task, split and language"
    out, err = probe.communicate(timeout=500)
    assert probe.returncode == 0, err
    return {(f["task"], f["split"], f["language"]): f for f in json.loads(out)}


def one(task, language, split="test", **more): return dict(task=task, split=split, language=language, **more)


def short(task): return HUB[task][0].revision[:8]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path: return make_repositories(tmp_path_factory.mktemp("hub"), N)


@pytest.fixture(scope="module")
def slow(root, tmp_path_factory):
    "A probe of a hub that takes its time; it runs beside the other tests"
    with Loopback(root) as hub:
        hub.delay = 1.5
        yield start([one("xnli", "de")], hub.endpoint, tmp_path_factory.mktemp("slow"), HF_HUB_DOWNLOAD_TIMEOUT="1", HF_HUB_ETAG_TIMEOUT="1")


@pytest.fixture(scope="module")
def loaded(root, slow, tmp_path_factory):
    "Everything, with a cold cache: what was found, what was asked for, and the cache"
    home = tmp_path_factory.mktemp("cache")
    with Loopback(root) as hub:
        found = result(start(ALL, hub.endpoint, home))
        return found, list(hub.requests), home, hub.endpoint


def test_every_task_split_and_language_loads(loaded):
    found, _, _, _ = loaded
    assert not [f["error"] for f in found.values() if "error" in f]
    assert len(found) == len(ALL) > 200
    for (task, _, language), f in found.items():
        assert f["rows"] and {r["language"] for r in f["rows"]} == {language}, task
    assert {t for t, s, _ in found if s == "train"} == set(TASKS) - {"bucc", "tatoeba"}


def test_rows_have_the_columns_of_the_embedded_suite(loaded):
    found, embedded = loaded[0], find_suite("embedded")
    for name, task in TASKS.items():
        ours, theirs = found[name, "test", task.languages[-1]]["rows"][0], embedded.rows(name, "test", [embedded.tasks[name].languages[-1]], 1)[0]
        for column in set(theirs) - {"seen", "group", "posterior"}:
            assert type(ours[column]) is type(theirs[column]), (name, column)


def test_the_texts_are_the_right_ones(loaded):
    "Text and labels come through as they went in, in languages of several scripts"
    found, embedded = loaded[0], find_suite("embedded")
    for name, code, columns in (("xnli", "th", ("sentence1", "sentence2", "label")), ("pawsx", "ko", ("sentence1", "sentence2", "label")),
                                ("udpos", "hi", ("tokens", "tags")), ("mlqa", "ar", ("question", "context", "answers")), ("xquad", "el", ("answers",))):
        rows = embedded.rows(name, "test", [code], N).to_list()
        assert [[r[c] for c in columns] for r in found[name, "test", code]["rows"]] == [[r[c] for c in columns] for r in rows], name


def test_known_faults_of_the_copies_are_met(loaded):
    found, requests, _, _ = loaded
    assert found["anli+", "train", "en"]["left_out"] == {"no gold label": 1} and len(found["anli+", "train", "en"]["rows"]) == 5 * N - 1  # SNLI's -1
    assert found["hellaswag", "train", "en"]["rows"][0]["label"] in range(4)                                        # a string on the hub
    moved = len(find_suite("embedded").rows("xquad", "test", ["de"], 1)[0]["answers"]["text"])
    assert found["xquad", "test", "de"]["repaired"] == {"answer moved to where it stands": moved}
    assert all(r["context"][s:s + len(t)] == t for f in found.values() for r in f["rows"] for t, s in zip(*(r.get("answers") or dict(a=[], b=[])).values()))
    for code, name in HUB["tydiqa"][0].only[1].items():                                                              # the language is in the id
        ids = [r["example"] for r in found["tydiqa", "test", code]["rows"]]
        assert len(ids) == N and all(i.startswith(name) for i in ids)
    assert all(r["example"].startswith("english-") for split in SPLITS for r in found["tydiqa", split, "en"]["rows"])
    assert not any(r["text"] != r["text"].strip() for r in found["tatoeba", "test", "sw"]["rows"])                   # line ends
    assert "μῆνιν" not in json.dumps(found["udpos", "test", "el"]["rows"], ensure_ascii=False)
    asked = " ".join(requests)
    for never in ("udpos.Greek", "PAWS-X.", "bucc18.", "/mlqa.py", "/cosmos_qa.py"): assert never not in asked, never
    assert "PAN-X.de" in asked and "cosmos_qa/tree" in asked


def test_bucc_has_its_pools(loaded):
    for code in ("de", "fr"): # Parquet, and JSON lines
        rows = loaded[0]["bucc", "test", code]["rows"]
        queries, pool = ({r["example"]: r for r in rows if r["side"] == side} for side in ("query", "pool"))
        assert queries["en-000000001"]["gold"] == ""                                                                 # most sentences have no counterpart
        assert queries["en-000000002"]["gold"] == f"{code}-000000001" and pool[f"{code}-000000001"]["gold"] == "en-000000002"


def test_parallel_tests_share_their_examples_and_splits_do_not(loaded):
    found, _, _, _ = loaded
    for name, task in TASKS.items():
        if task.parallel: assert len({tuple(r["example"] for r in found[name, "test", code]["rows"]) for code in task.languages}) == 1, name
        if task.test_only: continue
        kept = [{r["example"] for r in found[name, split, "en"]["rows"]} for split in ("validation", "calibration")]
        assert not kept[0] & kept[1], name


def test_only_what_is_needed_is_downloaded(loaded):
    files = [r for r in loaded[1] if r.startswith("GET") and "/resolve/" in r]
    assert len(files) == len(set(files))
    assert not any("train" in f for f in files if "/de/" in f or ".de/" in f)


def test_a_warm_cache_needs_no_hub(loaded):
    "With the hub down and with the offline flag; what is not there is named"
    _, _, home, endpoint = loaded
    wanted = [w for w in ALL if w["language"] in ("en", "sw", "de")]
    offline = dict(HF_HUB_OFFLINE="1")
    probes = [start(wanted, endpoint, home), start(wanted, endpoint, home, **offline), start([one("xnli", "de"), one("mlqa", "de")], endpoint, home / "empty"),
              start([one("xnli", "de")], endpoint, home / "empty", **offline)]
    down, offline, cold, cold_offline = map(result, probes)
    assert not [f["error"] for f in (*down.values(), *offline.values()) if "error" in f]
    sentence = cold["xnli", "test", "de"]["error"]
    assert sentence.startswith("Task xnli, language de: http://127.0.0.1") and "cannot be reached" in sentence and "--data" in sentence
    assert "cannot be reached" in cold["mlqa", "test", "de"]["error"]
    sentence = cold_offline["xnli", "test", "de"]["error"]
    assert f"facebook/xnli at {short('xnli')} is not in the cache" in sentence and "HF_HUB_OFFLINE is set" in sentence


FILE = "test-00000-of-00001.parquet"
XQUAD = "google/xquad/xquad.{}/validation-00000-of-00001.parquet"


def pool_gap(path: Path) -> None:
    "One of a few sentences of the other language is empty, which is more than one in a hundred"
    record = json.loads(gzip.decompress(path.read_bytes()))
    record["sentence1"][2] = " "
    path.write_bytes(gzip.compress(json.dumps(record).encode()))


SPOILT = {  # what is done to a repository, what is asked for, what is said
    "truncated file": (lambda r: (p := r / "facebook/xnli/de" / FILE).write_bytes(p.read_bytes()[:500]), one("xnli", "de"), "is damaged"),
    "missing column": (lambda r: pq.write_table(pq.read_table(p := r / "facebook/xnli/fr" / FILE).drop_columns("hypothesis"), p),
                       one("xnli", "fr"), "column 'hypothesis' is missing; there are premise, label"),
    "other type": (lambda r: pq.write_table(pa.table(dict(premise=["a"], hypothesis=["b"], label=["neutral"])), r / "facebook/xnli/es" / FILE),
                   one("xnli", "es"), "column 'label' holds string, not int"),
    "label outside": (lambda r: change(r / "facebook/xnli/sw" / FILE, label=7), one("xnli", "sw"),
                      "record 0 of test in facebook/xnli@.*: label 7 is none of entailment, neutral, contradiction"),
    "empty text": (lambda r: change(r / "facebook/xnli/th" / FILE, premise=" "), one("xnli", "th"), "record 0 of test .*: premise is empty"),
    "wrong count": (lambda r: None, one("xnli", "tr", counts=""), f"{N} records, 5,010 were expected"),
    "other pairs": (lambda r: None, one("bucc", "zh", counts=""), "items in column 'gold', 1,899 were expected"),
    "file gone": (lambda r: (r / "facebook/xnli/vi" / FILE).unlink(), one("xnli", "vi"), "has no file vi/test-"),
    "answer not in context": (lambda r: change(r / XQUAD.format("ar"), answers=dict(text=["nowhere"], answer_start=[3])),
                              one("xquad", "ar"), "answer 'nowhere' does not stand in the context"),
    "offset off by one": (lambda r: None, one("xquad", "zh"), ""),
    "no answer": (lambda r: change(r / XQUAD.format("ru"), answers=dict(text=[], answer_start=[])), one("xquad", "ru"),
                  "it has no answer, but the task has no unanswerable questions"),
    "duplicate id": (lambda r: change(r / XQUAD.format("el"), id="test-3"), one("xquad", "el"),
                     "record 3 of validation in google/xquad@.*: example id 'test-3' occurs twice, the first time in record 0"),
    "fewer tags": (lambda r: change(r / "google/xtreme/PAN-X.de" / FILE, ner_tags=[0]), one("panx", "de"), "tokens but 1 tags"),
    "unknown tag": (lambda r: change(r / "google/xtreme/PAN-X.fr" / FILE, tokens=["a"], ner_tags=[9]), one("panx", "fr"), "tag 9 is none of O, B-PER"),
    "tags without names": (lambda r: pq.write_table(pa.table(dict(tokens=[["a"]], pos_tags=[[3]])), r / "izhx/xtreme-r-udpos/fi/test.parquet"),
                           one("udpos", "fi"), "holds numbers without names"),
    "pairs counted from 0": (lambda r: change(r / "mteb/BUCC/de-en" / FILE, gold=[[0, 1]]), one("bucc", "de"), "pairs run from 0 to 0"),
    "a letter that is no choice": (lambda r: change(r / "tau/commonsense_qa/data/train-00000-of-00001.parquet", answerKey="Z"),
                                   one("commonsenseqa", "en", "train"), "answerKey 'Z' is none of A, B, C, D, E"),
    "empty choice": (lambda r: change(r / "tau/commonsense_qa/data/validation-00000-of-00001.parquet",
                                      choices=dict(label=list("ABCDE"), text=["a", " ", "c", "d", "e"])),
                     one("commonsenseqa", "en", "validation"), "record 0 of validation in tau/commonsense_qa@.*: choice B is empty"),
    "empty context": (lambda r: change(r / "rajpurkar/squad_v2/squad_v2/train-00000-of-00001.parquet", context="", answers=dict(text=[], answer_start=[])),
                      one("squad2", "en", "train"), "record 0 of train in rajpurkar/squad_v2@.*: context is empty"),
    "empty sentence of a pool": (lambda r: pool_gap(r / "mteb/BUCC/fr-en/test.jsonl.gz"), one("bucc", "fr"),
                                 "record 0 of test in mteb/BUCC@.*: sentence fr-000000003 is empty; correct it there"),
    "no such language": (lambda r: None, one("xnli", "yo"), "Task xnli has no test rows in language 'yo': it has en, ar"),
    "no such repository": (lambda r: (r / "rajpurkar/squad").rename(r / "rajpurkar/gone"), one("squad", "en", "train"),
                           f"has no rajpurkar/squad at {short('squad')}"),
    "gated": ("gated", "facebook/anli", one("anli+", "en", "train"), "facebook/anli at main is gated; accept its terms"),
    "server error": ("broken", "Rowan/hellaswag", one("hellaswag", "en", "train"), f"Rowan/hellaswag at {short('hellaswag')} cannot be loaded"),
    "connection cut": ("cut", "google-research-datasets/paws-x", one("pawsx", "de"), "broke off on its way"),
}


def test_the_commit_that_was_read_is_known(loaded, root):
    "In full, whether it was asked for by its digits or by a branch"
    found = loaded[0]
    with Loopback(root) as hub:
        for name, source in ((name, found[0]) for name, found in HUB.items() if found):
            folder = root / "datasets" / (source.at if not source.revision.startswith("refs") else f"{source.at}@{quote(source.revision, safe='')}")
            assert f"{source.at}@{hub.commit(folder)}" in found[name, "test", TASKS[name].languages[-1]]["commits"], name
    assert found["xnli", "test", "de"]["commits"] == [f"facebook/xnli@{HUB['xnli'][0].revision}"]
    assert len(found["anli+", "train", "en"]["commits"]) == 3


def test_a_revision_can_be_set(root, tmp_path):
    "Another branch is read, a commit that is not there is named, and the stages that read the repository are others"
    place, before, after = tmp_path / "hub", find_suite("xtreme"), XtremeSuite(revisions="google/xquad=refs/pr/9,wikimedia/wikipedia=dev")
    folder = place / "datasets/google/xquad@refs%2Fpr%2F9/xquad.de"
    shutil.copytree(root / "datasets/google/xquad/xquad.de", folder)
    shutil.copytree(root / "datasets/google/xquad", place / "datasets/google/xquad")
    change(next(folder.glob("*.parquet")), question="Of the branch?")
    with Loopback(place) as hub:
        asked = ("", "google/xquad=refs/pr/9", f"google/xquad={'0' * 40}")
        both = [result(start([one("xquad", "de")], hub.endpoint, tmp_path / "home", XITCAL_REVISIONS=r)) for r in asked]
        wanted = hub.commit(folder.parent)
    usual, branch, gone = (b["xquad", "test", "de"] for b in both)
    assert branch["rows"][0]["question"] == "Of the branch?" != usual["rows"][0]["question"]
    assert branch["commits"] == [f"google/xquad@{wanted}"] != usual["commits"]
    assert "has no google/xquad at 00000000; name another revision (--revision google/xquad=COMMIT)" in gone["error"]
    names = {name for name, task in after.tasks.items() if task_facts(task) != task_facts(before.tasks[name])}
    assert names == {"xquad"} and after.tasks["xquad"].options["source"] == "google/xquad@refs/pr/9"
    assert material_facts("mlm", after) != material_facts("mlm", before) and material_facts("mnli", after) == material_facts("mnli", before)


def test_a_part_of_a_split_is_not_taken_for_the_whole(tmp_path):
    "A file of two is missing: on the hub, and in a cache without the hub; with the hub it is loaded again"
    root = make_repositories(tmp_path / "hub", N)
    folder = root / "datasets/google/xtreme/PAN-X.de"
    whole = pq.read_table(folder / FILE)
    (folder / FILE).unlink()
    parts = [folder / f"test-0000{i}-of-00002.parquet" for i in range(2)]
    for i, part in enumerate(parts): pq.write_table(whole.slice(i * N // 2, N // 2), part)
    home, wanted = tmp_path / "home", [one("panx", "de")]
    with Loopback(root) as hub:
        assert len(result(start(wanted, hub.endpoint, home))["panx", "test", "de"]["rows"]) == N
        cached = next(home.rglob(parts[1].name))
        cached.unlink()
        offline = result(start(wanted, hub.endpoint, home, HF_HUB_OFFLINE="1"))["panx", "test", "de"]["error"]
        assert len(result(start(wanted, hub.endpoint, home))["panx", "test", "de"]["rows"]) == N
        parts[1].unlink()
        hub.commits.clear()
        there = result(start(wanted, hub.endpoint, tmp_path / "other"))["panx", "test", "de"]["error"]
    assert "is not in the cache" in offline
    assert "the file test-00001-of-00002 is missing beside 'test-00000-of-00002.parquet', so this copy is only a part" in there


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    "What is said to each fault; one process asks for all"
    root, home = make_repositories(tmp_path_factory.mktemp("spoilt"), N), tmp_path_factory.mktemp("spoilt-cache")
    with Loopback(root) as hub:
        for spoil, *rest in SPOILT.values():
            if callable(spoil): spoil(root / "datasets")
            else: getattr(hub, spoil).add(rest[0])
        return result(start([case[-2] for case in SPOILT.values()], hub.endpoint, home))


@pytest.mark.parametrize("fault", SPOILT)
def test_a_fault_is_told_in_one_sentence(spoilt, fault):
    *_, wanted, sentence = SPOILT[fault]
    found = spoilt[wanted["task"], wanted["split"], wanted["language"]]
    if not sentence: assert found["repaired"]; return
    assert re.search(re.escape(sentence).replace(r"\.\*", ".*"), found.get("error", "")), found
    assert found["error"].startswith(f"Task {wanted['task']}") and wanted["language"] in found["error"]
    assert "\n" not in found["error"] and "Traceback" not in found["error"]


def data_check(endpoint: str, home: Path, *args, **more) -> subprocess.CompletedProcess:
    return xitcal("data", "check", "--split", "test", *args, check=False, env=environment(endpoint, home, **more))


def test_data_check_prints_a_table(root, loaded):
    _, _, home, _ = loaded
    with Loopback(root) as hub:
        good = data_check(hub.endpoint, home, "--task", "xnli,ccg,tatoeba", "--language", "de,sw")
        hub.broken.add("mteb/BUCC")
        bad = data_check(hub.endpoint, home / "nothing", "--task", "bucc,pawsx", "--language", "de")
    assert good.returncode == 0, good.stdout + good.stderr
    lines = good.stdout.splitlines()
    assert lines[0].split()[:4] == ["task", "language", "split", "source"] and sum(line.split()[:1] in (["xnli"], ["tatoeba"]) for line in lines) == 4
    assert "CCGbank is licensed" in good.stdout and "4 of 5 found, 4 of them without a problem." in good.stdout
    assert all(cell in good.stdout for cell in ("looked_at", "declared", " right "))
    assert bad.returncode == 1 and "Task bucc, language de: mteb/BUCC at main cannot be loaded" in bad.stdout
    assert "1 of 2 found, 1 of them without a problem." in bad.stdout


def test_a_hub_that_is_down_is_waited_for_once(tmp_path):
    "The client tries for some 24 seconds; all others are then told the same sentence at once"
    pauses, languages = tmp_path / "pauses", "en,de,es,fr,ru,sw,zh"
    down = data_check("http://127.0.0.1:9", tmp_path, "--task", "xnli,pawsx,panx,xquad,mlqa,tatoeba", "--language", languages, IMPATIENT_LOG=str(pauses))
    waited = sum(map(float, pauses.read_text().split()))
    told = [line for line in down.stdout.splitlines() if line.startswith("Task ") and "cannot be reached (" in line]
    count = sum(len(set(languages.split(",")) & set(TARGETS[t].languages)) for t in ("xnli", "pawsx", "panx", "xquad", "mlqa", "tatoeba"))
    assert down.returncode == 1 and len(told) == count > 30 and f"\n0 of {count} found" in down.stdout, down.stdout + down.stderr
    assert len({re.sub(r"^Task .*: http", "http", line) for line in told}) == 1 and 10 < waited < 60, (waited, told)


def test_a_slow_hub_is_named(slow):
    sentence = result(slow)["xnli", "test", "de"]["error"]
    assert "was too slow; set HF_HUB_DOWNLOAD_TIMEOUT" in sentence and sentence.startswith("Task xnli, language de: http://127.0.0.1")
