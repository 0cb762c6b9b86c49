"""What the results pages say first, recomputed from the committed tables by another way than the pages'."""
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import spearmanr
from statsmodels.stats.multitest import multipletests
from test_recalibration import shown_on, write_store

from xitcal.core.estimates import current_names
from xitcal.data.suites import find_suite
from xitcal.data.tasks import INTERMEDIATES, MULTI, NONE, TARGETS
from xitcal.inference.language_features import covariate_table
from xitcal.inference.results import read_results
from xitcal.inference.seeds import language_changes
from xitcal.study.ledger import load_predictions

ROOT = Path(__file__).parents[1]
FOLDERS = {name: ROOT / "studies" / name for name in ("default", "full", "validity")}
SUITE = find_suite("embedded")
NINE, TRAINED = list(INTERMEDIATES), [t for t in TARGETS if not TARGETS[t].test_only]
ENTITIES = {t for t in TARGETS if SUITE.tasks[t].options.get("entities")}


def outputs(name, kind):
    "Outputs of one kind of a notebook"
    cells = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", 4).cells
    return [o["data"][kind] for c in cells for o in c.get("outputs", []) if kind in o.get("data", {})]


def said(name, pattern):
    "Groups of a pattern in what a page says"
    found = re.search(pattern, " ".join(outputs(name, "text/markdown")))
    assert found, f"{name} no longer says {pattern}"
    return found.groups()


def html_rows(name, header):
    "Cells of the first table of a page that has a text in it"
    html = next(h for h in outputs(name, "text/html") if header in h)
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in BeautifulSoup(html, "html.parser").tbody.find_all("tr")]


def default(name):
    "A table of the default study"
    return current_names(pd.read_csv(FOLDERS["default"] / f"{name}.csv", keep_default_na=False, na_values=[""]))


def one_event(table):
    "Entities where a target has them, otherwise its only event"
    return table[[t not in ENTITIES or e == "entity" for t, e in zip(table.target, table.event)]]


# ---- the default study

def test_scores():
    table = default("scores").query("headline and intermediate == 'none'")
    by = table.groupby([table.language == "en", "target", "language"])[["value", "bound"]].mean().groupby(level=[0, 1]).mean()
    said_ = said("results/default/01_scores", r"score (\d+) to (\d+) % in English \((\d+) to (\d+) %.*? and (\d+) to (\d+) % in the mean of the other "
                 r"languages \((\d+) to (\d+) %.*?over (\d+) targets")
    expected = []
    for english in (True, False):
        part = by.loc[english]
        expected += [part.value.min(), part.value.max(), (part.value / part.bound).min(), (part.value / part.bound).max()]
    np.testing.assert_allclose([float(x) for x in said_[:-1]], 100 * np.array(expected), atol=.51)
    assert int(said_[-1]) == table.target.nunique()


def test_calibration():
    table = one_event(default("calibration").query("intermediate == 'none'"))
    table = table[table.event != "neighbour"]
    gap = 100 * table.groupby([table.language == "en", "target", "language"]).signed_ce.mean().groupby(level=[0, 1]).mean().groupby(level=0).mean()
    english, others, over, cells = said("results/default/02_calibration", r"([\d.]+) points too confident in English and ([\d.]+) points too confident in the "
                                        r"other languages.*? In (\d+) of (\d+) cells")
    assert abs(float(english) - gap[True]) < .051 and abs(float(others) - gap[False]) < .051
    assert (int(over), int(cells)) == ((table.ece_15 > table.ece_15_expected_95).sum(), len(table))


def verdicts(condition, statistic):
    "How many targets rose, fell and are unclear, and the range of the changes"
    rows = one_event(default("change"))
    rows = rows[(rows.language == "others") & (rows.statistic == statistic)]
    rows = rows.assign(sure=multipletests(rows.p, method="holm")[1] < .05)
    rows = rows[rows.intermediate == condition]
    return (rows.sure & (rows.change > 0)).sum(), (rows.sure & (rows.change < 0)).sum(), (~rows.sure).sum(), rows.change.min(), rows.change.max()


@pytest.mark.parametrize("condition, title", [("mnli", "MNLI"), ("hellaswag", "HellaSwag")])
@pytest.mark.parametrize("statistic, words, scale", [("signed_ce", "over-confidence", 100), ("nll", "NLL", 1), ("score", "the score", 100)])
def test_change(condition, title, statistic, words, scale):
    line = said("results/default/03_change", rf"\*\*After {title}\*\*([^\n]*)")[0]
    part = re.search(rf"{words} (.*?) \((\S+) to (\S+?)(?: points| nats)?\)", line)
    counts = [int((re.search(rf"{w} in (\d+)", part[1]) or [0, 0])[1]) for w in ("rose", "fell", "unclear")]
    *expected, low, high = verdicts(condition, statistic)
    assert counts == expected
    assert all(abs(float(text) - scale * value) < (.0051 if scale == 1 else .051) for text, value in ((part[2], low), (part[3], high)))


