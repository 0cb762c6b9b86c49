"""Facts about languages, and slopes on them: known truths come back, intervals hold, and what cannot be told is said."""
import json

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from xitcal.core.errors import XitcalError
from xitcal.data.languages import LANGUAGES
from xitcal.data.suites import find_suite
from xitcal.inference.language_features import COVARIATES, FACTS, covariate_table, language_facts, suite_texts, token_statistics
from xitcal.inference.language_regression import explained, language_effects, minimum_detectable, one_at_a_time, together, toy_effects
from xitcal.inference.results import Results, read_results, whole_conditions, whole_targets
from xitcal.inference.seeds import Sums
from xitcal.report.change_figures import slopes_figure
from xitcal.report.result_sentences import explained_words


@pytest.fixture(scope="module")
def full():
    return read_results("studies/full")


def test_every_published_fact_has_a_source_and_a_certainty():
    table = pd.read_csv(FACTS)
    assert table[["source", "certainty"]].notna().all().all() and set(table.language) == set(LANGUAGES)
    assert not table.duplicated(["language", "covariate"]).any()
    distance = table[table.covariate == "wals_distance"].set_index("language")
    assert distance.value["en"] == 0 and distance.value.between(0, 1).all()
    assert distance.value["de"] < distance.value["ja"] and distance.value["nl"] < distance.value["ta"] # relatives and strangers of English


def test_a_distance_from_few_features_and_a_text_that_was_never_read_are_missing():
    wide = language_facts().pivot(index="language", columns="covariate", values="value")
    counted = pd.read_csv(FACTS).query("covariate == 'wals_distance'").set_index("language").n
    assert set(wide.index[wide.typology.isna()]) == set(counted.index[counted < 20]) != set()
    assert np.isnan(wide.text["yo"]) and wide.text.drop("yo").notna().all()


def test_an_unknown_language_has_no_published_facts_and_says_so_in_one_sentence():
    with pytest.raises(XitcalError, match="Unknown language 'xx'") as error: language_facts(["xx"])
    assert "\n" not in str(error.value)


def test_texts_of_any_language_have_tokens():
    "A target of one's own may be in a language that XTREME lacks"
    tokenizer = AutoTokenizer.from_pretrained(find_suite("embedded").encoder())
    assert set(token_statistics({"en": {"a": "b"}, "quy": {"a": "allin p'unchaw"}}, tokenizer).language) == {"en", "quy"}


def test_tokens_are_those_of_the_tokenizer():
    suite = find_suite("embedded")
    tokenizer = AutoTokenizer.from_pretrained(suite.encoder())
    texts = suite_texts(suite, ["xnli"], ["en", "ta"], 5)
    found = token_statistics(texts, tokenizer).set_index("language")
    count = {c: sum(len(tokenizer.tokenize(t)) for t in v.values()) for c, v in texts.items()}
    assert found.tokens["ta"] == pytest.approx(np.log2(count["ta"] / count["en"]))
    english = {t for v in texts["en"].values() for t in tokenizer.tokenize(v)}
    shared = [t in english for v in texts["ta"].values() for t in tokenizer.tokenize(v)]
    assert found.shared_tokens["ta"] == pytest.approx(np.mean(shared)) and found.shared_tokens["en"] == 1
    strange = token_statistics({"en": {"a": "Monday"}, "de": {"a": "𓀀 𓀁"}}, tokenizer).set_index("language")
    assert strange.unknown["de"] == pytest.approx(np.mean([t == tokenizer.unk_token for t in tokenizer.tokenize("𓀀 𓀁")])) and strange.unknown["de"] > 0


def test_known_slopes_come_back():
    "The mean over sixty studies is the truth, with all covariates at once"
    rng = np.random.default_rng(0)
    truth = {"text": 1.5, "tokens": -.7, "typology": 0.}
    found = [together(effects, codes, table).set_index("covariate").slope for codes, effects, table in (toy_effects(rng, truth, related=.3) for _ in range(60))]
    mean = pd.concat(found, axis=1).T
    error = mean.std() / np.sqrt(len(mean))
    assert (np.abs(mean.mean() - pd.Series(truth)) < 4 * error).all() and error.max() < .05


