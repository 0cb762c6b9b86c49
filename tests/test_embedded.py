"The embedded suite: deterministic, a posterior that is a function of the text, labels drawn from it, splits that share nothing"
from collections import defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from xitcal.data.embedded.renderings import words
from xitcal.data.embedded.suite import MAKERS, EmbeddedSuite, _plans
from xitcal.data.embedded.world import NAMED, NEW_COUNTRIES
from xitcal.data.languages import LANGUAGES
from xitcal.data.rows import SPLITS, check_rows

SUITE = EmbeddedSuite()
NAMES = list(SUITE.tasks)
TRAINED = [name for name, task in SUITE.tasks.items() if task.trained_on == name]
DRAWN = [name for name, task in SUITE.tasks.items() if task.kind != "retrieval"]
PARALLEL = ["xnli", "pawsx", "xquad", "mlqa"]


def text_of_row(row, kind):
    "What a model sees of a row"
    columns = {"classification": ("sentence1", "sentence2"), "choices": ("context", "question", "choices"),
               "tagging": ("tokens",), "answers": ("question", "context"), "retrieval": ("text",)}[kind]
    return repr([row[column] for column in columns])


def shown_posterior(row, kind):
    "A row's posterior in a form that can be compared"
    if kind == "answers": return sorted(zip(*(row["posterior"][k] for k in ("text", "answer_start", "p"))))
    return np.round(row["posterior"], 9).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_deterministic_and_streams_have_prefixes(name):
    code = SUITE.tasks[name].languages[-1]
    rows = SUITE.rows(name, "test", code, n=30).to_list()
    _plans.cache_clear()
    assert EmbeddedSuite().rows(name, "test", [code], n=30).to_list() == rows
    shorter = SUITE.rows(name, "test", code, n=10).to_list()
    assert [row["example"] for row in shorter] == [row["example"] for row in rows][:len(shorter)]


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_columns_of_their_kind_in_every_language(name):
    task = SUITE.tasks[name]
    check_rows(SUITE.rows(name, "test"), task)
    for split in () if task.test_only else SPLITS[:3]: check_rows(SUITE.rows(name, split, n=100), task)


def homonym(fact, lang, rng):
    "Another fact with the same name in a language, or the fact itself"
    if isinstance(fact, tuple) and len(fact) == 2 and fact[0] in NAMED and fact in lang.names:
        same = [f for f in lang.meanings[lang.names[fact][0]] if f != fact]
        return rng.choice(same) if same else fact
    return fact


def exchanged(content, lang, rng):
    "A plan's content with facts exchanged for homonyms"
    if not isinstance(content, tuple): return content
    new = homonym(content, lang, rng)
    return new if new is not content else tuple(exchanged(part, lang, rng) for part in content)


@pytest.mark.parametrize("name", ["xnli", "qqp", "pawsx", "udpos", "panx", "xquad", "squad2", "tydiqa"])
def test_equal_texts_have_equal_posteriors(name):
    "Facts are exchanged for others of the same name: where the text stays the same, so must the posterior"
    kind, compared = SUITE.tasks[name].kind, 0
    for code in ("en", "th", "id", "my", "es", "jv"):
        seen, lang, rng = {}, words(code), Random(code)
        for plan in _plans(name, "test", "", 400):
            if kind == "answers" and plan.content[2]: continue  # a key is bound, not read off its name alone
            other = plan if kind == "answers" else replace(plan, content=exchanged(plan.content, lang, rng))
            if kind == "answers":
                records, wanted, key = plan.content
                other = replace(plan, content=(exchanged(records, lang, rng), wanted, key))
            for p in (plan, other):
                row = MAKERS[name].write(p, lang)
                text, posterior = text_of_row(row, kind), shown_posterior(row, kind)
                compared += text in seen
                assert seen.setdefault(text, posterior) == posterior, (code, text)
    assert compared > 200


@pytest.mark.parametrize("name", NAMES)
def test_equal_texts_of_a_stream_have_equal_posteriors(name):
    task, seen = SUITE.tasks[name], {}
    for row in SUITE.rows(name, "test", n=100):
        if task.kind == "retrieval":
            if row["side"] == "query": continue
            key, value = (row["language"], row["text"]), row["example"]
        else: key, value = (row["language"], text_of_row(row, task.kind)), shown_posterior(row, task.kind)
        if seen.setdefault(key, value) != value: assert task.kind == "retrieval" and not row["gold"], key


def draws(name, rows):
    "Probability given to, and outcome of, each drawn decision"
    kind = SUITE.tasks[name].kind
    for row in rows:
        if kind == "tagging":
            for tag, posterior in zip(row["tags"], row["posterior"]): yield from ((p, tag == i) for i, p in enumerate(posterior))
        elif kind == "answers":
            start = (row["answers"]["answer_start"] or [-1])[0]
            yield from ((p, start == s) for s, p in zip(row["posterior"]["answer_start"], row["posterior"]["p"]))
        else: yield from ((p, row["label"] == i) for i, p in enumerate(row["posterior"]))


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("code", ["en", "th", "ja"])
def test_drawn_labels_are_calibrated(name, code):
    "Among decisions with probability p, a share p comes true; 0 never and 1 always"
    if code not in SUITE.tasks[name].languages: code = "en"
    by_p = defaultdict(list)
    for p, hit in draws(name, SUITE.rows(name, "test", code, n=1200)): by_p[round(p, 6)].append(hit)
    for p, hits in by_p.items():
        if p in (0, 1): assert np.mean(hits) == p
        else: assert abs(np.mean(hits) - p) < 5 * np.sqrt(p * (1 - p) / len(hits)) + 5 / len(hits), (p, len(hits), np.mean(hits))
    assert any(0 < p < 1 for p in by_p)