def test_the_first_page_on_the_default_study():
    table = one_event(default("calibration").query("intermediate == 'none'"))
    table = table[table.target.isin(TRAINED)]
    gap = 100 * table.groupby([table.language == "en", "target"]).signed_ce.mean().groupby(level=0).mean()
    others, english = said("index", r"exceeds its accuracy by \*\*(\d+) percentage points\*\*.*?\(English: (\d+);")
    assert abs(float(others) - gap[False]) < .51 and abs(float(english) - gap[True]) < .51
    rows = one_event(default("change"))
    rows = rows[(rows.language == "others") & (rows.statistic == "signed_ce") & rows.target.isin(TRAINED)]
    sure = multipletests(rows.p, method="holm")[1] < .05
    count, up, down = map(int, said("index", r"Of (\d+) pairs of intermediate and target task, over-confidence rose in (\d+) and fell in (\d+)"))
    assert (count, up, down) == (len(rows), (sure & (rows.change > 0)).sum(), (sure & (rows.change < 0)).sum())


# ---- the full study

@pytest.fixture(scope="module")
def values():
    "Over-confidence, calibration term of NLL and score of every cell of the shown event: rows (target, language), columns conditions, mean over seeds"
    blocks = pd.concat([pd.read_parquet(p) for p in sorted(FOLDERS["full"].glob("seed-*-blocks.parquet"))])
    blocks = one_event(blocks[blocks.setting == "full"].astype({c: str for c in ("target", "language", "intermediate", "event")}))
    blocks = blocks.assign(signed_ce=blocks.confidence - blocks.correct)
    sums = blocks.groupby(["target", "language", "intermediate", "seed"], dropna=False)[["signed_ce", "nll_calibration", "top", "bottom", "n", "correct"]].sum()
    ratio = sums[["signed_ce", "nll_calibration"]].div(sums.n, axis=0).assign(score=sums.top / sums.bottom, accuracy=sums.correct / sums.n)
    return ratio.groupby(["target", "language", "intermediate"]).mean()


def change_of(values, statistic, conditions, targets=TRAINED):
    "Mean change in the languages but English: over conditions, languages, targets"
    wide = values[statistic].unstack("intermediate").query("language != 'en'")
    return wide[conditions].sub(wide[NONE], axis=0).mean(axis=1).groupby("target").mean()[list(targets)].mean()


def test_conditions(values):
    rows = {r[0]: r[1:] for r in html_rows("results/answer/06_controls", "all tasks at once")}
    translated = [a for a in NINE if a in SUITE.translated]
    sets = {"9 intermediate tasks": NINE, "all tasks at once": [MULTI], "the tasks with masked LM": [f"{a}:mlm" for a in NINE],
            "the tasks that have translations, in English": translated, "the same, translated: labels in 40 languages": [f"{a}:translated" for a in translated],
            "the target's own data": ["own"], "masked LM alone": ["mlm"], "MNLI with shuffled labels": ["mnli:shuffled"],
            "HellaSwag with shuffled labels": ["hellaswag:shuffled"]}
    assert set(rows) == set(sets)
    for title, conditions in sets.items():
        gap, nll, _, score = (float(text.split()[0]) for text in rows[title])
        assert abs(gap - 100 * change_of(values, "signed_ce", conditions)) < .0501, title
        assert abs(nll - change_of(values, "nll_calibration", conditions)) < .000501, title
        assert abs(score - 100 * change_of(values, "score", conditions)) < .0501, title


