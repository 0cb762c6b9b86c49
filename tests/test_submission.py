"""Scores of folders in XTREME's layout beside what XTREME's own evaluate.py wrote for them (scripts/xtreme_parity.py), and from a store to the score."""
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from conftest import xitcal
from typer.testing import CliRunner

from xitcal.cli import app
from xitcal.core.errors import XitcalError
from xitcal.data.tasks import TARGETS
from xitcal.data.xtreme.reading import Part, make_rows
from xitcal.data.xtreme.sources import HUB
from xitcal.data.xtreme.suite import XtremeSuite
from xitcal.predictions.events import read_events
from xitcal.predictions.scores import example_scores, score_table
from xitcal.study.export import export_xtreme
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, record_study, study_tasks
from xitcal.study.runner import run_study
from xitcal.study.store import Store
from xitcal.study.submission import FOLDERS, GROUPS, evaluation, evaluation_text, format_of, score_submission, write_files

PARITY = json.loads((Path(__file__).parent / "xtreme_parity.json").read_text(encoding="utf-8"))


def write(place: Path, names=tuple(FOLDERS)) -> tuple[Path, Path]:
    "The files of the comparison in a folder, or those of some tasks"
    for side in ("predictions", "labels"):
        for name, text in PARITY[side].items():
            if name.split("/")[0] in names:
                (place / side / name).parent.mkdir(parents=True, exist_ok=True)
                (place / side / name).write_bytes(text.encode())
    return place / "predictions", place / "labels"


@pytest.fixture
def sides(tmp_path):
    return write(tmp_path)


def command(*words):
    "The command line in this process: what it printed, or the error of the user that it would tell"
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0 or isinstance(done.exception, XitcalError), done.output
    return done.output if done.exit_code == 0 else str(done.exception)


def figures(result, at=()):
    "Every figure with its place"
    if not isinstance(result, dict): return {at: result}
    return {k: v for name, part in result.items() for k, v in figures(part, (*at, name)).items()}


def compare(ours: dict, theirs: dict):
    ours, theirs = figures(ours), figures(theirs)
    assert set(ours) == set(theirs)
    assert {k: (v, theirs[k]) for k, v in ours.items() if not abs(v - theirs[k]) <= 1e-9} == {}


def test_every_figure_is_xtremes(sides, tmp_path):
    out = tmp_path / "scores.json"
    text = xitcal("score", "--predictions", sides[0], "--labels", sides[1], "--out", out).stdout
    ours = json.loads(out.read_text())
    compare(ours, PARITY["expected"])
    assert list(ours) == list(PARITY["expected"]) == ["all_task", *GROUPS, *FOLDERS]
    assert f"{ours['all_task']:.2f}" in text and "missing" not in text
    assert len(figures(ours)) > 350, "every metric of every language, and the averages"


def test_the_comparison_is_a_hard_one():
    values = [v for (task, *rest), v in figures(PARITY["expected"]).items() if len(rest) == 2]
    assert 0 in values and 100 in values and len(set(values)) > 100
    text = "".join(PARITY["labels"].values()) + "".join(PARITY["predictions"].values())
    for part in ("S-LOC", "O-X", "\n\n\n", "\r\n", "\u3000", "龥", "ال", "의", "।", "nobody-asked", '"text": ""', "-1\n"):
        assert part in text or json.dumps(part)[1:-1] in text, part
    assert {f.task: len(TARGETS[f.task].languages) for f in FOLDERS.values()} == {
        f.task: len(next(v for v in PARITY["expected"][f.name].values() if isinstance(v, dict))) for f in FOLDERS.values()}
    assert PARITY["about"]["seqeval"] == "1.2.2" and len(PARITY["about"]["commit"]) == 40


def test_tasks_and_groups_that_are_not_there(tmp_path):
    sides = write(tmp_path, ("pawsx", "xnli", "mlqa"))
    scores = score_submission(*sides)
    compare(evaluation(scores), PARITY["some"])
    assert "all_task" not in PARITY["some"] and "qa" not in PARITY["some"] and "classification" in PARITY["some"]
    text = evaluation_text(scores)
    assert "tydiqa    missing: predictions have no folder tydiqa" in text and "all_task        missing" in text
    shutil.rmtree(sides[1] / "mlqa")
    assert "mlqa      missing: labels have no folder mlqa" in evaluation_text(score_submission(*sides))


