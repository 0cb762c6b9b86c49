"""The page beside the paper's tables, and what a store lacks of the paper's grid: an empty store, a partial one, and one of another suite."""
import re
import shlex
from dataclasses import replace

import pandas as pd
import pytest
from test_pages import run_page, study

from xitcal.core.errors import XitcalError
from xitcal.data.tasks import NONE, TARGETS
from xitcal.report.html import results_notebooks, write_report
from xitcal.report.paper import SIGNS, paper_figures, rest_of_grid, rest_words, run_command, stored_study
from xitcal.study.grid import default_study, make_plan
from xitcal.study.ledger import record_study
from xitcal.study.options import make_study
from xitcal.study.store import Store

PAGE = "trust/05_paper.ipynb"
WHOLE = default_study("xtreme")
SMALL = replace(WHOLE, seeds=(2,), languages=("en", "de", "sw"), target_rows=64)


@pytest.fixture
def empty(tmp_path):
    "A store whose study is known and in which nothing is done"
    path = tmp_path / "store"
    record_study(Store(path), make_plan(replace(SMALL, intermediates=("none", "mnli"), targets=("xnli",))))
    return path


@pytest.fixture
def partial(tmp_path):
    "Four pairs are there, as from real data; their stages hold nothing"
    path, part = tmp_path / "partial", replace(SMALL, intermediates=("none", "mnli"), targets=("xnli", "panx"))
    store, plan = Store(path), make_plan(part)
    record_study(store, plan)
    for stage in plan.stages.values():
        if stage.phase != "pretrained":
            with store.publishing(stage.name, {}):
                pass
    study(path / "results", settings=("full",), keep=lambda t, setting, seed: t.language.isin(SMALL.languages) & t.intermediate.isin(part.intermediates)
          & t.target.isin(part.targets))
    for record in (path / "results").glob("seed-*.json"):
        record.write_text(record.read_text().replace('"suite": "embedded"', '"suite": "xtreme"'))
    return path


def shown_page(folder, monkeypatch) -> str:
    "All that the page shows, tables and what `show` displays among it"
    monkeypatch.setattr("xitcal.report.sentences.display", lambda made: print(made.to_string() if isinstance(made, pd.DataFrame) else made.data))
    return run_page(PAGE, folder, monkeypatch)


def command(shown: str) -> list[str]:
    "Words of the command that a page gives"
    return shlex.split(re.search(r"`(xitcal run [^`]+)`", shown)[1])


def as_study(words: list[str]):
    "The study that a command line stands for"
    options = dict(zip((w.removeprefix("--").replace("-", "_") for w in words[2::2]), words[3::2]))
    numbers = {n: int(options[n]) for n in ("average",) if n in options}  # as typer reads them
    return make_study(**{n: v for n, v in (options | numbers).items() if n != "store"})


def test_every_figure_of_the_paper_has_a_sign():
    figures = paper_figures()
    assert set(zip(figures.certainty, figures.sign)) == set(SIGNS.items()) and len(set(SIGNS.values())) == 3
    sure = figures[(figures.table == "level") & (figures.certainty == "published")]
    assert set(sure.target) == {"bucc", "tatoeba"}  # jiant's pull request gives these two alone


def test_a_command_is_its_study():
    for wanted in (SMALL, replace(WHOLE, models=("some/model",), learning_rates=(5e-6, 1e-5), methods=("lora",), lora_targets=("query", "key"), average=3)):
        made = as_study(shlex.split(run_command(wanted, "my store")))
        assert replace(made, intermediates=wanted.intermediates) == wanted  # CCG is not on this machine


def test_the_rest_of_an_empty_store_is_the_grid_under_its_settings(empty):
    rest = rest_of_grid(empty)
    assert len(rest.pairs) == len(WHOLE.intermediates) * len(TARGETS) and list(rest.absent) == ["ccg"]
    assert rest.plan.study == replace(SMALL, intermediates=tuple(i for i in WHOLE.intermediates if i != "ccg"))
    assert rest.stages == {s.name for s in rest.plan.stages.values() if s.phase != "pretrained"}
    assert rest_words(rest, priced=False).startswith("The whole grid with 1 seed is 9 intermediate trainings,")


