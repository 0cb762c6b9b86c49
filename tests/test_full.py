"""The committed full study: small, complete as far as it goes, and what the pages say of it."""
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from xitcal.data.suites import find_suite
from xitcal.data.tasks import INTERMEDIATES, NONE, TARGETS
from xitcal.inference.results import read_seeds
from xitcal.inference.seeds import changes, others, sums_of
from xitcal.study.protocol import FULL, FULL_CONDITIONS, SECOND, SUBSETS, TRAINED_OTHERWISE

ROOT = Path(__file__).parents[1]
DATA = ROOT / "studies" / "full"
SECOND_DATA, ENSEMBLES = ROOT / "studies" / "second", ROOT / "studies" / "ensembles"
SEEDS = [int(p.stem.split("-")[1]) for p in DATA.glob("seed-*.json")]
SUITE = find_suite("embedded")


@pytest.fixture(scope="module")
def sums():
    return sums_of(read_seeds(DATA), SUITE.tasks)


def test_the_tables_are_small():
    assert sum(p.stat().st_size for p in DATA.iterdir()) / max(1, len(SEEDS)) < 6e6, "five seeds must stay within 30 MB"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_whole(seed):
    for setting, study in {"full": FULL, **SUBSETS, **TRAINED_OTHERWISE}.items():
        blocks = read_seeds(DATA, setting=setting)
        blocks = blocks[blocks.seed.isna() | (blocks.seed == seed)]
        cells = set(zip(blocks.intermediate, blocks.target))
        wanted = {(a, t) for a in study.intermediates for t in study.targets if not (a == "own" and TARGETS[t].test_only)}
        assert cells == wanted, setting
    about = json.loads((DATA / f"seed-{seed}.json").read_text())
    assert about["seed"] == seed and about["command"].endswith(f"--seeds {seed}") and about["versions"]["torch"]
    assert {v["title"] for v in about["validation"]["full"]} >= {f"{INTERMEDIATES[a].title}, seed {seed}" for a in FULL_CONDITIONS if a in INTERMEDIATES}


def test_the_second_encoder_is_another_one_and_whole():
    abouts = [json.loads(p.read_text()) for p in sorted(SECOND_DATA.glob("seed-*.json"))]
    assert {a["seed"] for a in abouts} <= set(SECOND.seeds) and len(abouts) >= 2
    blocks, first = read_seeds(SECOND_DATA), read_seeds(DATA)
    wanted = {(i, t, a["seed"]) for i in SECOND.intermediates for t in SECOND.targets for a in abouts}
    assert set(zip(blocks.intermediate, blocks.target, blocks.seed)) == wanted
    keys = ["intermediate", "target", "seed", "language", "event", "block"]
    both = blocks.astype(dict.fromkeys(keys, str)).merge(first.astype(dict.fromkeys(keys, str)), on=keys)
    label = both[both.target == "xnli"]
    assert len(label) and (label.n_x == label.n_y).all() and (label.confidence_x != label.confidence_y).mean() > .99 # same rows, other predictions


def test_ensembles_are_of_the_committed_seeds_and_no_worse_than_the_mean_of_their_members():
    "The NLL of a mean of probabilities is at most the mean of the NLLs (Jensen)"
    assert json.loads((ENSEMBLES / "seed-0.json").read_text())["members"] == sorted(SEEDS)
    keys = ["intermediate", "target", "language", "block"]
    one, single = (t[t.event.astype(str).isin(["label", "token"])].astype({k: str for k in keys[:3]}) for t in (read_seeds(ENSEMBLES), read_seeds(DATA)))
    members = single.groupby(keys)[["n", "nll", "brier"]].mean()
    both = one.set_index(keys)[["n", "nll", "brier"]].join(members, suffixes=("", "_members"))
    assert set(one.target) == {"xnli", "pawsx", "udpos"} and set(one.intermediate) == {NONE, *INTERMEDIATES}
    assert np.allclose(both.n, both.n_members) and (both.nll <= 1.001 * both.nll_members).all() and (both.brier <= 1.001 * both.brier_members).all()


def test_every_language_is_there(sums):
    for t, target in enumerate(sums.targets):
        there = ~np.isnan(sums.values["n"][sums.conditions.index(NONE), 0, t, :, 0])
        assert there.sum() == len(SUITE.tasks[target].languages)