def test_a_missing_language_is_never_averaged_over(sides, tmp_path):
    (sides[0] / "xnli" / "test-sw.tsv").unlink()
    (sides[1] / "panx" / "test-yo.tsv").unlink()
    out = tmp_path / "scores.json"
    text = command("score", "--predictions", sides[0], "--labels", sides[1], "--partial", "--out", out)
    found = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for task, metric, language in (("xnli", "accuracy", "sw"), ("panx", "f1", "yo")):
        assert found[task][metric][language] is None and found[task][f"avg_{metric}"] is None and found[task]["avg_metric"] is None
    assert not {"all_task", "classification", "tagging"} & set(found)
    for name in ("qa", "retrieval", "udpos"): compare({name: found[name]}, {name: PARITY["expected"][name]})
    assert found["xnli"]["accuracy"]["ar"] == pytest.approx(PARITY["expected"]["xnli"]["accuracy"]["ar"], abs=1e-9)
    assert "accuracy missing  (14 of 15 languages)" in text and "sw: no predictions" in text and "yo: no labels" in text


def test_unanswered_questions_are_counted(sides):
    path = sides[0] / "xquad" / "test-de.json"
    path.write_text("{}")
    scores = score_submission(*sides)
    assert (scores[(scores.folder == "xquad") & (scores.language == "de")].value == 0).all()
    assert "de: 15 of 15 questions unanswered" in evaluation_text(scores)


