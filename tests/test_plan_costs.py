"""What `xitcal plan` says: every condition on real data, with and without declared counts; memory, disk and rate; languages and tasks that are not there."""
import os
import re
import shutil

import pytest
from conftest import xitcal
from encoders import make_encoder
from loopback import Loopback
from repositories import make_repositories
from test_xtreme_study import files_of_ones_own

from xitcal.core.errors import XitcalError
from xitcal.data.languages import LANGUAGES
from xitcal.data.tasks import INTERMEDIATES
from xitcal.data.xtreme.texts import TEXTS
from xitcal.report.paper import multi_words
from xitcal.study import plan_text as estimates
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import record_study
from xitcal.study.options import make_study
from xitcal.study.plan_text import estimate, memory_bytes
from xitcal.study.protocol import FULL_CONDITIONS
from xitcal.study.store import Store
from xitcal.training.lengths import Lengths

CODES = ",".join(("de", "ru"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory): return make_encoder("xlm-roberta-large", tmp_path_factory.mktemp("encoder") / "made")


def test_every_phase_2_is_reckoned_from_declared_counts(encoder, monkeypatch):
    "Nothing is loaded for it, so that it costs a second"
    conditions = tuple(a for a in FULL_CONDITIONS if "ccg" not in a and not a.endswith(":translated"))
    assert {"mlm", "multi", "multi:mlm", "own", "mnli:mlm", "mnli:shuffled"} <= set(conditions)
    monkeypatch.setattr(estimates, "input_lengths", lambda *a, **k: Lengths(10., 10.))
    plan = make_plan(Study(suite="xtreme", models=(str(encoder),), intermediates=conditions, targets=("xnli", "xquad"), seeds=(0,), intermediate_rows=None))
    costs = estimate(plan).set_index("title")
    plain, mixed = (costs.examples[f"{t}, seed 0"] for t in ("MNLI", "MNLI with masked LM"))
    mnli = next(s for s in plan.stages.values() if s.title == "MNLI with masked LM, seed 0")
    assert mixed - plain == round(mnli.facts["recipe"]["epochs"] * TEXTS)
    assert costs.examples["all tasks with masked LM but ccg, seed 0"] > costs.examples["all tasks but ccg, seed 0"]


def test_every_phase_2_is_reckoned_from_what_is_there(encoder, tmp_path):
    "With files of one's own and no declared counts, as on a machine with another release of the data; `plan` itself, from the hub to the table"
    root, data = make_repositories(tmp_path / "hub", 8), files_of_ones_own(tmp_path / "data")
    (data / "texts").mkdir()
    for code in LANGUAGES: (data / f"texts/{code}.txt").write_text("One line of text.\n" * 9)
    shutil.copytree(encoder, root / "models/some/encoder")
    there = [a for a in FULL_CONDITIONS if not a.endswith(":translated")] + ["mnli:translated", "squad:translated", "multi:translated"]
    options = ["--suite", "xtreme", "--model", "some/encoder", "--data", data, "--target", "xnli,tatoeba", "--language", CODES, "--seeds", 0, "--test-rows", 4,
               "--intermediate", ",".join(there), "--intermediate-rows", "16"]
    with Loopback(root) as hub:
        done = xitcal("plan", *options, check=False, env=os.environ | dict(
            HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path / "home"), HF_HUB_DISABLE_TELEMETRY="1", XITCAL_COUNTS="off", NO_PROXY="127.0.0.1"))
    assert done.returncode == 0, done.stderr
    assert "GiB of memory" in done.stdout and re.search(r"Disk: \d+ trained models of 0\.\d\d GiB, .* GiB more\.", done.stdout), done.stdout
    line = next(row for row in done.stdout.splitlines() if "MNLI translated, seed 0" in row)
    assert int(line.split("seed 0")[1].split()[0]) % 16 == 0  # so many epochs of 16 rows that are told
    assert "its 9 tasks" not in done.stderr  # CCG is there


def test_the_memory_of_masked_lm_holds_its_logits(monkeypatch):
    "XLM-R: 3.85 MB a position were measured"
    one = memory_bytes(0, 1024, 24, 1, True, 250_002) - memory_bytes(0, 1024, 24, 1, True)
    assert one == pytest.approx(3.85e6, rel=.1)
    monkeypatch.setattr(estimates, "input_lengths", lambda *a, **k: Lengths(10., 10.))
    costs = estimate(make_plan(Study(intermediates=("mnli", "mnli:mlm", "mlm"), targets=("xnli",), seeds=(0,)))).set_index("title").gigabytes
    assert costs["MNLI with masked LM, seed 0"] == costs["masked LM alone, seed 0"] > costs["MNLI, seed 0"]


def test_targets_without_the_languages_are_left_out_unless_they_were_named(capsys):
    study = make_study(suite="xtreme", language="en,sw", intermediate="none")
    told = capsys.readouterr().err
    assert "bucc" not in study.targets and "tatoeba" in study.targets and make_plan(study).cells
    assert "BUCC 2018 has none of the languages en, sw; the study goes on without bucc." in told and "BUCC 2018 has no en, sw" not in told
    for options in (dict(target="bucc,xnli", language="en,sw"), dict(target="bucc", language="en")):
        with pytest.raises(XitcalError, match="BUCC 2018 has none of the languages en.*leave it out of --target, or add one of its own: de") as error:
            make_study(suite="xtreme", intermediate="none", **options)
        assert "\n" not in str(error.value) and "goes on" not in capsys.readouterr().err


def test_many_tasks_without_ccg_say_so(tmp_path, monkeypatch, capsys):
    make_study(intermediate="multi", target="xnli")
    assert capsys.readouterr().err == ""  # the embedded suite has all nine
    study = make_study(suite="xtreme", intermediate="multi,multi:mlm", target="xnli", language="de", model="some/encoder", seeds="0")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and told[0].startswith("xitcal: multi is trained on 8 of its 9 tasks, without ccg")
    plan = make_plan(study)
    assert {s.title for s in plan.stages.values() if s.phase == "intermediate"} >= {"all tasks but ccg, seed 0"}
    store = Store(tmp_path / "store")
    record_study(store, plan)
    assert multi_words(store.path) == {}
    for stage in plan.stages.values():
        if stage.phase != "pretrained":
            with store.publishing(stage.name, dict(facts=stage.facts, inputs=list(stage.inputs))): pass
    assert multi_words(store.path) == dict.fromkeys(("multi", "multi:mlm"), f" (here 8 of {len(INTERMEDIATES)} tasks)")
