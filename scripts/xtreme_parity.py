"""Compare `xitcal score` with XTREME's own evaluate.py: `python scripts/xtreme_parity.py CHECKOUT`

CHECKOUT is a clone of google-research/xtreme. Its evaluate.py is run as it is, in a process of its own, by `--python` (an
interpreter that has seqeval and numpy; the default is this one). The files are made here: small predictions and labels for all
nine tasks in all their languages, full of hard cases. Written to tests/xtreme_parity.json: the files, what evaluate.py wrote for
them, for three of the tasks alone, and which commit and versions it was. Further sets of files (`--fuzz`) and XTREME's own mock
data are compared and not kept; the script ends with an error if any figure differs by more than 1e-9.
"""
import argparse
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

from xitcal.data.tasks import TARGETS
from xitcal.study.submission import FOLDERS, evaluation, format_of, score_submission

OUT = Path(__file__).parents[1] / "tests" / "xtreme_parity.json"
SOME = ("pawsx", "xnli", "mlqa") # one complete group, one task of another
PIECES = { # words that an evaluation may or may not take out, by language; the first is an article where there is one
    "en": "the The a an AN Apple co-operation U.S. 's 1,000 (see note) naïve theatre a.m.",
    "es": "el La los un unas él Niño ¿qué? ¡sí! «Lima» l'un 3.5%", "de": "der Die des einem Straße STRASSE „Köln“ dem-nach Den-Haag",
    "vi": "của là cái chiếc những NHỮNG Đà Nẵng laptop người", "ar": "ال الكتاب كتاب وال، ؟ العـربية القاهرة",
    "hi": "दिल्ली। का 'भारत' १२३ ॥ हिन्दी",
    "zh": "北京 北京市， 《红楼梦》 iPhone手机 第3次。 １２ 年 A座 龥 龦",
    "ru": "Москва Ёлка «Мир» в", "el": "ΑΘΗΝΑ Αθήνα η οδός; ΟΔΟΣ", "tr": "İstanbul ISPARTA ılık bir",
    "th": "กรุงเทพ ๆ ที่ ฯลฯ", "ko": "서울 의 '부산'", "bn": "ঢাকা। ও", "fi": "Tampere Åbo", "id": "yang Jakarta", "sw": "ya Dar-es-Salaam", "te": "హైదరాబాద్ ఆ"}
BLANKS = (" ", " ", "  ", "\u00a0", "\u3000", "", "-", "\t", ", ")
SIGNS = (".", "!", "，", "。", "’", "…", "—", "$", "+", "\u200d", "_", "%")
ODD = ("S-LOC", "E-LOC", "B", "I", "_", "O-X", "I-A-B", ".") # tags of other schemes


def phrase(rng: random.Random, language: str) -> str:
    "A few words, perhaps none"
    words = PIECES[language].split() + PIECES["en"].split()[:4]
    return "".join(rng.choice(words) + rng.choice(BLANKS) for _ in range(rng.randint(0, 4)))


def changed(rng: random.Random, text: str, language: str) -> str:
    "An answer that may still count as the same"
    article = PIECES[language].split()[0]
    return rng.choice([text, text, text.upper(), text.lower(), f" {text} ", f"{article} {text}", f"{text}{rng.choice(SIGNS)}", f"{rng.choice(SIGNS)}{text}",
                       unicodedata.normalize("NFD", text), " ".join(reversed(text.split())), " ".join(text.split()[1:]), text[:-1], "", article,
                       f"{text} {text}", phrase(rng, language)])


def questions(rng: random.Random, language: str, folder) -> tuple[str, str]:
    "Answers (some missing, some to questions nobody asked) and questions with one to three accepted answers, one id twice"
    gold = [(f"q{i}", [phrase(rng, language) for _ in range(rng.randint(1, 3))]) for i in range(14)]
    gold.append(gold[0])
    said = {i: changed(rng, rng.choice(texts), language) for i, texts in gold if rng.random() < .9} | {"nobody-asked": "x"}
    qas = [dict(id=i, answers=[dict(text=t) for t in texts]) for i, texts in gold]
    articles = [dict(paragraphs=[dict(qas=qas[:4]), dict(qas=qas[4:9])]), dict(paragraphs=[dict(qas=qas[9:])])]
    wrapped = rng.random() < .5
    predictions, labels = dict(data=said) if rng.random() < .2 else said, dict(data=articles) if wrapped else articles
    return json.dumps(predictions, ensure_ascii=wrapped), json.dumps(labels, ensure_ascii=not wrapped)


def ending(rng: random.Random, lines: list[str]) -> str:
    "A file of lines as different systems end them"
    newline = rng.choice(["\n", "\n", "\n", "\r\n"])
    return newline.join(lines) + newline * rng.choice([0, 1, 1])


def labels(rng: random.Random, language: str, folder) -> tuple[str, str]:
    "A label or number a line; for numbers some that are out of range, or chosen twice"
    names = list(folder.words or TARGETS[folder.task].labels) or [str(i) for i in range(12)]
    gold = [rng.choice(names) for _ in range(12)] if TARGETS[folder.task].labels else rng.sample(names, 12)
    said = [g if rng.random() < .5 else rng.choice(names + ([] if TARGETS[folder.task].labels else ["-1", "999", "01"])) for g in gold]
    return ending(rng, [s + rng.choice(["", "", " ", "\t"]) for s in said]), ending(rng, gold)


