"""How far shortcuts get on the embedded suite: `python scripts/shortcuts.py` writes benchmarks/shortcuts.csv (two minutes).

Linear models see tokens, but not which token belongs to which: *digits* keeps only what has no letters, *one-sided*
sees the hypothesis, the choices or the text but not the premise, context or question, *bag* sees all tokens of both sides (where
something is ranked, the other side cannot change the order, so this is the same as one-sided), and *overlap*, which is more than a bag
of tokens, also how many tokens they share. All are trained on English training rows. Tagging and retrieval are scored on the other
39 languages, because there the English vocabulary is no help; everything else on English test rows.
"""
import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
from seqeval.metrics import f1_score
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from xitcal.data.embedded.renderings import split_words
from xitcal.data.embedded.suite import EmbeddedSuite

SUITE, TEST = EmbeddedSuite(), 1000
OTHERS = [code for code in SUITE.tasks["panx"].languages if code != "en"]


def lettered(word):
    "Whether a word has a letter"
    return any(c.isalpha() for c in word)


def bag(text, side, digits=False):
    "Words of a text as features, without letters where only digits count"
    return {f"{side}:{word}": 1.0 for word in split_words(text) if not (digits and lettered(word))}


def overlap(a, b, digits=False):
    "How many words of `b` are in `a`, and how many are not"
    first, second = ({w for w in split_words(t) if not (digits and lettered(w))} for t in (a, b))
    return {"shared": float(len(first & second)), "only": float(len(second - first))}


def fit(features, labels):
    "A linear classifier on dictionaries of features"
    vectorizer = DictVectorizer()
    model = LogisticRegression(max_iter=300).fit(vectorizer.fit_transform(features), labels)
    return lambda rows: model.predict_proba(vectorizer.transform(rows)), model.classes_


def pair_features(row, view):
    "Features of a classification row"
    if view == "one_sided": return bag(row["sentence2"], "b")
    digits, both = view == "digits", (row["sentence1"], row["sentence2"])
    tokens = bag(both[0], "a", digits) | bag(both[1], "b", digits)
    return tokens if view == "bag" else tokens | overlap(*both, digits)


def classification(name, view):
    "Accuracy of a linear model on English test rows"
    train, test = SUITE.rows(name, "train"), SUITE.rows(name, "test", "en", TEST)
    predict, classes = fit([pair_features(row, view) for row in train], train["label"])
    return np.mean(classes[predict([pair_features(row, view) for row in test]).argmax(1)] == test["label"])


def candidates(context):
    "The parts of a text that could be an answer: names between separators, and numbers"
    for match in re.finditer(r"[^,;:/–]+", context):
        for part in re.finditer(r"(?:(?!\bor\b).)+", match.group()):
            text = part.group().strip()
            if text:
                start = context.index(text, match.start() + part.start())
                yield text, start
                number = re.search(r"\d+", text)
                if number: yield number.group(), start + number.start()


def answer_features(row, text, place, view):
    "Features of a candidate answer"
    own = {f"place:{place}": 1.0, "number": float(text.isdigit())} | bag(text, "c", view == "digits")
    if view != "overlap": return own
    return own | overlap(row["question"], text) | {f"{w}|{text.isdigit()}": 1.0 for w in bag(row["question"], "q")}


def answers(name, view):
    "Exact match of the best-ranked candidate on English test rows"
    train = SUITE.rows(name, "train")
    found = [list(candidates(row["context"])) for row in train]
    features = [answer_features(r, c[0], i, view) for r, cs in zip(train, found) for i, c in enumerate(cs)]
    right = [int([c[0]] == r["answers"]["text"]) for r, cs in zip(train, found) for c in cs]
    predict, _ = fit(features, right)
    hits = []
    for row in SUITE.rows(name, "test", "en", TEST):
        options = list(candidates(row["context"]))
        p = predict([answer_features(row, c[0], i, view) for i, c in enumerate(options)])[:, 1]
        best = options[p.argmax()][0] if p.max() > 0.2 or not SUITE.tasks[name].options.get("unanswerable") else ""
        hits.append(best == (row["answers"]["text"] or [""])[0])
    return np.mean(hits)


def choice_features(row, choice, view):
    "Features of one choice"
    own = bag(choice, "c", view == "digits")
    return own if view in ("one_sided", "bag") else own | overlap(f"{row['context']} {row['question']}", choice, view == "digits")


