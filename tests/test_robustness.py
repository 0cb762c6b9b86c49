"""The stated hypotheses with every estimator: the same numbers by other code, known truths, and what is not there is said."""
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from xitcal.calibration.debiased import smooth_ece
from xitcal.core.errors import XitcalError
from xitcal.core.estimates import OLD_NAMES
from xitcal.inference.hypotheses import (
    COMPARED,
    INFERENCES,
    QUESTIONS,
    STATED,
    crossed_mean,
    crossed_variance,
    estimator_values,
    hypothesis_table,
    main_inference,
    stated_tests,
)
from xitcal.inference.results import read_results, text_shares, whole_conditions, whole_targets
from xitcal.inference.seeds import changes, others, over_seeds, statistic
from xitcal.predictions.events import read_events, shown_event
from xitcal.report.change_figures import choices_figure
from xitcal.report.result_sentences import dependence_words
from xitcal.study.ledger import prediction_tables, study_tasks
from xitcal.study.protocol import CONTROLS
from xitcal.study.summarise import store_results


@pytest.fixture(scope="module")
def full():
    return read_results("studies/full")


@pytest.fixture(scope="module")
def table(full):
    return hypothesis_table(full, CONTROLS)


def test_every_question_is_asked_with_every_estimator_that_is_kept(full, table):
    assert set(table.question) == set(QUESTIONS) and set(table.estimate) == set(COMPARED)
    assert set(table.inference) == set(INFERENCES) and set(table.seeds) == {len(full.sums.seeds)}
    assert not table.duplicated(["question", "estimate", "inference"]).any() and table[["value", "low", "high", "p"]].notna().all().all()
    assert (table.low <= table.value + 1e-12).all() and (table.value <= table.high + 1e-12).all() and table.p.between(0, 1).all()


def slope(y, x):
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum(0) / (x * x).sum(0)


def by_other_code(full) -> dict[str, np.ndarray]:
    "H5, H6 and H8, (seeds, 1 + blocks) each, from arrays of the sums; tests/test_headlines.py has the others"
    sums, nine, trained = full.sums, whole_conditions(full), whole_targets(full)
    rows, target = [sums.conditions.index(a) for a in nine], [sums.targets.index(t) for t in trained]
    def pairs_of(name):
        found = others(changes(sums, name), sums.languages)[rows][:, :, target]
        return np.moveaxis(found, 2, 1).reshape(-1, len(sums.seeds), found.shape[-1])
    shares, delta = text_shares(full), changes(sums, "signed_ce")[rows][:, :, target].mean((0, 2))
    away = [i for i, code in enumerate(sums.languages) if code != "en" and code in shares and not np.isnan(delta[0, i, 0])]
    share = np.log10([shares[sums.languages[i]] for i in away])
    def level(s, condition):
        found = others(statistic(s, "nll_calibration"), s.languages)[s.conditions.index(condition)]
        return found[:, [s.targets.index(t) for t in ("xnli", "panx")]]
    none = level(sums, "none")
    rates = [np.abs(level(read_results(full.folder, rate).sums, "none") - none) for rate in ("rate-third", "rate-triple")]
    tasks = [np.abs(level(sums, condition) - none) for condition in ("mnli", "hellaswag")]
    return {"H5": slope(pairs_of("signed_ce"), pairs_of("score")), "H6": slope(np.moveaxis(delta[:, away], 1, 0), share[:, None, None]),
            "H8": (np.mean(rates, axis=0) - np.mean(tasks, axis=0)).mean(1)}


def test_stated_tests_equal_those_of_other_code_and_the_table(full, table):
    stated, untested = stated_tests(full, CONTROLS)
    assert [name[:2] for name in stated.index] == list(STATED) and not untested
    mine = table[table.inference == "seeds and examples"].set_index(["question", "estimate"])
    for name, row in zip(STATED, stated.itertuples()):
        found = mine.loc[STATED[name][:2]]
        assert [found.value, found.low, found.high, found.p] == pytest.approx([row.value, row.low, row.high, row.p], rel=1e-9), name
    for name, values in by_other_code(full).items():
        row, found = stated.iloc[list(STATED).index(name)], over_seeds(values)
        assert [row.value, row.low, row.high, row.p] == pytest.approx([float(found[k]) for k in ("value", "low", "high", "p")], rel=1e-6), name