def tags(rng: random.Random, language: str, folder) -> tuple[str, str]:
    "Sentences with all faults of IOB, empty ones, files without entities on one side or both, and some all right"
    case = rng.random()
    names = list(TARGETS[folder.task].labels) + ["O"] * 3 + (list(ODD) if .2 < case < .5 else [])
    gold = [[rng.choice(names) for _ in range(rng.choice([0, 1, 2, 4, 6, 9]))] for _ in range(9)] + [names[:8] + ["O"]]
    said = [[tag if rng.random() < .7 else rng.choice([n for n in names if n not in ODD or any(n in s for s in gold)]) for tag in s] for s in gold]
    none = [["O"] * len(s) for s in gold]
    gold, said = (none if case < .1 else gold), (none if case < .05 or case > .9 else gold if .5 < case < .6 else said)
    text = lambda sentences: "\n".join("".join(tag + "\n" for tag in s) for s in sentences) # a sentence is closed by a blank line
    return text(said), text(gold)


def pairs(rng: random.Random, language: str, folder) -> tuple[str, str]:
    "Pairs of ids, some twice, one perhaps blank, perhaps none right or none at all"
    gold = [f"{language}-{i:06d}\ten-{i * 7:06d}" for i in rng.sample(range(100), 10)]
    said = [g if rng.random() < .6 else f"{language}-{rng.randrange(100):06d}\ten-{rng.randrange(700):06d}" for g in gold] + gold[:2] + rng.choice([[], [""]])
    said = rng.choice([said, said, gold, [], [f"{language}-1\ten-1"]])
    return "".join(f"{s}{rng.choice(['', ' '])}\n" for s in said), "".join(f"{g}\n" for g in gold)


MAKERS = {("classification", "accuracy"): labels, ("retrieval", "accuracy"): labels, ("tagging", "f1"): tags, ("retrieval", "f1"): pairs,
          ("answers", "f1"): questions}


def files(seed: int) -> dict[str, dict[str, str]]:
    "Predictions and labels by name of the file"
    rng, found = random.Random(seed), dict(predictions={}, labels={})
    for folder in FOLDERS.values():
        task = TARGETS[folder.task]
        for language in task.languages:
            name = f"{folder.name}/test-{language}.{format_of(folder).ending}"
            found["predictions"][name], found["labels"][name] = MAKERS[task.kind, task.metric](rng, language, folder)
    return found


def write(found: dict[str, dict[str, str]], place: Path, names=tuple(FOLDERS)) -> Path:
    "The files of some tasks in a folder"
    for side, by_name in found.items():
        for name, text in by_name.items():
            if name.split("/")[0] in names:
                path = place / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
    return place


def xtremes(python: str, checkout: Path, predictions: Path, labels: Path) -> dict:
    "What XTREME's evaluate.py writes"
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        done = subprocess.run([python, "-X", "utf8", "-W", "ignore", "evaluate.py", "--prediction_folder", predictions, "--label_folder", labels,
                               "--output_file", out], cwd=checkout, capture_output=True, text=True)
        if done.returncode: raise SystemExit(f"evaluate.py ended with an error:\n{done.stderr}")
        return json.loads(out.read_text())


def difference(ours, theirs, where: str = "") -> float:
    "The largest difference of two results of the same shape"
    if not isinstance(ours, dict): return abs(ours - theirs)
    if set(ours) != set(theirs): raise SystemExit(f"Different names at {where or 'the top'}: {list(ours)} and {list(theirs)}")
    return max(difference(ours[k], theirs[k], f"{where}/{k}") for k in ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fuzz", type=int, default=20, help="further sets of files to compare")
    given = parser.parse_args()
    run = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    versions = run(given.python, "-c", "import platform, json, numpy; from importlib.metadata import version; "
                   "print(json.dumps(dict(python=platform.python_version(), seqeval=version('seqeval'), numpy=numpy.__version__)))")
    about = dict(commit=run("git", "-C", given.checkout, "rev-parse", "HEAD"), seed=given.seed, fuzz=given.fuzz, **json.loads(versions))
    worst, kept = {}, files(given.seed)
    with TemporaryDirectory() as folder:
        def compare(name, place, labels=None):
            sides = place / "predictions", labels or place / "labels"
            theirs = xtremes(given.python, given.checkout, *sides)
            worst[name] = difference(evaluation(score_submission(*sides)), theirs)
            return theirs
        kept["expected"] = compare("all nine tasks", write(kept, Path(folder) / "all"))
        kept["some"] = compare("three tasks", write({s: kept[s] for s in ("predictions", "labels")}, Path(folder) / "some", SOME))
        compare("XTREME's mock data", given.checkout.resolve() / "mock_test_data")
        for seed in range(given.seed + 1, given.seed + 1 + given.fuzz): compare(f"files {seed}", write(files(seed), Path(folder) / str(seed)))
    print(json.dumps(about), *(f"{value:.1e} {name}" for name, value in worst.items()), sep="\n")
    if max(worst.values()) > 1e-9: raise SystemExit("A figure differs.")
    OUT.write_text(json.dumps(dict(about=about, **kept), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
