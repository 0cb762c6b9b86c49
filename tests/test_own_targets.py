"""A user's own target tasks: from a TOML file through training, prediction, calibration and pages, next to a suite's tasks or as a suite of their own."""
import json
import os
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import xitcal
from loopback import Loopback

from xitcal.core.errors import XitcalError
from xitcal.data.suites import ADDED, find_suite, load_own
from xitcal.data.tasks import TARGETS, XTREME, forget_target
from xitcal.report.html import results_notebooks, run_notebook
from xitcal.study.grid import make_plan
from xitcal.study.ledger import load_predictions, source_records, study_tasks
from xitcal.study.options import make_study
from xitcal.study.summarise import store_results

FEW = ("--seeds", 0, "--target-rows", 200, "--intermediate-rows", 200, "--test-rows", 40, "--calibration-rows", 40, "--workers", 1)
FILES = {"en": "en_ewt", "pt": "pt_bosque", "hau": "hau_made"}  # as Universal NER calls its files
NER = """[myner]
title = "My NER"
kind = "tagging"
labels = [{labels}]
train = "ner/{{language}}-ud-train.iob2"
validation = "ner/{{language}}-ud-dev.iob2"
test = "ner/{{language}}-ud-test.iob2"
codes = {{en = "en_ewt", pt = "pt_bosque", hau = "hau_made"}}
columns = {{tokens = 2, tags = 3}}
"""
NLI = """
[mynli]
title = "My NLI"
like = "xnli"
trained_on = "mnli"
parallel = true
test = "nli/{language}.tsv"
columns = {sentence1 = "premise", sentence2 = "hypothesis"}
"""


@pytest.fixture(autouse=True)
def _forget():
    "What a test makes known ends with it"
    yield
    ADDED.clear()
    for name in set(TARGETS) - set(XTREME):
        forget_target(name)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def iob2(rows, labels) -> str:
    "Universal NER: comments, and number, word, tag, two columns more"
    return "\n".join(f"# sent_id = {r['example']}\n# text = {' '.join(r['tokens'])}\n"
                     + "".join(f"{i}\t{word}\t{labels[tag]}\t-\tmade\n" for i, (word, tag) in enumerate(zip(r["tokens"], r["tags"]), 1)) for r in rows)


def tsv(rows, labels) -> str:
    "AmericasNLI: a table with a header"
    return "premise\thypothesis\tlabel\n" + "".join(f"{r['sentence1']}\t{r['sentence2']}\t{labels[r['label']]}\n" for r in rows)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    "Made-up data in both layouts, in languages that are none of XTREME's among others"
    place, suite = tmp_path_factory.mktemp("mine"), find_suite("embedded")
    tags, labels = suite.tasks["panx"].labels, suite.tasks["xnli"].labels
    for split, raw, n in (("train", "train", 200), ("validation", "dev", 80)):
        write(place / f"ner/en_ewt-ud-{raw}.iob2", iob2(suite.rows("panx", split, ["en"], n), tags))
    for code, like in (("en", "en"), ("pt", "pt"), ("hau", "yo")):
        write(place / f"ner/{FILES[code]}-ud-test.iob2", iob2(suite.rows("panx", "test", [like], 50), tags))
    for code, like in (("quy", "fi"), ("aym", "tr")):
        write(place / f"nli/{code}.tsv", tsv(suite.rows("xnli", "test", [like], 50), labels))
    write(place / "my.toml", NER.format(labels=", ".join(f'"{t}"' for t in tags)) + NLI)
    return place


@pytest.fixture(scope="module")
def mine(benchmark, tmp_path_factory):
    "A finished study of both targets"
    store = tmp_path_factory.mktemp("study") / "y"
    xitcal("run", "--store", store, "--own", benchmark / "my.toml", "--target", "myner,mynli", "--intermediate", "none,mnli", *FEW)
    return store


