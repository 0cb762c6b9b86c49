"""What is known before anything is trained is said then; and what became of the records of the sources is kept with each result."""
import json
from dataclasses import replace

import pytest
from conftest import xitcal
from encoders import make_encoder
from test_local import put, squad, told
from test_pages import run_page

from xitcal.core.errors import XitcalError
from xitcal.data.suites import find_suite
from xitcal.data.xtreme.reading import noted
from xitcal.data.xtreme.suite import XtremeSuite
from xitcal.report.sentences import fault_sentence
from xitcal.study.grid import Study, default_study, make_plan
from xitcal.study.ledger import source_records
from xitcal.study.options import make_study
from xitcal.study.plan_text import recipe_table
from xitcal.study.runner import fit_heads, run_study

SMALL = Study(intermediates=("none", "mnli", "hellaswag", "squad", "multi"), targets=("xnli", "pawsx"), languages=("en", "sw"), seeds=(0,))


@pytest.fixture(scope="module")
def eurobert(tmp_path_factory): return str(make_encoder("eurobert", tmp_path_factory.mktemp("eurobert"), "safetensors"))


def test_phase_2_without_a_head_is_left_out(eurobert):
    "EuroBERT has neither a head for questions nor one for choices; many tasks at once are another condition without them"
    left, told_of = fit_heads(replace(SMALL, models=(eurobert,)))
    assert left.intermediates == ("none", "mnli") and len(told_of) == 3
    assert told_of[0] == f"Model {eurobert!r} has no head for HellaSwag." and "SQuAD v1.1, " in told_of[2]
    assert fit_heads(SMALL) == (SMALL, [])
    with pytest.raises(XitcalError, match="No intermediate task is left"): fit_heads(replace(SMALL, models=(eurobert,), intermediates=("squad",)))


def test_a_target_without_a_head_is_refused_before_the_run(eurobert, tmp_path):
    study = replace(SMALL, models=(eurobert,), intermediates=("none",), targets=("xnli", "xquad", "tydiqa"))
    with pytest.raises(XitcalError) as refused: run_study(study, tmp_path / "store", workers=1, progress=False)
    assert str(refused.value) == f"Model {eurobert!r} has no head for XQuAD, TyDiQA-GoldP; leave them out (--target xnli)."
    with pytest.raises(XitcalError, match="has no head for HellaSwag. Leave it out of the study."):
        run_study(replace(SMALL, models=(eurobert,)), tmp_path / "store", workers=1, progress=False)
    assert not (tmp_path / "store").exists()


def test_plan_says_what_is_left_out(eurobert):
    options = ["--model", eurobert, "--intermediate", "none,hellaswag", "--seeds", "0", "--intermediate-rows", "8", "--target-rows", "8", "--test-rows", "4"]
    done = xitcal("plan", *options, "--target", "xnli,pawsx", "--language", "en,sw")
    assert f"xitcal: Model {eurobert!r} has no head for HellaSwag. The study goes on without hellaswag.\n" in done.stderr
    assert "hellaswag" not in done.stdout.lower()
    refused = xitcal("plan", *options, "--target", "xquad", check=False)
    assert refused.returncode == 2 and "has no head for XQuAD; choose another model." in refused.stderr


def test_languages_that_a_target_lacks_are_told_once(capsys):
    make_study(suite="xtreme", intermediate="none", target="pawsx,xnli,tydiqa", language="en,sw,de")
    assert capsys.readouterr().err == "xitcal: PAWS-X has no sw; TyDiQA-GoldP has no de; the study goes on with the languages that each target has.\n"
    make_study(suite="xtreme", intermediate="none", target="xnli", language="en,sw")
    assert capsys.readouterr().err == ""