FAULTS = {
    "missing predictions": (0, "xnli/test-sw.tsv", None, "There are no predictions in"),
    "a language without labels": (1, "mlqa/test-hi.json", None, "There are no labels in"),
    "too few lines": (0, "pawsx/test-de.tsv", "0\n", "pawsx/test-de.tsv has 1 lines, its labels have 12"),
    "too many sentences": (0, "panx/test-de.tsv", "O\n\n" * 11, "panx/test-de.tsv has 11 sentences, its labels have 10"),
    "another sentence": (0, "panx/test-de.tsv", "O\n\n" * 10, "1 tags, its labels have"),
    "unknown label": (0, "xnli/test-de.tsv", "neutrl\n" * 12, "Unknown label in line 1 of xnli/test-de.tsv: 'neutrl': did you mean 'neutral'?"),
    "names for numbers": (0, "pawsx/test-de.tsv", "paraphrase\n" * 12, "'paraphrase': choose one of '0', '1'"),
    "no pair": (0, "bucc2018/test-de.tsv", "de-1 en-1\n", "no pair in line 1: write two ids with a tab"),
    "no JSON": (0, "mlqa/test-de.json", '{"a": "b"', "is no JSON (Expecting"),
    "another JSON": (0, "mlqa/test-de.json", '["b"]', "must hold"),
    "an answer that is none": (0, "mlqa/test-de.json", '{"a": null}', "None as the answer to question 'a'"),
    "labels in another form": (1, "mlqa/test-de.json", '{"data": [{"question": "?"}]}', "are not in SQuAD's form"),
    "labels without questions": (1, "mlqa/test-de.json", '{"data": []}', "have no questions"),
    "no labels in a file": (1, "bucc2018/test-de.tsv", "", "The labels of bucc2018/test-de.tsv are empty"),
    "not UTF-8": (0, "xnli/test-de.tsv", b"\xff\xfe", "is no UTF-8 text"),
    "a folder misspelt": (0, "bucc/test-de.tsv", "", "Unknown task folder in"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_sentence(name, tmp_path):
    side, file, text, sentence = FAULTS[name]
    sides = write(tmp_path, {file.split("/")[0], "xnli"})
    path = sides[side] / file
    path.parent.mkdir(exist_ok=True)
    path.unlink() if text is None else path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(XitcalError) as told: score_submission(*sides)
    assert sentence in str(told.value) and "\n" not in str(told.value)
    assert file.split("/")[0] in str(told.value), "says where"


def test_empty_sentences_that_were_removed_are_named_and_can_be_put_back(tmp_path):
    "The file is mended as the sentence says, and then gets the score of the one from which nothing was removed"
    sides = write(tmp_path, {"udpos"})
    first, last = (side / "udpos" / "test-de.tsv" for side in sides)
    for path in (first, last):
        sentences = path.read_text().strip().split("\n\n")
        path.write_text("".join(f"{s}\n\n" for s in [*sentences[:2], "", *sentences[2:4], "", *sentences[4:]]).replace("\n\n\n\n", "\n\n\n"))
    whole, lines = score_submission(*sides), first.read_text().split("\n")
    first.write_text("\n".join(line for i, line in enumerate(lines) if line or (i and lines[i - 1])))
    with pytest.raises(XitcalError, match=r"sentences 3 \(line \d+\), 6 \(line \d+\) of the labels are empty") as told:
        score_submission(*sides)
    assert "insert a blank line" in str(told.value) and "\n" not in str(told.value)
    mended = first.read_text().split("\n")
    for line in map(int, re.findall(r"line (\d+)", str(told.value))):
        mended.insert(line - 1, "")
    first.write_text("\n".join(mended))
    assert score_submission(*sides).equals(whole)


def test_faults_on_the_command_line(sides, tmp_path):
    (sides[0] / "xnli" / "test-sw.tsv").unlink()
    done = xitcal("score", "--predictions", sides[0], "--labels", sides[1], check=False)
    assert done.returncode == 2 and done.stderr.startswith("xitcal: There are no predictions in") and done.stderr.count("\n") == 1 and not done.stdout
    for one, other, sentence in ((tmp_path / "gone", sides[1], "There is no folder"), (sides[0], tmp_path / "gone", "--labels needs one")):
        with pytest.raises(XitcalError, match=sentence): score_submission(one, other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(XitcalError, match="No task has a folder in both"): score_submission(tmp_path / "empty", sides[1])
    one = write(tmp_path / "one", ["tatoeba"])
    assert "cannot be written" in command("score", "--predictions", one[0], "--labels", one[1], "--out", tmp_path / "gone" / "x.json")


def test_folders_of_the_successor_are_left_alone(tmp_path):
    sides = write(tmp_path, ["tatoeba"])
    for side in sides: (side / "mewslix").mkdir()
    compare(evaluation(score_submission(*sides)), {"tatoeba": PARITY["expected"]["tatoeba"]})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    "A small study of all nine targets; its second seed and MNLI have not run"
    path = tmp_path_factory.mktemp("nine") / "store"
    nine = Study(intermediates=("none",), targets=tuple(TARGETS), seeds=(0,), languages=("en", "sw", "zh"), target_rows=16, test_rows=10, calibration_rows=0)
    run_study(nine, path, 1, progress=False)
    more = replace(nine, intermediates=("none", "mnli"), targets=("xnli",), seeds=(0, 1))
    record_study(Store(path), make_plan(more))
    return path


def test_from_a_store_to_the_score(store, tmp_path):
    places = [tmp_path / name for name in ("predictions", "labels")]
    told = command("export", "--store", store, "--format", "xtreme", "--out", places[0], "--labels", places[1], "--intermediate", "none", "--seed", "0")
    assert "--all-languages" in told
    out = tmp_path / "scores.json"
    text = command("score", "--predictions", places[0], "--labels", places[1], "--all-languages", "--out", out)
    found = json.loads(out.read_text())
    assert list(found) == ["all_task", *GROUPS, *FOLDERS] and "missing" not in text
    ours = score_table(example_scores(read_events(load_predictions(store)), study_tasks(store)), tasks=study_tasks(store))
    ours = ours[(ours.intermediate == "none") & (ours.seed.isna() | (ours.seed == 0))].set_index(["target", "language", "metric"]).value * 100
    seen = set()
    for folder in FOLDERS.values():
        for metric in set(format_of(folder).metrics) - {"precision", "recall"}:
            for language, value in found[folder.name][metric].items():
                key = (folder.task, language, {"exact_match": "em"}.get(metric, metric))
                assert ours[key] == pytest.approx(value, abs=1e-9), key
                seen.add(key)
    assert len(seen) == 7 * 3 + 2 * 2 + 3 * 3 # three languages, two for retrieval; two metrics for questions


def test_a_choice_that_is_missing(store, tmp_path):
    for choice, sentence in ((dict(), r"more than one intermediate \(mnli, none\): choose one with --intermediate"),
                             (dict(intermediate="none"), r"more than one seed \(0, 1\): choose one with --seed"),
                             (dict(intermediate="mnil"), "did you mean 'mnli'"), (dict(intermediate="none", seed=7), "Unknown seed in this store: '7'"),
                             (dict(intermediate="mnli", seed=0), "has no such predictions yet")):
        with pytest.raises(XitcalError, match=sentence): export_xtreme(store, tmp_path / "out", **choice)
        assert not (tmp_path / "out").exists()
    assert "choose one with --intermediate" in command("export", "--store", store, "--out", tmp_path / "out")
    assert "Unknown format 'glue'" in command("export", "--store", store, "--format", "glue", "--out", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    with pytest.raises(XitcalError, match="is not empty; choose another one for --out"): export_xtreme(store, tmp_path / "out", intermediate="none", seed=0)


PAIRS = [("Ja.", "Yes."), ("Nein.", "No."), ("Äh.", "Ah."), ("Nö.", "No."), ("Zwei.", "Two."), ("Auch.", "also"), ("Doch.", "Yes. "), ("Eins.", "1.")]


def tatoeba_folder(root: Path) -> Path:
    "tatoeba/de-en.{de,en} and labels as XTREME's preprocessing leaves them: English stripped and sorted, the other language untouched, the labels apart"
    order = sorted(range(len(PAIRS)), key=lambda i: PAIRS[i][1].strip())
    lines = {"tatoeba/de-en.de": [de for de, _ in PAIRS], "tatoeba/de-en.en": [PAIRS[i][1].strip() for i in order], "labels/tatoeba/test-de.tsv": order}
    for name, values in lines.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(f"{v}\n" for v in values), encoding="utf-8")
    return root


def perfect(rows) -> pd.DataFrame:
    "Events of a retrieval that finds every counterpart"
    asked = [r for r in rows if r["side"] == "query"]
    return pd.DataFrame([dict(example=r["example"], language=r["language"], label_text=r["gold"], prediction_text=r["gold"]) for r in asked])


def tatoeba_rows(source: str, place: Path):
    "The same sentences from XTREME's folder, from the original files, or as the hub has them"
    if source == "folder": return XtremeSuite(tatoeba_folder(place)).rows("tatoeba", "test", "de")
    if source == "hub":
        table = pa.table(dict(source_sentence=[de + "\n" for de, _ in PAIRS], target_sentence=[en + "\n" for _, en in PAIRS]))
        return make_rows([Part(HUB["tatoeba"][0], "validation", table, "here")], TARGETS["tatoeba"], "test", "de")[0]
    (place / "tatoeba").mkdir(parents=True)
    for i, code in enumerate(("deu", "eng")): (place / f"tatoeba/tatoeba.deu-eng.{code}").write_text("".join(p[i] + "\n" for p in PAIRS), encoding="utf-8")
    return XtremeSuite(place).rows("tatoeba", "test", "de")


@pytest.mark.parametrize("source", ["folder", "original", "hub"])
def test_tatoeba_agrees_with_xtremes_own_labels(tmp_path, source):
    "English is sorted there, so a line is not a pair's line: perfect retrieval scores 100, and the labels that are written are XTREME's"
    labels = tatoeba_folder(tmp_path / "xl") / "labels"
    rows = tatoeba_rows(source, tmp_path / "data")
    assert {(r["text"], {p["example"]: p["text"] for p in rows}[r["gold"]]) for r in rows if r["side"] == "query"} == {(en.strip(), de) for de, en in PAIRS}
    for events in (perfect(rows), perfect(rows).sample(frac=1, random_state=0)):
        for side, gold in (("out", False), ("own", True)): write_files(events, TARGETS["tatoeba"], tmp_path / side, gold)
        own = tmp_path / "own/tatoeba/test-de.tsv"
        assert own.read_text() == (labels / "tatoeba/test-de.tsv").read_text() == (tmp_path / "out/tatoeba/test-de.tsv").read_text()
        assert score_submission(tmp_path / "out", labels, partial=True).value.dropna().tolist() == [100]
    wrong = perfect(rows).assign(prediction_text=lambda e: e.label_text.iloc[0])
    write_files(wrong, TARGETS["tatoeba"], tmp_path / "out")
    assert score_submission(tmp_path / "out", labels, partial=True).value.dropna().tolist() == [100 / len(PAIRS)]