def test_a_study_of_two_own_targets(mine):
    events = load_predictions(mine).to_pandas()
    found = events.groupby("target").language.unique().map(set).to_dict()
    assert found == {"myner": {"en", "pt", "hau"}, "mynli": {"quy", "aym"}}
    assert set(events[events.target == "myner"].event) == {"token", "entity"} and set(events.intermediate) == {"none", "mnli"}
    assert events.groupby(["target", "language"]).example.nunique().eq(40).all()
    kept = load_predictions(mine, split="calibration").to_pandas()
    assert kept.groupby("target").example.nunique().to_dict() == {"myner": 40, "mynli": 40} and set(kept.language) == {"en"}
    assert study_tasks(mine)["myner"].title == "My NER" and find_suite("embedded").tasks.keys() & {"myner"} == set()
    records = source_records(mine)
    assert set(records.task) == {"myner", "mynli"} and records.faulty.sum() == 0


@pytest.mark.slow
def test_the_study_goes_on_to_calibration_and_to_pages(mine, tmp_path):
    "Pages run in processes that know no file of the user's"
    xitcal("predictions", "--store", mine, "--out", tmp_path / "p.parquet")
    said = xitcal("calibrate", tmp_path / "p.parquet", "--by", "target,language", "--fast").stdout
    assert all(name in said for name in ("myner", "mynli", "quy", "hau", "pt"))
    store_results(mine, progress=False)
    for path in results_notebooks(("default", "answer")):
        if path.stem not in ("01_scores", "04_languages", "05_explanations"): continue
        notebook = run_notebook(path, mine)
        assert len(notebook.cells) > 2, notebook.cells
        assert path.stem == "05_explanations" or {"My NER", "quy"} <= set(re.findall("My NER|quy", json.dumps(notebook)))


def test_a_corrected_test_file_trains_nothing_anew(benchmark, tmp_path):
    options = dict(own=str(benchmark / "my.toml"), intermediate="none", seeds="0")
    first = set(make_plan(make_study(**options)).stages)
    path = benchmark / "ner/hau_made-ud-test.iob2"
    before = path.read_text()
    try:
        write(path, before + "\n1\tKano\tO\t-\tmade\n")
        second = set(make_plan(make_study(**options)).stages)
    finally: write(path, before)
    assert {name.partition("-")[0] for name in first - second} == {"prediction"} and len(first - second) == 1
    assert set(make_plan(make_study(**options)).stages) == first


def test_other_studies_keep_their_stages(benchmark):
    study = dict(target="xnli,panx", intermediate="none,mnli,multi", seeds="0")
    before = set(make_plan(make_study(**study)).stages)
    assert set(make_plan(make_study(own=str(benchmark / "my.toml"), **study)).stages) == before
    both = make_plan(make_study(own=str(benchmark / "my.toml"), target="xnli,mynli", intermediate="none", seeds="0"))
    assert sum(s.phase == "target" for s in both.stages.values()) == 1  # XNLI's model predicts it


def test_own_targets_are_the_default_and_their_languages_are_known(benchmark):
    study = make_study(own=str(benchmark / "my.toml"), language="en,quy", intermediate="none")
    assert study.targets == ("myner", "mynli") and study.languages == ("en", "quy")
    ADDED.clear()
    with pytest.raises(XitcalError, match="Unknown language 'quy'"): make_study(language="quy")


@pytest.mark.parametrize("old, new, sentence", [
    ('"premise"', '"premiss"', "column 'premiss' is missing; there are premise, hypothesis, label"),
    ("tags = 3", "tags = 6", "has 5 columns, but the task asks for column 6"),
    ('"B-LANG"', '"B-TONGUE"', "tag 'B-LANG' is none of"),
    ("[mynli]", '[mynli]\nlanguages = ["quy", "nah"]', "there is no file 'nli/nah.tsv'"),
    ("[mynli]", "[myner]", "of one name"),
    ("[mynli]", "[xnli]", "there is one of that name"),
    ('trained_on = "mnli"', 'trained_on = "squad"', "is of kind 'answers'")])
def test_what_is_wrong_with_a_file_ends_in_one_sentence(benchmark, tmp_path, old, new, sentence):
    "Nothing is written"
    path, store = benchmark / f"wrong-{abs(hash(new))}.toml", tmp_path / "s"
    path.write_text((benchmark / "my.toml").read_text().replace(old, new, 1))
    done = xitcal("run", "--store", store, "--own", path, "--intermediate", "none", *FEW, check=False)
    path.unlink()
    assert done.returncode == 2 and done.stderr.startswith("xitcal: ") and done.stderr.count("\n") == 1 and sentence in done.stderr
    assert not store.exists()