@pytest.mark.parametrize("related", [0, .5, .8])
def test_intervals_over_families_hold_the_truth(related):
    rng, held, ranks = np.random.default_rng([3, int(10 * related)]), [], []
    for _ in range(300):
        codes, effects, table = toy_effects(rng, {"text": .5, "tokens": 0}, related, noise=.1)
        rows = one_at_a_time(effects, codes, table).set_index("covariate")
        held.append((rows.low["text"] < .5 < rows.high["text"], rows.low["tokens"] < 0 < rows.high["tokens"]))
        ranks.append(rows.rho_low["tokens"] < 0 < rows.rho_high["tokens"])
    assert (np.mean(held, 0) > .92).all() and (np.mean(held, 0) < .99).all(), np.mean(held, 0) # 95 % less 2.5 binomial standard errors, and not idle
    assert np.mean(ranks) > .92


def test_the_interval_for_these_languages_knows_nothing_of_others():
    "Without noise from seeds and examples it is a point, however much languages differ"
    codes, effects, table = toy_effects(np.random.default_rng(1), {"text": .5}, noise=0)
    row = one_at_a_time(effects, codes, table).iloc[0]
    assert row.high_these - row.low_these < 1e-6 < .1 < row.high - row.low


def test_what_cannot_be_used_says_why_and_the_rest_goes_on():
    codes, effects, table = toy_effects(np.random.default_rng(2), {"text": 1.})
    more = [dict(language=c, covariate="spaces", value=1.) for c in codes]                                              # constant
    more += [dict(language=c, covariate="unknown", value=1e-5 * i) for i, c in enumerate(codes)]                        # nearly
    more += [dict(language=c, covariate="latin", value=float(LANGUAGES[c].family == "Dravidian")) for c in codes]       # in one family
    more += [dict(language=c, covariate="typology", value=np.nan if c in codes[:3] else float(i)) for i, c in enumerate(codes)] # missing in three
    more += [dict(language=c, covariate="word_order", value=np.nan) for c in codes]                                     # missing everywhere
    table = pd.concat([table, pd.DataFrame(more)])
    rows = one_at_a_time(effects, codes, table).set_index("covariate")
    assert rows.why["spaces"] == rows.why["unknown"] == "the same in all languages" and rows.why["latin"] == "varies within one family only"
    assert rows.why["word_order"].startswith("known in 0 languages") and rows.n["typology"] == len(codes) - 3
    assert set(rows.index[rows.p.notna()]) == {"text", "typology"} and rows.p_holm["text"] >= rows.p["text"]
    both = together(effects, codes, table)
    assert set(both.covariate) == {"text", "typology"} and set(both.n) == {len(codes) - 3}
    assert "the order of languages" not in explained_words("x", rows.reset_index().query("covariate == 'spaces'"))
    assert slopes_figure({"x": (rows.reset_index(), both, 1)}).axes


def test_few_languages_are_not_tested():
    codes, effects, table = toy_effects(np.random.default_rng(4), {"text": 1.})
    rows = one_at_a_time(effects[:6], codes[:6], table)
    assert rows.p.isna().all() and together(effects[:6], codes[:6], table).empty and np.isnan(explained(effects[:6], codes[:6], table)["r2"])
    assert explained_words("x", rows) == "**x**: no covariate can be tested."
    with pytest.raises(XitcalError, match="nothing to draw"):
        slopes_figure({"x": (rows, None, 1)})
    with pytest.raises(XitcalError, match="more than 3"):
        minimum_detectable(2)