def test_the_rows_that_say_when_to_stop_are_those_that_are_there(monkeypatch):
    monkeypatch.delenv("XITCAL_COUNTS", raising=False)
    plan = make_plan(replace(default_study("xtreme"), intermediates=("none", "mnli"), recipes="xtreme"))
    ends = recipe_table(plan).query("phase == '3'").set_index("task").ends
    assert "best on 1,000 English rows" in ends["pawsx"] and "best on 2,490 English rows" in ends["mnli"]
    ends = recipe_table(make_plan(replace(plan.study, recipes="phang"))).query("phase == '3'").set_index("task").ends
    assert "best on 185 English rows" in ends["tydiqa"] and "best on 500 English rows" in ends["pawsx"] and "up to 500" in ends["udpos"]
    monkeypatch.setenv("XITCAL_COUNTS", "off")
    assert "best on up to 2,490 English rows" in recipe_table(plan).query("phase == '3'").set_index("task").ends["mnli"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    "Two hundred Swahili pairs of sentences, of which one is empty"
    for code in ("swh", "eng"): put(tmp_path / f"data/tatoeba/tatoeba.swh-eng.{code}", "".join(("" if i == 7 else f"{code} {i}") + "\n" for i in range(200)))
    monkeypatch.setenv("XITCAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XITCAL_COUNTS", "off")
    return tmp_path / "data"


def test_a_run_keeps_what_became_of_the_records_and_the_page_says_it(data, tmp_path, monkeypatch):
    study = Study(suite="xtreme", models=(str(find_suite("embedded").encoder()),), intermediates=("none",), targets=("tatoeba",), languages=("sw",), seeds=(0,),
                  test_rows=20)
    run_study(study, tmp_path / "store", workers=1, progress=False)
    (result,) = (json.loads(p.read_text()) for p in (tmp_path / "store/stages").glob("*/result.json"))
    (note,) = result["sources"]
    assert {k: note[k] for k in ("task", "split", "language", "records", "faulty", "repaired", "commits")} == dict(
        task="tatoeba", split="test", language="sw", records=200, faulty=1, repaired={}, commits=[])
    assert note["fault"].startswith("Task tatoeba, language sw, record 7 of test in tatoeba/tatoeba.swh-eng.swh: ")
    said = fault_sentence(source_records(tmp_path / "store"))
    assert said.startswith("**Some records of the sources were faulty.** Tatoeba (test): 1 left out of 200, the first Task tatoeba, language sw, record 7")
    monkeypatch.setenv("XITCAL_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("xitcal.report.sentences.display", lambda made: print(getattr(made, "data", made)))
    assert said in run_page("default/01_scores.ipynb", tmp_path / "store/results", monkeypatch)


def test_repaired_records_are_counted_by_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("XITCAL_COUNTS", "off")
    rows = told("squad", "train", "en", 6)
    for row in rows[:2]: row["answers"]["answer_start"] = [s + 1 for s in row["answers"]["answer_start"]]
    put(tmp_path / "squad/train-v1.1.json", squad(rows))
    suite = XtremeSuite(tmp_path)
    made, (note,) = noted(suite, lambda: suite.rows("squad", "train"))
    moved = sum(len(r["answers"]["text"]) for r in rows[:2])
    assert len(made) == 6 and note["repaired"] == {"answer moved to where it stands": moved} and note["faulty"] == 0


def test_generated_data_have_no_sources(tmp_path):
    store = tmp_path / "store"
    run_study(Study(intermediates=("none",), targets=("tatoeba",), languages=("sw",), seeds=(0,), test_rows=10), store, workers=1, progress=False)
    results = [json.loads(p.read_text()) for p in (store / "stages").glob("*/result.json")]
    assert results and all(r["sources"] == [] and "encoder" not in r for r in results)
    assert source_records(store).empty and fault_sentence(source_records(store)) == ""


def test_each_task_without_a_source_has_its_own_sentence(monkeypatch):
    assert "CCGbank is licensed" in XtremeSuite().absent["ccg"]
    from xitcal.data.xtreme import suite as xtreme
    monkeypatch.setattr(xtreme, "with_revisions", lambda chosen: xtreme.HUB | {"qqp": ()})
    absent = XtremeSuite().absent
    assert set(absent) == {"ccg", "qqp"} and absent["qqp"].startswith("Task qqp has no data") and "CCG" not in absent["qqp"]