def test_two_files_with_one_target(benchmark, tmp_path):
    (benchmark / "again.toml").write_text(NLI)
    with pytest.raises(XitcalError, match="Two tasks are called 'mynli'"):
        load_own([benchmark / "my.toml", benchmark / "again.toml"])
    assert not ADDED.get("embedded") and set(TARGETS) == set(XTREME)


def test_a_label_outside_the_set_in_one_row_of_many(benchmark):
    "A published set may have one row in a hundred at fault, one's own none"
    path = benchmark / "nli/quy.tsv"
    before = path.read_text()
    try:
        write(path, before.replace("\tneutral\n", "\tmaybe\n", 1))
        with pytest.raises(XitcalError, match="Task mynli, language quy.*label 'maybe' is none of entailment, neutral, contradiction"):
            load_own([benchmark / "my.toml"])
    finally: write(path, before)


def test_masakhaners_layout_with_labels_that_the_training_rows_lack(tmp_path):
    "Columns with a blank between them, files named test.txt, DATE renamed to O"
    tags = find_suite("embedded").tasks["panx"].labels
    write(tmp_path / "data/yor/test.txt", f"# {tags[0]}\nEko {tags[1]}\nana B-OLD\n\nIle {tags[0]}\n")
    write(tmp_path / "m.toml", '[masakha]\nlike = "panx"\ntrained_on = "panx"\ntest = "data/{language}/test.txt"\nrename = {"B-OLD" = "O"}\n')
    task, = load_own([tmp_path / "m.toml"])
    rows = find_suite("embedded").rows("masakha", "test", "yor")
    assert task.languages == ("yor",) and rows["tags"] == [[0, 1, 0], [0]] and task.options["entities"]


@pytest.mark.slow
def test_a_whole_suite_in_one_file(benchmark, tmp_path):
    suite, labels = find_suite("embedded"), find_suite("embedded").tasks["xnli"].labels
    for name, split, n in (("en-train", "train", 60), ("en-dev", "validation", 40)):
        write(benchmark / f"nli-train/{name}.tsv", tsv(suite.rows("xnli", split, ["en"], n), labels))
    write(benchmark / "mood.jsonl", "".join(json.dumps(dict(text=f"a {('bad', 'good')[i % 2]} day", label=i % 2)) + "\n" for i in range(60)))
    whole = (benchmark / "my.toml").read_text().replace('trained_on = "mnli"', 'train = "nli-train/en-train.tsv"\nvalidation = "nli-train/en-dev.tsv"')
    write(benchmark / "whole.toml", whole + """
[mood]
kind = "classification"
labels = ["bad", "good"]
train = "mood.jsonl"
validation = "mood.jsonl"
columns = {sentence1 = "text", sentence2 = ""}
""")
    path, encoder, store = benchmark / "whole.toml", suite.encoder(), tmp_path / "z"
    done = xitcal("run", "--suite", path, "--store", store, *FEW, check=False)
    assert done.returncode == 2 and "has no encoder of its own; name one with --model" in done.stderr
    few = [str(x) for x in FEW] + ["--target-rows", "32", "--intermediate-rows", "32", "--test-rows", "10"]
    xitcal("run", "--suite", path, "--model", encoder, "--store", store, *few)
    events = load_predictions(store).to_pandas()
    assert set(events.target) == {"myner", "mynli"} and set(events.intermediate) == {"none", "mood"}
    assert set(study_tasks(store)) == {"myner", "mynli"}  # of a suite that this process has not loaded
    assert "mood           intermediate" in xitcal("tasks", "--suite", path).stdout
    for name, sentence in (("mlm", "has no texts"), ("mnli", "is not in the suite 'whole'"), ("mood:translated", "English alone")):
        with pytest.raises(XitcalError, match=re.escape(sentence)):
            make_plan(make_study(suite=str(path), model=str(encoder), intermediate=name, target="mynli"))