def page(name):
    "What a results notebook printed"
    cells = nbformat.read(ROOT / "nbs" / "results" / f"{name}.ipynb", 4).cells
    return " ".join(str(o.get("data", {}).get("text/markdown", "")) for c in cells for o in c.get("outputs", []))


TRAINED = [t for t in TARGETS if not TARGETS[t].test_only]
NINE = list(INTERMEDIATES)


def cell_values(top, bottom="n", setting="full", away=True, folder=DATA):
    "Ratio of two sums in every cell of the shown event, straight from the tables: rows (target, seed, language), columns conditions"
    blocks = read_seeds(folder, setting=setting)
    entities = {t for t in TARGETS if SUITE.tasks[t].options.get("entities")}
    blocks = blocks[[t not in entities or e == "entity" for t, e in zip(blocks.target, blocks.event)]]
    blocks = blocks[(blocks.language != "en") if away else (blocks.language == "en")]
    blocks = blocks.assign(signed_ce=blocks.confidence - blocks.correct).astype({c: str for c in ("target", "language", "intermediate")})
    sums = blocks.groupby(["target", "seed", "language", "intermediate"], observed=True, dropna=False)[[top, bottom]].sum()
    return (sums[top] / sums[bottom]).unstack("intermediate")


def mean_change_of(top, bottom="n", conditions=NINE, targets=TRAINED, setting="full", away=True, folder=DATA):
    "Mean change over conditions, then languages, then targets"
    values = cell_values(top, bottom, setting, away, folder).groupby(["target", "language"]).mean() # seeds first: retrieval without a task has none
    change = values[conditions].sub(values[NONE], axis=0).mean(axis=1)
    return change.groupby("target").mean()[targets].mean()


def said(name, pattern):
    "The number that a page says, as it prints it"
    found = re.search(pattern, page(name))
    assert found, f"{name} no longer says {pattern}"
    return float(found[1])


NUMBER = r"([+-]\d+\.\d+)"


@pytest.mark.parametrize("name, pattern, value", [
    ("answer/01_answer", rf"moves over-confidence in the other languages by \*\*{NUMBER} \[", lambda: mean_change_of("signed_ce")),
    ("answer/02_accuracy", rf"the score moves by \*\*{NUMBER}", lambda: mean_change_of("top", "bottom")),
    ("answer/02_accuracy", rf"and by {NUMBER} \[\S+ \S+ in English", lambda: mean_change_of("top", "bottom", away=False)),
    ("answer/03_confidence", rf"mean confidence in the other languages moves by \*\*{NUMBER}", lambda: mean_change_of("confidence")),
    ("answer/03_confidence", rf"accuracy moves by \*\*{NUMBER}", lambda: mean_change_of("correct")),
    ("answer/03_confidence", rf"99 % confidence moves by {NUMBER}", lambda: mean_change_of("above_99")),
    ("answer/07_lora", rf"Intermediate training moves over-confidence by {NUMBER}",
     lambda: mean_change_of("signed_ce", conditions=["mnli", "hellaswag"], targets=["xnli", "panx"])),
    ("answer/07_lora", rf"full fine-tuning and by {NUMBER}",
     lambda: mean_change_of("signed_ce", conditions=["mnli", "hellaswag"], targets=["xnli", "panx"], setting="lora")),
], ids=lambda v: v if isinstance(v, str) and "/" in v else "")
def test_headlines_are_what_the_tables_say(name, pattern, value):
    "Recomputed from the committed sums by another way than the page's"
    assert abs(said(name, pattern) - 100 * value()) < .0501


@pytest.mark.parametrize("way, setting", [("Label smoothing", "smoothing"), ("Mean of checkpoints", "average")])
def test_training_otherwise_moves_what_the_tables_say(way, setting):
    plain, other = (cell_values("signed_ce", setting=s)[NONE].groupby(["target", "language"]).mean().groupby("target").mean() for s in ("full", setting))
    found = said("answer/08_training", rf"\*\*{way}\*\* moves over-confidence by \*\*{NUMBER}")
    assert abs(found - 100 * (other - plain)[["xnli", "panx"]].mean()) < .0501


