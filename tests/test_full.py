"""The committed full study: small, complete as far as it goes, and what the pages say of it."""
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from xitcal.full import ARMS, FULL, SUBSETS, read_seeds
from xitcal.seeds import changes, others, sums_of
from xitcal.suites import find_suite
from xitcal.tasks import INTERMEDIATES, NONE, TARGETS

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data" / "full"
SEEDS = [int(p.stem.split("-")[1]) for p in DATA.glob("seed-*.json")]
SUITE = find_suite("embedded")


@pytest.fixture(scope="module")
def sums():
    return sums_of(read_seeds(DATA), SUITE.tasks)


def test_the_tables_are_small():
    assert sum(p.stat().st_size for p in DATA.iterdir()) / max(1, len(SEEDS)) < 6e6, "five seeds must stay within 30 MB"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_whole(seed):
    for setting, study in {"full": FULL, **SUBSETS}.items():
        blocks = read_seeds(DATA, setting=setting)
        blocks = blocks[blocks.seed.isna() | (blocks.seed == seed)]
        cells = set(zip(blocks.intermediate, blocks.target))
        wanted = {(a, t) for a in study.intermediates for t in study.targets if not (a == "own" and TARGETS[t].test_only)}
        assert cells == wanted, setting
    about = json.loads((DATA / f"seed-{seed}.json").read_text())
    assert about["seed"] == seed and about["command"].endswith(f"--seeds {seed}") and about["versions"]["torch"]
    assert {v["title"] for v in about["validation"]["full"]} >= {f"{INTERMEDIATES[a].title}, seed {seed}" for a in ARMS if a in INTERMEDIATES}


def test_every_language_is_there(sums):
    for t, target in enumerate(sums.targets):
        there = ~np.isnan(sums.values["n"][sums.arms.index(NONE), 0, t, :, 0])
        assert there.sum() == len(SUITE.tasks[target].languages)


def page(name):
    "What a results notebook printed"
    cells = nbformat.read(ROOT / "nbs" / "results" / f"{name}.ipynb", 4).cells
    return " ".join(str(o.get("data", {}).get("text/markdown", "")) for c in cells for o in c.get("outputs", []))


def test_the_headline_is_what_the_tables_say(sums):
    "Mean change of over-confidence over tasks and trained targets, recomputed from raw sums by another way"
    blocks = read_seeds(DATA)
    shown = {t: "entity" if SUITE.tasks[t].options.get("entities") else None for t in TARGETS}
    blocks = blocks[[shown[t] in (None, e) for t, e in zip(blocks.target, blocks.event)]]
    trained = [t for t in TARGETS if not TARGETS[t].test_only]
    away = blocks[(blocks.language != "en") & blocks.target.isin(trained)]
    keys = ["intermediate", "target", "seed", "language"]
    cells = away.groupby(keys, observed=True)[["confidence", "correct", "n"]].sum()
    gap = ((cells.confidence - cells.correct) / cells.n).groupby(keys[:3], observed=True).mean().unstack("intermediate")
    change = 100 * gap[list(INTERMEDIATES)].sub(gap[NONE], axis=0).to_numpy().mean()
    found = re.search(r"phase 2 moves this by \*\*([+-][0-9.]+) points\*\*", page("11_answer"))
    assert abs(float(found[1]) - change) < .051
    delta = others(changes(sums, "gap"), sums.languages)[..., 0]
    rows = [sums.arms.index(a) for a in INTERMEDIATES]
    assert abs(100 * delta[rows][:, :, [sums.targets.index(t) for t in trained]].mean() - change) < 1e-3


def test_shortcuts_stay_below_half_of_the_way():
    said = re.search(r"\*\*(\d+) of (\d+)\*\* tasks keep shortcuts below half", page("13_validity"))
    shortcuts = pd.read_csv(ROOT / "benchmarks" / "shortcuts.csv")
    assert int(said[1]) == int(said[2]) == len(shortcuts) == 18