def records(name, split, n=500):
    "The records of a stream"
    return {repr(sorted(map(repr, plan.record))) for plan in _plans(name, split, "", n)}


@pytest.mark.parametrize("name", TRAINED)
def test_splits_share_no_record(name):
    found = [records(name, split) for split in SPLITS]
    assert sum(map(len, found)) == len(set().union(*found))


@pytest.mark.parametrize("target, source", [("xnli", "mnli"), ("xquad", "squad"), ("mlqa", "squad")])
def test_targets_share_no_record_with_what_they_are_trained_on(target, source):
    assert not records(target, "test") & records(source, "train", 2000)
    assert SUITE.rows(target, "train", n=5).to_list() == SUITE.rows(source, "train", n=5).to_list()


@pytest.mark.parametrize("name", DRAWN)
def test_some_parts_occur_in_test_rows_alone(name):
    rows = SUITE.rows(name, "test", "en", n=300)
    assert 0.1 < np.mean(rows["seen"]) < 0.9
    train = SUITE.rows(name, "train", n=1000)
    assert all(train["seen"])
    if SUITE.tasks[name].kind != "tagging":
        new = {words("en").names["city", c][0] for c in NEW_COUNTRIES}
        text = " ".join(text_of_row(row, SUITE.tasks[name].kind) for row in train)
        assert not [n for n in new if n in text]


@pytest.mark.parametrize("name", [n for n, t in SUITE.tasks.items() if len(t.languages) > 1])
def test_ids_are_shared_where_rows_are_parallel(name):
    by_language = defaultdict(list)
    for row in SUITE.rows(name, "test", "de,sw,zh", n=50): by_language[row["language"]].append(row["example"])
    de, sw, zh = by_language.values()
    if name in PARALLEL: assert de == sw == zh
    else: assert not set(de) & set(sw) and not set(sw) & set(zh)
    assert SUITE.tasks[name].parallel == (name in PARALLEL)


def test_parallel_rows_say_the_same():
    "The label differs between languages only where the text is ambiguous in one of them"
    rows = SUITE.rows("xnli", "test", n=100).to_list()
    english = {row["example"]: row for row in rows if row["language"] == "en"}
    for row in rows:
        if row["posterior"] == english[row["example"]]["posterior"]: assert row["label"] == english[row["example"]]["label"]
    assert np.mean([np.allclose(row["posterior"], english[row["example"]]["posterior"]) for row in rows]) > 0.9


@pytest.mark.parametrize("name", ["squad", "squad2", "xquad", "mlqa", "tydiqa"])
def test_answers_stand_where_they_are_said_to(name):
    absent = 0
    for row in SUITE.rows(name, "test", n=60):
        posterior = row["posterior"]
        for text, start in zip(row["answers"]["text"] + posterior["text"], row["answers"]["answer_start"] + posterior["answer_start"]):
            if start >= 0: assert row["context"][start:start + len(text)] == text
        assert abs(sum(posterior["p"]) - 1) < 1e-9
        absent += not row["answers"]["text"]
    assert not absent or name == "squad2" or absent < 12


@pytest.mark.parametrize("name", ["udpos", "panx", "ccg"])
def test_every_word_has_a_tag_and_a_distribution(name):
    task = SUITE.tasks[name]
    for row in SUITE.rows(name, "test", n=40):
        assert len(row["tokens"]) == len(row["tags"]) == len(row["posterior"])
        assert all(token.strip() and " " not in token for token in row["tokens"])
        assert all(len(p) == len(task.labels) and abs(sum(p) - 1) < 1e-9 for p in row["posterior"])


def test_entities_are_well_formed():
    "No I- tag follows anything but a tag of its own type"
    labels = SUITE.tasks["panx"].labels
    for row in SUITE.rows("panx", "test", n=40):
        for before, tag in zip([0, *row["tags"]], row["tags"]):
            if labels[tag].startswith("I-"): assert labels[before][2:] == labels[tag][2:]


def test_retrieval_pools_hold_every_counterpart_and_doubles():
    for name, missing in (("tatoeba", 0.0), ("bucc", 0.2)):
        rows = SUITE.rows(name, "test", "sw", n=100).to_list()
        pool = {row["example"]: row for row in rows if row["side"] == "pool"}
        queries = [row for row in rows if row["side"] == "query"]
        assert len(queries) == 100 and len(pool) > 150
        assert np.mean([not q["gold"] for q in queries]) == missing
        assert all(pool[q["gold"]]["gold"] == q["example"] for q in queries if q["gold"])


def test_all_languages_have_rows_for_every_target():
    for task in SUITE.tasks.values():
        if task.name in ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa"): assert set(task.languages) == set(LANGUAGES)
        if task.kind == "retrieval": assert set(task.languages) == set(LANGUAGES) - {"en"}