def test_hypotheses(values):
    "Estimates of those that are means, straight from the tables; Holm's correction over all eight and the verdicts from the page's own p"
    rows = {r[0][:2]: r[1:] for r in html_rows("results/answer/01_answer", "H3 the calibration term grows")}
    wide = values.signed_ce.unstack("intermediate").query("language == 'en'")
    english = wide[NINE].sub(wide[NONE], axis=0).mean(axis=1).groupby("target").mean()[TRAINED].mean()
    mixed = [f"{a}:mlm" for a in (*NINE, MULTI)]
    def nll(*conditions): return change_of(values, "nll_calibration", list(conditions))
    expected = {"H1": change_of(values, "signed_ce", NINE), "H2": change_of(values, "signed_ce", NINE) - english, "H3": nll(*NINE),
                "H4": nll(*mixed) - nll(*NINE, MULTI), "H7": nll(*NINE) - (nll("own") + nll("mlm") + nll("mnli:shuffled", "hellaswag:shuffled")) / 3}
    for name, value in expected.items():
        assert abs(float(rows[name][0]) - value) < .000051, name
    p, sign = [float(rows[f"H{i}"][3]) for i in range(1, 9)], [1, 1, 1, -1, -1, -1, 0, 1]
    held = multipletests(p, method="holm")[1]
    for i, (row, corrected) in enumerate(zip((rows[f"H{i}"] for i in range(1, 9)), held)):
        assert abs(float(row[4]) - corrected) < .00051
        assert row[5] == ("not shown" if corrected >= .05 else "held" if not sign[i] or sign[i] * float(row[0]) > 0 else "opposite")


def test_estimators(values):
    "One answer with every estimator of calibration: a star everywhere in its column or nowhere, and a mean over the tables in the first row"
    rows = {r[0]: r[1:] for r in html_rows("results/trust/01_robustness", "H8</th>") if len(r) == 8}
    ranking = {"1 − AUROC of correctness", "AURC", "excess AURC"}
    stars = np.array([[text.endswith("*") for text in r] for name, r in rows.items() if name not in ranking])
    assert ranking < set(rows) and len(stars) == 17
    names = np.array(["H1, H3", "H2", "H4", "H5", "H6", "H7", "H8"])[stars.all(0) | ~stars.any(0)]
    asked, same, listed = said("results/trust/01_robustness", r"Of (\d+) questions .*?, (\d+) (?:has|have) the same answer with every estimator of "
                               r"calibration \(([^)]*)\)")
    assert (int(asked), int(same), listed) == (7, len(names), "; ".join(names))
    assert abs(float(rows["signed calibration error"][0].split()[0]) - change_of(values, "signed_ce", NINE)) < .000051


def test_claims(values):
    rows = [(r[0], float(r[2].split()[0]), float(r[3].split()[0])) for r in html_rows("results/trust/04_claims", "Phang et al. 2020</th>")]
    every, leaders = list(TARGETS), ["mnli", "squad", "squad2", "hellaswag"]
    english = pd.concat([pd.read_parquet(p) for p in sorted(FOLDERS["full"].glob("seed-*-english.parquet"))])
    english = english[(english.setting == "full") & english.intermediate.isin([NONE, *NINE, MULTI])].astype({"target": str, "intermediate": str})
    best = english.groupby(["target", "intermediate"]).value.mean().groupby("target").idxmax().map(lambda pair: pair[1]).to_dict()
    def variant(suffix):
        conditions = [a for a in (*NINE, MULTI) if f"{a}:{suffix}" in values.index.get_level_values("intermediate")]
        return lambda s: change_of(values, s, [f"{a}:{suffix}" for a in conditions], every) - change_of(values, s, conditions, every)
    expected = {
        "the best": lambda s: np.mean([0 if best.get(t, NONE) == NONE else change_of(values, s, [best[t]], [t]) for t in every]),
        "large gains": lambda s: change_of(values, s, NINE, ["bucc", "tatoeba"]),
        "moderate": lambda s: change_of(values, s, NINE, ["xquad", "mlqa", "tydiqa"]),
        "MNLI, SQuAD": lambda s: change_of(values, s, leaders, every) - change_of(values, s, [a for a in NINE if a not in leaders], every),
        "all tasks at once": lambda s: change_of(values, s, [MULTI], every) - change_of(values, s, NINE, every),
        "masked LM": variant("mlm"), "machine-translated": variant("translated")}
    assert len(rows) == len(expected)
    for (start, value), (text, score, gap) in zip(expected.items(), rows):
        assert text.startswith(start) and abs(score - 100 * value("score")) < .0501 and abs(gap - 100 * value("signed_ce")) < .0501, text


@pytest.fixture(scope="module")
def results():
    return read_results(FOLDERS["full"])