def test_data_sets_of_the_hub(tmp_path):
    "A target with a configuration a language, and an intermediate task; a wrong name of a column is told before anything runs"
    suite, root = find_suite("embedded"), tmp_path / "hub"
    def parquet(place, rows, **names):
        place.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({new: list(rows[old]) for old, new in names.items()})
        pq.write_table(table, place)
    pair = dict(sentence1="premise", sentence2="hypothesis", label="label")
    for code, like in (("quy", "fi"), ("aym", "tr")):
        parquet(root / f"datasets/made/americas_nli/{code}/test-00000-of-00001.parquet", suite.rows("xnli", "test", [like], 12), **pair)
    for split, n in (("train", 24), ("validation", 8)):
        parquet(root / f"datasets/made/qqp/data/{split}-00000-of-00001.parquet", suite.rows("qqp", split, ["en"], n),
                sentence1="a", sentence2="b", label="same")
    text = """
[mynli]
like = "xnli"
trained_on = "mnli"
hub = "made/americas_nli"
config = "{language}"
languages = ["quy", "aym"]
test = "test"
columns = {sentence1 = "premise", sentence2 = "hypothesis"}

[asked]
like = "qqp"
hub = "made/qqp"
train = "train"
validation = "validation"
columns = {sentence1 = "a", sentence2 = "b", label = "same"}
"""
    write(tmp_path / "hub.toml", text)
    write(tmp_path / "wrong.toml", text.replace('"same"', '"equal"'))
    with Loopback(root) as hub:
        env = os.environ | dict(HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path / "home"), HF_HUB_DISABLE_TELEMETRY="1", NO_PROXY="127.0.0.1")
        few = [*FEW, "--intermediate", "none,asked", "--target-rows", 16, "--intermediate-rows", 16, "--test-rows", 8, "--calibration-rows", 4]
        done = xitcal("run", "--own", tmp_path / "wrong.toml", "--store", tmp_path / "w", *few, env=env, check=False)
        assert done.returncode == 2 and "Task asked, language en" in done.stderr and "column 'equal' is missing; there are a, b, same" in done.stderr
        assert not list((tmp_path / "w").glob("stages/*"))
        checked = xitcal("data", "check", "--suite", "embedded", "--own", tmp_path / "hub.toml", env=env).stdout
        assert "0 of" not in checked and "made/americas_nli@" in checked
        xitcal("run", "--own", tmp_path / "hub.toml", "--store", tmp_path / "s", *few, env=env)
    events = load_predictions(tmp_path / "s").to_pandas()
    assert set(events.language) == {"quy", "aym"} and set(events.intermediate) == {"none", "asked"} and set(events.target) == {"mynli"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["answers", "choices", "retrieval"])
def test_other_kinds_from_files(tmp_path, kind):
    "SQuAD JSON, CSV with a column a choice, pairs of translations: each is read, predicted and scored"
    write(tmp_path / "qa/hau.json", json.dumps(dict(data=[dict(paragraphs=[dict(context="Musa yana Kano.", qas=[
        dict(id=str(i), question="Ina Musa?", answers=[dict(text="Kano", answer_start=10)]) for i in range(6)])])])))
    pd.DataFrame([dict(premise=f"Rain {i}", one="It is wet", two="It is dry", right="AB"[i % 2]) for i in range(20)]).to_csv(tmp_path / "copa.csv", index=False)
    pd.DataFrame([dict(theirs=f"Gida {i}", ours=f"House {i}") for i in range(6)]).to_csv(tmp_path / "pairs-hau.csv", index=False)
    text = dict(answers='[mine]\nlike = "xquad"\ntrained_on = "squad"\ntest = "qa/{language}.json"\n',
                choices='[mine]\nlike = "cosmosqa"\nlabels = ["A", "B"]\ntrain = "copa.csv[:60%]"\nvalidation = "copa.csv[60%:80%]"\n'
                        'calibration = "copa.csv[80%:]"\ntest = "copa.csv"\nlanguages = ["en"]\n'
                        'columns = {question = "premise", choices = ["one", "two"], label = "right"}\n',
                retrieval='[mine]\nlike = "tatoeba"\ntest = "pairs-{language}.csv"\ncolumns = {text = "theirs", english = "ours"}\n')[kind]
    write(tmp_path / "m.toml", text)
    store, few = tmp_path / "s", ["--target-rows", 16, "--test-rows", 6, "--calibration-rows", 4]
    xitcal("run", "--store", store, "--own", tmp_path / "m.toml", "--intermediate", "none", *FEW, *few)
    events = load_predictions(store).to_pandas()
    assert len(events) == 6 and study_tasks(store)["mine"].kind == kind