def test_an_estimator_that_reads_cells_equals_one_made_by_hand(store):
    results = read_results(store_results(store, progress=False))
    tasks, sums = study_tasks(store), results.sums
    checked = 0
    for predictions in prediction_tables(store):
        events = read_events([predictions])
        target = str(events.target.iloc[0])
        events = events[(events.event.astype(str) == shown_event(tasks[target])) & (events.language.astype(str) == "sw")]
        if events.empty or events.seed.isna().all():
            continue
        condition, seed = sums.conditions.index(str(events.intermediate.iloc[0])), sums.seeds.index(int(events.seed.iloc[0]))
        place = (condition, seed, sums.targets.index(target), sums.languages.index("sw"), 0)
        c, y, group = events.confidence.to_numpy(float), events.correct.to_numpy(float), np.zeros(len(events), int)
        assert estimator_values(results, "smooth_ece")[place] == pytest.approx(smooth_ece(c, y, group)[0], rel=1e-3)
        for bins, name in ((15, "ece_15"), (10, "ece_10")):
            number = np.clip((c * bins).astype(int), 0, bins - 1)
            by_hand = sum(abs((c - y)[number == b].sum()) for b in range(bins)) / len(c)
            assert estimator_values(results, name)[place] == pytest.approx(by_hand, abs=2e-3), name # tables keep 12 bits
        number = np.clip((c * 15).astype(int), 0, 14)
        largest = max(abs((c - y)[number == b].mean()) for b in set(number))
        risk = 1 - np.array([y[c >= t].mean() for t in c])  # of those at least as sure as each
        wins = (c[y == 1][:, None] > c[y == 0]) + .5 * (c[y == 1][:, None] == c[y == 0])
        for name, by_hand in (("mce_15", largest), ("ranking_error", 1 - wins.mean() if wins.size else np.nan),
                              ("aurc", risk.mean() if len(set(c)) == len(c) else None)):
            if by_hand is not None:
                assert estimator_values(results, name)[place] == pytest.approx(by_hand, abs=2e-3, nan_ok=True), name
        assert 0 <= estimator_values(results, "excess_aurc")[place] <= estimator_values(results, "aurc")[place]
        assert abs((c - y).mean()) - 2e-3 <= estimator_values(results, "ece_15_mass")[place] <= 1
        checked += 1
    assert checked >= 8


def test_a_store_has_every_estimator_that_the_committed_results_have(store, full):
    results = read_results(store_results(store, progress=False))
    found = hypothesis_table(results, CONTROLS)
    assert set(found.estimate) == set(hypothesis_table(full, CONTROLS).estimate) == set(COMPARED)
    assert "H7" not in set(found.question) and "do not allow" in dependence_words(found, "H7")
    assert choices_figure(found).axes


def copied(full, folder, change):
    "The committed results with every parquet file changed"
    for path in full.folder.glob("seed-*"):
        if path.suffix == ".json":
            shutil.copy(path, folder)
        else:
            change(pd.read_parquet(path)).to_parquet(folder / path.name, index=False)
    return folder


def few(table):
    return table[(table.setting == "full") & table.intermediate.isin(["none", "mnli", "squad"]) & table.target.isin(["xnli", "pawsx", "xquad"])]


def test_without_a_posterior_there_are_fewer_estimators(full, tmp_path):
    def change(table):
        lost = [c for c in table if c.endswith("_true") or c in ("posterior_error", "true_ce", "bound")]
        return few(table).assign(**dict.fromkeys(lost, np.float32("nan")))
    found = hypothesis_table(read_results(copied(full, tmp_path, change)))
    assert set(COMPARED) - set(found.estimate) == {"true_ce", "nll_calibration_true", "brier_calibration_true", "posterior_error"}