def test_the_rest_of_a_partial_store_is_cheaper_and_names_every_pair(empty, partial):
    rest, all_of_it = rest_of_grid(partial), rest_of_grid(empty)
    assert set(all_of_it.pairs) - set(rest.pairs) == {(a, t) for a in ("none", "mnli") for t in ("xnli", "panx")}
    kinds = lambda r, phase: sum(r.plan.stages[s].phase == phase for s in r.stages)
    assert kinds(rest, "intermediate") == kinds(all_of_it, "intermediate") - 1 and kinds(rest, "prediction") == kinds(all_of_it, "prediction") - 4
    assert rest_words(rest, priced=False).startswith("The rest with 1 seed is 8 intermediate trainings,")
    assert stored_study(partial).seeds == (2,) and rest.left.targets == WHOLE.targets


def test_another_seed_makes_a_pair_incomplete(partial):
    record_study(Store(partial), make_plan(replace(SMALL, intermediates=("none", "mnli"), targets=("xnli",), seeds=(5,))))
    assert {("none", "xnli"), ("mnli", "panx")} <= set(rest_of_grid(partial).pairs)


@pytest.mark.parametrize("which", ["empty", "partial"])
def test_the_page_shows_the_grid_what_is_missing_and_its_command(which, request, monkeypatch):
    store = request.getfixturevalue(which)
    monkeypatch.setattr("xitcal.report.paper.estimate", lambda plan, flops, only: pd.DataFrame([dict(examples=1, tokens=len(only), seconds=3600.)]))
    shown = shown_page(store / "results", monkeypatch)
    rest = rest_of_grid(store)
    assert f"**{len(rest.pairs)} of 99 pairs**" in shown and "CCGbank is licensed" in shown and f"{len(rest.stages):,} tokens, about 1.0 hours" in shown
    for sign in ("-0.8?", "+20.0?", "71.5<", "74.4°", "80.4"):  # of changes, a level, and test figures
        assert sign in shown, sign
    assert ("This store holds no predictions yet." in shown) == (which == "empty")
    for condition in {a for a, _ in rest.pairs} - {"ccg"}:
        assert ", ".join(TARGETS[t].title for a, t in rest.pairs if a == condition) in shown
    made = as_study(command(shown))
    assert {(c.intermediate, c.target) for c in make_plan(made).cells} >= {p for p in rest.pairs if p[0] not in rest.absent}
    assert made == replace(SMALL, intermediates=rest.left.intermediates)


def test_the_page_of_another_suite_prices_nothing(tmp_path, monkeypatch):
    study(tmp_path, settings=("full",),
          keep=lambda t, setting, seed: t.language.isin(["en", "de"]) & t.intermediate.isin([NONE, "mnli"]) & t.target.isin(["xnli", "panx"]))
    shown = shown_page(tmp_path, monkeypatch)
    assert "of the embedded suite" in shown and "`xitcal plan --suite xtreme` reckons the time" in shown and "**99 of 99 pairs**" in shown


def test_the_report_of_an_empty_store(empty, tmp_path, monkeypatch):
    "With a study that nothing is done of, and without a study; two of its pages"
    wanted = [p for p in results_notebooks() if "/".join(p.parts[-2:]) in (PAGE, "default/01_scores.ipynb")]
    monkeypatch.setattr("xitcal.report.html.results_notebooks", lambda *parts: wanted)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for store in (empty, Store(tmp_path / "bare").path):
        page = write_report(store, tmp_path / "report.html", progress=False).read_text()
        assert "99 of 99 pairs" in page and "This store holds no predictions yet." in page and "Traceback" not in page
    with pytest.raises(XitcalError, match="There is no store at"): write_report(tmp_path / "nowhere", tmp_path / "report.html")