def test_languages(values, results):
    page, away = "results/answer/04_languages", values.query("language != 'en' and target in @TRAINED")
    wide, right = away.signed_ce.unstack("intermediate"), away.accuracy.unstack("intermediate")[NONE]
    change = wide[NINE].sub(wide[NONE], axis=0).mean(axis=1)
    for words, column in (("over-confidence without intermediate training with the accuracy", wide[NONE]),
                          ("the change of over-confidence with the accuracy", change)):
        line = said(page, rf"[Oo]f {words}: ([^.]*(?:\.\d+[^.]*)*)")[0]
        for target in TRAINED:
            found = re.search(rf"{TARGETS[target].title} ([+-]\d\.\d\d)", line)
            assert abs(float(found[1]) - spearmanr(column.loc[target], right.loc[target]).statistic) < .0101, (words, target)
    for name, pattern in (("signed_ce", r"(\d+) pairs of a language and a trained target, over-confidence \*\*rises in (\d+) and falls in (\d+)\*\*"
                                  r".*?Hochberg, it rises in (\d+) and falls in (\d+)"),
                          ("nll_calibration", r"term of NLL\*\*: worse in (\d+) and better in (\d+) of (\d+) pairs \(Holm\), (\d+) and (\d+)"),
                          ("brier_calibration", r"term of Brier\*\*: worse in (\d+) and better in (\d+) of (\d+) pairs \(Holm\), (\d+) and (\d+)")):
        table = language_changes(results.sums, name, NINE, TRAINED)
        table = table[table.target.isin(TRAINED) & (table.language != "en")]
        counts = [((multipletests(table.p, method=m)[1] < .05) & (sign * table.change > 0)).sum() for m in ("holm", "fdr_bh") for sign in (1, -1)]
        first = [len(table), *counts[:2]] if name == "signed_ce" else [*counts[:2], len(table)]
        assert [int(x) for x in said(page, pattern)] == [*first, *counts[2:]]


def test_explanations(values, results):
    wide = values.query("target in @TRAINED and language != 'en'")
    whole = wide.index.get_level_values("language").value_counts()
    codes = [c for c in SUITE.tasks["xnli"].languages if c != "en" and whole.get(c) == whole.max()]
    by = wide.unstack("intermediate").swaplevel(axis=1).groupby("language").mean().loc[codes]
    change = lambda name: by[[(a, name) for a in NINE]].sub(by[NONE, name], axis=0).mean(axis=1)
    tokens = covariate_table(results).query("covariate == 'tokens'").set_index("language").value
    outcomes = {"accuracy, without intermediate training": by[NONE, "accuracy"], "over-confidence, without intermediate training": by[NONE, "signed_ce"],
                "Δ over-confidence": change("signed_ce")}
    for words, column in outcomes.items():
        found = said("results/answer/05_explanations", rf"\*\*{words}\*\*.*?tokens for the same text[^ρ]*ρ ([+-]\d\.\d\d)")[0]
        assert abs(float(found) - spearmanr(column, tokens[codes]).statistic) < .0101, words


# ---- validity and speed

def test_validity():
    shortcuts = pd.read_csv(ROOT / "benchmarks" / "shortcuts.csv")
    kept, of = map(int, said("results/trust/02_validity", r"\*\*(\d+) of (\d+)\*\* tasks keep shortcuts"))
    rows = {r[0]: dict(zip(["kind", *shortcuts.columns[2:], "encoder"], r[1:])) for r in html_rows("results/trust/02_validity", "one side</th>")}
    assert of == len(rows) == len(shortcuts) == 18
    best = shortcuts[["digits", "one_sided", "bag"]].max(axis=1)
    encoder = np.array([float(rows[SUITE.tasks[t].title]["encoder"]) for t in shortcuts.task])
    assert kept == ((best - shortcuts.majority) / (encoder - shortcuts.majority) < .5).sum()
    scores, seen = (pd.read_csv(FOLDERS["validity"] / f"{n}.csv").query("language != 'en'") for n in ("scores", "seen"))
    mean = scores.groupby("target")[["value", "bound"]].mean()
    share, apart = (100 * mean.value / mean.bound).dropna(), 100 * seen.pivot_table(index="target", columns="seen", values="value")
    gain = apart[False] - apart[True]
    low, high, least, most = map(float, said("results/trust/02_validity",
                                             r"reach (\d+) \(.*?\) to (\d+) % .*? score ([+-][\d.]+) \(.*?\) to ([+-][\d.]+) points"))
    np.testing.assert_allclose([low, high], [share.min(), share.max()], atol=.51)
    np.testing.assert_allclose([least, most], [gain.min(), gain.max()], atol=.051)
    assert json.loads((FOLDERS["validity"] / "about.json").read_text())["seeds"] == [2, 3, 4, 5, 6]