def test_the_ensemble_moves_what_the_tables_say():
    ensemble = mean_change_of("signed_ce", targets=["xnli", "pawsx", "udpos"], folder=ENSEMBLES)
    assert abs(said("answer/08_training", rf"that of the ensemble by \*\*{NUMBER}") - 100 * ensemble) < .0501


@pytest.mark.parametrize("page_", ["trust/02_validity", "answer/01_answer"])
def test_the_second_encoder_moves_what_the_tables_say(page_):
    change = mean_change_of("signed_ce", conditions=list(SECOND.intermediates[1:]), targets=list(SECOND.targets), folder=SECOND_DATA)
    assert abs(said(page_, rf"With a second encoder, .*? by \*\*{NUMBER} ") - 100 * change) < .0501


@pytest.mark.parametrize("top, pattern, digits", [("nll_calibration", rf"moves the calibration term of NLL by {NUMBER} ", 3),
                                                  ("brier_calibration", rf"that of Brier by {NUMBER} ", 4)])
def test_the_primary_outcomes_are_what_the_tables_say(top, pattern, digits):
    assert abs(said("answer/01_answer", pattern) - mean_change_of(top)) < .501 * 10 ** -digits


def test_the_readme_says_what_the_tables_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for conditions, words in ((NINE, "intermediate training moves over-confidence in the other languages by"),
                              ([f"{n}:mlm" for n in NINE], "masked language modelling mixed in:"),
                              (["own"], "no intermediate task at all:"), (["mlm"], "Masked language modelling alone:")):
        number = re.search(re.escape(words) + r" \*\*([+-]\d+\.\d)\*\*", text)
        assert number and abs(float(number[1]) - 100 * mean_change_of("signed_ce", conditions=conditions)) < .0501, words


def test_the_controls_are_what_the_tables_say():
    for condition, pattern in (("own", rf"the target's own data moves over-confidence by {NUMBER}"), ("mlm", rf"as many steps, moves it by {NUMBER}")):
        assert abs(said("answer/06_controls", pattern) - 100 * mean_change_of("signed_ce", conditions=[condition])) < .0501


def test_the_languages_that_change_are_counted():
    "Signs of the largest changes on the page agree with the tables"
    values = cell_values("signed_ce").loc[TRAINED]
    change = values[NINE].sub(values[NONE], axis=0).mean(axis=1).groupby(["target", "language"]).mean()
    rises, falls = (int(said("answer/04_languages", rf"over-confidence \*\*{w}")) for w in (r"rises in (\d+)", r"rises in \d+ and falls in (\d+)"))
    assert rises <= (change > 0).sum() and falls <= (change < 0).sum() and rises + falls <= len(change)


def test_the_claims_are_counted_as_they_stand_in_their_table():
    shown = nbformat.read(ROOT / "nbs" / "results" / "trust/04_claims.ipynb", 4)
    html = next(o["data"]["text/html"] for c in shown.cells for o in c.get("outputs", []) if "Phang et al. 2020</th>" in o.get("data", {}).get("text/html", ""))
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in BeautifulSoup(html, "html.parser").tbody.find_all("tr")]
    assert len(rows) == 7 and sum(row[-1] == "as there" for row in rows) == said("trust/04_claims", r"shows (\d+) as in the paper")
    retrieval = next(r for r in rows if "retrieval (" in r[0])
    value = 100 * mean_change_of("top", "bottom", targets=["bucc", "tatoeba"])
    assert abs(float(retrieval[2].split()[0]) - value) < .0501


def test_the_mean_over_conditions_is_the_mean_of_changes(sums):
    delta = others(changes(sums, "signed_ce"), sums.languages)[..., 0]
    rows = [sums.conditions.index(a) for a in INTERMEDIATES]
    assert abs(delta[rows][:, :, [sums.targets.index(t) for t in TRAINED]].mean() - mean_change_of("signed_ce")) < 1e-5


def test_shortcuts_stay_below_half_of_the_way():
    found = re.search(r"\*\*(\d+) of (\d+)\*\* tasks keep shortcuts below half", page("trust/02_validity"))
    shortcuts = pd.read_csv(ROOT / "benchmarks" / "shortcuts.csv")
    assert int(found[1]) == int(found[2]) == len(shortcuts) == 18