def test_seeds_count_as_in_the_rest_of_the_study():
    "Seeds that disagree widen the interval; one seed has none of that, and equals what examples say"
    rng = np.random.default_rng(5)
    codes, effects, table = toy_effects(rng, {"text": 0.}, noise=0)
    tilt = np.array([-3, 0, 3])[None, :, None] * (table.value.to_numpy() - table.value.mean())[:, None, None]
    calm, wild = one_at_a_time(effects, codes, table).iloc[0], one_at_a_time(effects + tilt, codes, table).iloc[0]
    assert wild.slope == pytest.approx(calm.slope) and wild.high_these - wild.low_these > 10 * (calm.high_these - calm.low_these)
    one = one_at_a_time(effects[:, :1], codes, table).iloc[0]
    assert np.isfinite([one.low, one.high, one.p]).all()


def test_an_effect_is_the_mean_over_targets_and_missing_languages_do_not_bend_it(full):
    conditions, targets = whole_conditions(full), whole_targets(full)
    codes, found = language_effects(full, "signed_ce", conditions)
    sums = full.sums
    confidence, correct, n = (sums.values[c][..., 0] for c in ("confidence", "correct", "n"))
    gap = (confidence - correct) / n
    rows, columns = [sums.conditions.index(a) for a in conditions], [sums.targets.index(t) for t in targets]
    by_hand = np.mean([[gap[a, :, t] - gap[0, :, t] for t in columns] for a in rows], axis=(0, 1, 2))
    assert found[..., 0].mean(1) == pytest.approx([by_hand[sums.languages.index(c)] for c in codes])
    lost = {k: v.copy() for k, v in sums.values.items()}
    for v in lost.values():
        v[:, :, sums.targets.index(targets[0]), sums.languages.index("sw")] = np.nan
    holes = Results(Sums(lost, sums.conditions, sums.seeds, sums.targets, sums.languages), full.tasks, full.suite, full.about, full.planned, full.folder)
    same, other = language_effects(holes, "signed_ce", ["none"])
    _, level = language_effects(full, "signed_ce", ["none"])
    at = [i for i, c in enumerate(codes) if c != "sw"]
    assert same == codes and np.abs((other - level)[at, :, 0]).max() < .01 < np.abs(level[..., 0]).max() # others move only through the target's mean


def test_the_table_of_a_study_names_what_is_missing(full):
    table = covariate_table(full, n=3)
    assert set(table.covariate) == set(COVARIATES) and set(table.language) == set(full.sums.languages)
    absent = table[table.covariate.isin(["typology", "word_order"])]
    assert absent.value.isna().all() and (absent.source == "without meaning for generated texts").all()
    assert table.source.ne("").all() and table[table.covariate == "text"].value.notna().all()


def test_the_page_of_a_study_with_xlm_r_uses_the_atlas_and_cc_100(full, tmp_path, monkeypatch):
    "As from real data in all 40 languages: grammar and CC-100 are covariates, Yoruba has no text, three languages no grammar"
    from test_pages import run_page
    for path in full.folder.glob("seed-*"):
        if path.suffix == ".json":
            about = json.loads(path.read_text())
            for arguments in about["settings"].values():
                arguments["suite"] = "xtreme"
            (tmp_path / path.name).write_text(json.dumps(about))
        else:
            table = pd.read_parquet(path)
            table = table[(table.setting == "full") & table.intermediate.isin(["none", "mnli"]) & table.target.isin(["xnli", "panx"])]
            if "model" in table:
                table = table.assign(model=pd.Categorical(["FacebookAI/xlm-roberta-nowhere"] * len(table)))
            table.to_parquet(tmp_path / path.name, index=False)
    shown = run_page("answer/05_explanations.ipynb", tmp_path, monkeypatch)
    assert "grammar unlike English (WALS)" in shown and "uneven as the atlas" in shown
    assert "Left out because a covariate is not known: Afrikaans, Kazakh, Malay, Yoruba." in shown
    assert "nan [" not in shown and "without meaning for generated texts" not in shown