def test_speed():
    table = pd.read_csv(ROOT / "benchmarks" / "speed.csv")
    text = " ".join(outputs("results/trust/06_speed", "text/markdown"))
    seconds = table[table.part.isin(["training", "prediction"])].pivot(index=["part", "task"], columns="contestant", values="seconds")
    times = r"([\d.]+)(?: to ([\d.]+))? times as fast as"
    for part, start in (("training", "Training is"), ("prediction", "in float32, is")):
        pattern = rf"{start} {times} a `Trainer` as users get it, {times} one .*? and {times} one at its best"
        found = [float(x) if x else None for x in re.search(pattern, text.replace("\n", " ")).groups()]
        for i, contestant in enumerate(("Trainer", "Trainer by length", "Trainer at its best")):
            ratio = seconds.loc[part, contestant] / seconds.loc[part, "xitcal"]
            low, high = found[2 * i], found[2 * i + 1] or found[2 * i]
            assert abs(low - ratio.min()) < .051 and abs(high - ratio.max()) < .051, (part, contestant)


# ---- pages of a store with logits, on one small enough to be recomputed here: classes of XNLI, without intermediate training

@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("toy"), ("none", "mnli"), seeds=(0, 1))


@pytest.fixture(scope="module")
def decisions(toy):
    "Logits, labels, languages of XNLI without intermediate training, by seed and split"
    found = {}
    for split in ("test", "calibration"):
        table = load_predictions(toy, split=split).to_pandas()
        table = table[(table.target == "xnli") & (table.intermediate == NONE)]
        for seed, rows in table.groupby("seed"):
            found[seed, split] = np.stack(rows.logits), rows.label.to_numpy(), rows.language.to_numpy().astype(str)
    return found


def nll_of(t, logits, label):
    "Mean NLL at a temperature, nats"
    return -log_softmax(logits / t, axis=1)[np.arange(len(label)), label].mean()


def over_languages(decisions, statistic):
    "Mean over seeds and languages but English of statistic(logits, labels, seed)"
    found = []
    for (seed, split), (logits, label, language) in decisions.items():
        if split == "test":
            found += [statistic(logits[language == c], label[language == c], seed) for c in set(language) - {"en"}]
    return np.mean(found, axis=0)


def test_recalibration(toy, decisions, monkeypatch):
    def temperature(seed):
        logits, label, _ = decisions[seed, "calibration"]
        return np.exp(minimize_scalar(lambda u: nll_of(np.exp(u), logits, label), bounds=(-3, 3), method="bounded", options=dict(xatol=1e-8)).x)
    def gap(t, logits, label):
        p = softmax(logits / t, axis=1)
        return 100 * (p.max(1) - (p.argmax(1) == label)).mean()
    gain, before, after = over_languages(decisions, lambda z, y, s: (
        nll_of(1, z, y) - nll_of(temperature(s), z, y), gap(1, z, y), gap(temperature(s), z, y)))
    words = shown_on("use/01_recalibration.ipynb", toy, monkeypatch)
    found = re.search(r"- XNLI: NLL (falls|rises) by ([+-][\d.]+) .*? nats.*?; over-confidence goes from ([+-][\d.]+) to ([+-][\d.]+) points", words)
    assert abs(float(found[2]) - (gain if found[1] == "falls" else -gain)) < .00051
    assert abs(float(found[3]) - before) < .051 and abs(float(found[4]) - after) < .051


def test_decisions(toy, decisions, monkeypatch):
    def covered(z, y, seed):
        logits, label, _ = decisions[seed, "calibration"]
        score = np.sort(1 - softmax(logits, axis=1)[np.arange(len(label)), label])
        threshold = score[int(np.ceil(.9 * (len(score) + 1))) - 1]
        sets = 1 - softmax(z, axis=1) <= threshold
        return 100 * sets[np.arange(len(y)), y].mean(), sets.sum(1).mean()
    coverage, size = over_languages(decisions, covered)
    words = shown_on("use/02_decisions.ipynb", toy, monkeypatch)
    found = re.search(r"- without intermediate training: XNLI ([\d.]+) % with ([\d.]+) answers", words)
    assert abs(float(found[1]) - coverage) < .051 and abs(float(found[2]) - size) < .0051


def test_audit(toy, decisions, monkeypatch):
    def ece(z, y, seed):
        p = softmax(z, axis=1)
        bins, off = np.ceil(p.max(1) * 10), p.max(1) - (p.argmax(1) == y)
        return 100 * sum(abs(off[bins == b].sum()) for b in set(bins)) / len(y)
    words = shown_on("use/03_audit.ipynb", toy, monkeypatch)
    assert abs(float(re.search(r"\*\*Ten bins and percent\*\* \(Ahuja et al. 2022\): XNLI ([\d.]+) ", words)[1]) - over_languages(decisions, ece)) < .051