def test_one_seed_has_no_inference_over_seeds(full, tmp_path):
    folder = copied(full, tmp_path, few)
    for path in folder.glob("seed-*"):
        if not path.name.startswith(f"seed-{full.sums.seeds[0]}"):
            path.unlink()
    found = hypothesis_table(read_results(folder))
    assert set(found.inference) == {"seeds and examples", "examples"} and set(found.seeds) == {1}
    assert "ece_15" not in set(found.estimate) # one number a cell and one seed: nothing to tell an error from


def test_results_from_before_bins_and_later_columns_were_kept_lack_them(full, tmp_path):
    later = ["smooth_ece", "ece_mass", "mce", "aurc", "excess_aurc"] # as the committed tables call them
    folder = copied(full, tmp_path, lambda t: few(t).drop(columns=later, errors="ignore"))
    for path in folder.glob("*-bins.parquet"):
        path.unlink()
    assert set(hypothesis_table(read_results(folder)).estimate) == set(COMPARED) - {*map(lambda n: OLD_NAMES.get(n, n), later), "ece_10"}


def test_a_known_change_is_found_with_its_sign(full, tmp_path):
    "Confidence raised by a tenth of what is left after every intermediate task: the gap grows by as much in every question that is a mean"
    def change(table):
        table = few(table)
        if "block" in table:
            louder = table.intermediate != "none"
            table["confidence"] = np.where(louder, table.correct + .3 * table.n, table.correct + .1 * table.n).astype(np.float32)
        return table
    found = main_inference(hypothesis_table(read_results(copied(full, tmp_path, change)))).set_index(["question", "estimate"])
    assert found.value["H1, H3", "signed_ce"] == pytest.approx(.2, abs=1e-3) and found.verdict["H1, H3", "signed_ce"] == "held"
    assert found.value["H2", "signed_ce"] == pytest.approx(0, abs=1e-3)
    assert "the estimators contradict each other" not in dependence_words(found.reset_index().query("estimate == 'signed_ce'"), "H1, H3")


def test_the_mixed_model_knows_where_the_spread_is():
    rng = np.random.default_rng(0)
    noise, even = rng.normal(size=(9, 7, 3)), lambda n: 3 * (np.arange(n) - (n - 1) / 2) / np.arange(n).std(ddof=1) # of standard deviation 3
    target, seed = noise * .1 + even(7)[None, :, None], noise * .1 + even(3)
    size = lambda v: np.diff(crossed_mean(v)[1:3])[0]
    assert size(noise) < 1 < size(target) < size(seed) # seven targets say more of their spread than three seeds
    assert sum(v for v, _ in crossed_variance(target)) == pytest.approx(target.mean((0, 2)).var(ddof=1) / 7, rel=.05)
    assert crossed_mean(noise + 5)[0] == pytest.approx(noise.mean() + 5) and np.isfinite(crossed_mean(noise[:1])).all()


def test_holm_is_over_the_eight_that_were_stated(table):
    "H1 and H3 are one question here and two of the eight; what is not asked counts as a test all the same"
    for _, part in table.groupby(["estimate", "inference"]):
        p = sorted([*part.p, *part.p[part.question == "H1, H3"]])
        corrected = np.minimum(np.maximum.accumulate(np.array(p) * np.arange(8, 8 - len(p), -1)), 1)
        assert sorted(part.p_holm) == pytest.approx(sorted(set_of(corrected, p, part)))


def set_of(corrected, p, part):
    "The corrected value of each row, by its place among all"
    return [corrected[p.index(value)] if name != "H1, H3" else corrected[p.index(value)] for name, value in zip(part.question, part.p)]


def test_nothing_to_ask_is_one_sentence(full, tmp_path):
    folder = copied(full, tmp_path, lambda t: t[(t.setting == "full") & (t.intermediate == "none") & (t.target == "xnli")])
    with pytest.raises(XitcalError, match="No condition") as error:
        hypothesis_table(read_results(folder))
    assert "\n" not in str(error.value)
    with pytest.raises(XitcalError, match="Unknown question"):
        dependence_words(pd.DataFrame(columns=["question"]), "H99")
    assert json.loads((folder / f"seed-{full.sums.seeds[0]}.json").read_text())["seed"] == full.sums.seeds[0]