def choices(name, view):
    "Accuracy of picking the best-ranked choice on English test rows"
    train = SUITE.rows(name, "train")
    predict, _ = fit([choice_features(r, c, view) for r in train for c in r["choices"]],
                     [int(i == r["label"]) for r in train for i in range(len(r["choices"]))])
    return np.mean([predict([choice_features(r, c, view) for c in r["choices"]])[:, 1].argmax() == r["label"]
                    for r in SUITE.rows(name, "test", "en", TEST)])


def word_features(tokens, i, view):
    "A word alone, or only what has no letters together with its neighbours"
    if view == "bag": return {f"w:{tokens[i]}": 1.0, f"lower:{tokens[i].lower()}": 1.0}
    around = {k: tokens[i + k] if 0 <= i + k < len(tokens) else "" for k in (-1, 0, 1)}
    return {f"{k}:{'x' if lettered(w) else '9' if w.isdigit() else w}": 1.0 for k, w in around.items()}


def tag_score(name, gold, found):
    "F1 of entities, or accuracy of tags"
    labels = SUITE.tasks[name].labels
    if "O" in labels: return f1_score([[labels[t] for t in g] for g in gold], [[labels[t] for t in f] for f in found])
    return np.mean([a == b for g, f in zip(gold, found) for a, b in zip(g, f)])


def tagging(name, view):
    "Score of a linear tagger, on the other languages where there are any"
    train = SUITE.rows(name, "train")
    predict, classes = fit([word_features(r["tokens"], i, view) for r in train for i in range(len(r["tokens"]))],
                           [t for r in train for t in r["tags"]])
    test = SUITE.rows(name, "test", OTHERS if len(SUITE.tasks[name].languages) > 1 else None, 100)
    flat = classes[predict([word_features(r["tokens"], i, view) for r in test for i in range(len(r["tokens"]))]).argmax(1)]
    ends = np.cumsum([len(r["tokens"]) for r in test])
    return tag_score(name, test["tags"], np.split(flat, ends[:-1]))


def retrieval(name, view):
    "Share of queries whose counterpart shares most words with them, mean over languages"
    scores = []
    for code in OTHERS:
        rows = SUITE.rows(name, "test", code, 200).to_list()
        pool = [(r["example"], {w.lower() for w in split_words(r["text"]) if lettered(w)}) for r in rows if r["side"] == "pool"]
        for row in rows:
            if row["side"] == "query" and row["gold"]:
                own = {w.lower() for w in split_words(row["text"]) if lettered(w)} if view == "bag" else set()
                scores.append(max(pool, key=lambda p: len(own & p[1]) / (1 + len(own | p[1])))[0] == row["gold"])
    return np.mean(scores)


def majority(name, kind):
    "Score of always giving the commonest answer of the training rows"
    task = SUITE.tasks[name]
    if kind == "retrieval": return retrieval(name, "none")
    train = SUITE.rows(name, "train")
    if kind in ("classification", "choices"):
        common = Counter(train["label"]).most_common(1)[0][0]
        return np.mean(np.array(SUITE.rows(name, "test", "en", TEST)["label"]) == common)
    if kind == "tagging":
        common = Counter(t for r in train for t in r["tags"]).most_common(1)[0][0]
        test = SUITE.rows(name, "test", OTHERS if len(task.languages) > 1 else None, 100)
        return tag_score(name, test["tags"], [[common] * len(t) for t in test["tokens"]])
    common = Counter((r["answers"]["text"] or [""])[0] for r in train).most_common(1)[0][0]
    return np.mean([(r["answers"]["text"] or [""])[0] == common for r in SUITE.rows(name, "test", "en", TEST)])


def main():
    rows = []
    for name, task in SUITE.tasks.items():
        score = globals()[task.kind]
        views = {"digits": task.kind != "retrieval", "one_sided": task.kind not in ("tagging", "retrieval"), "bag": task.kind not in ("choices", "answers"),
                 "overlap": task.kind not in ("tagging", "retrieval")}
        row = dict(task=name, kind=task.kind, majority=majority(name, task.kind))
        row |= {view: score(name, view) if possible else "" for view, possible in views.items()}
        rows.append({k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()})
        print(rows[-1], flush=True)
    path = Path("benchmarks/shortcuts.csv")
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
