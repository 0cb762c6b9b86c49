"""The whole study on real data in miniature: every task and kind, from a hub on this machine through all three phases to the report."""
import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import xitcal
from encoders import make_encoder
from loopback import Loopback
from repositories import make_repositories

from xitcal.core.schema import EVENT_SCHEMA
from xitcal.data.suites import find_suite
from xitcal.data.tasks import INTERMEDIATES, MULTI, NONE, TARGETS
from xitcal.data.xtreme.sources import HUB
from xitcal.data.xtreme.texts import WIKIPEDIA
from xitcal.study.ledger import load_predictions, study_cells
from xitcal.study.submission import FOLDERS, GROUPS

N = 8
LANGUAGES = ("en", "de", "ru")
CONDITIONS = (NONE, *INTERMEDIATES, MULTI, "mnli:mlm", "mnli:translated", "squad:translated")
STUDY = ["--suite", "xtreme", "--intermediate", ",".join(CONDITIONS), "--language", ",".join(LANGUAGES), "--intermediate-rows", "8", "--target-rows", "8",
         "--test-rows", "8", "--sampling", "capped:4"]


def files_of_ones_own(folder: Path) -> Path:
    "What no hub has: CCGbank, and XTREME's translations of MNLI and SQuAD into two languages"
    embedded = find_suite("embedded")
    names = embedded.tasks["ccg"].labels
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "calibration")):
        rows = embedded.rows("ccg", split, ["en"], 4 * N).to_list()
        path = folder / f"ccg/ccg.{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(" ".join(r["tokens"]) + "\t" + " ".join(names[t] for t in r["tags"]) + "\n" for r in rows), encoding="utf-8")
    labels = embedded.tasks["mnli"].labels
    for code in ("de", "ru"):
        english, other = (embedded.translated_rows("mnli", [c], 30).to_list() for c in ("en", code))
        path = folder / f"xtreme_translations/XNLI/translate-train/en-{code}-translated.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None).writerows(
                [a["sentence1"], a["sentence2"], b["sentence1"], b["sentence2"], labels[b["label"]]] for a, b in zip(english, other))
        answers = lambda r: [dict(text=t, answer_start=s) for t, s in zip(r["answers"]["text"], r["answers"]["answer_start"])]
        found = [dict(context=r["context"], qas=[dict(id=r["example"], question=r["question"], answers=answers(r))])
                 for r in embedded.translated_rows("squad", [code], 30).to_list()]
        path = folder / f"xtreme_translations/SQuAD/translate-train/squad.translate.train.en-{code}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(data=[dict(paragraphs=found)])), encoding="utf-8")
    return folder


def program(*args, endpoint: str, home: Path, **more) -> subprocess.CompletedProcess:
    environment = os.environ | dict(HF_ENDPOINT=endpoint, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY="1", XITCAL_COUNTS="off", NO_PROXY="127.0.0.1",
                                    HF_HUB_DISABLE_PROGRESS_BARS="1") | more
    return xitcal(*args, check=False, env=environment)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    "The finished study: its store, what the hub was asked for, and how to go on without the hub"
    place = tmp_path_factory.mktemp("xtreme")
    root, data, home, store = make_repositories(place / "hub", N), files_of_ones_own(place / "data"), place / "home", place / "store"
    made = make_encoder("xlm-roberta-large", place / "made")
    shutil.copytree(made, root / "models/FacebookAI/xlm-roberta-large")
    with Loopback(root) as hub:
        ran = program("run", *STUDY, "--data", data, "--store", store, endpoint=hub.endpoint, home=home)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        yield store, list(hub.requests), dict(endpoint=hub.endpoint, home=home, HF_HUB_OFFLINE="1"), data


def test_every_cell_of_the_grid_has_predictions_of_its_kind(done):
    cells = study_cells(done[0])
    assert cells["done"].all() and len(cells) == len(CONDITIONS) * len(TARGETS)
    table = load_predictions(done[0], split=None)
    assert set(table.column_names) >= {f.name for f in EVENT_SCHEMA}
    frame = table.select(["intermediate", "target", "language", "split", "confidence"]).to_pandas()
    assert frame.confidence.between(0, 1).all()
    for target, task in TARGETS.items():
        mine = frame[(frame.target == target) & (frame.split == "test")]
        assert set(mine.language) == set(task.languages) & set(LANGUAGES) and set(mine.intermediate) == set(CONDITIONS), target
    mined = table.select(["target", "mined", "threshold", "labels_used"]).to_pandas()
    assert set(mined[mined.mined.notna()].target) == {"bucc"} and mined[mined.target == "bucc"].mined.notna().all()
    assert set(mined.threshold.dropna()) == {1.04} and mined.labels_used.isna().all() # the hub has no sample pools to tune on
    calibration = frame[frame.split == "calibration"]
    assert set(calibration.language) == {"en"} and set(calibration.target) == {n for n, t in TARGETS.items() if not t.test_only}


def test_the_hub_was_asked_for_the_encoder_the_data_and_texts_and_for_nothing_else(done):
    files = [r for r in done[1] if r.startswith("GET") and "/resolve/" in r]
    asked = {r.split("/resolve/")[0].removeprefix("GET /").removeprefix("datasets/") for r in files}
    assert {"FacebookAI/xlm-roberta-large", "wikimedia/wikipedia", "mteb/BUCC", "rajpurkar/squad_v2", "izhx/xtreme-r-udpos"} <= asked
    assert not any(f.endswith((".py", ".bin")) for f in files)
    assert not any("train" in f for f in files if "/de/" in f or ".de/" in f and "wikipedia" not in f) # zero-shot: no training file of another language


def test_every_stage_keeps_the_commits_of_what_it_has_read(done):
    results = {p.parent.name: json.loads(p.read_text()) for p in (done[0] / "stages").glob("*/result.json")}
    starts = [r["encoder"] for r in results.values() if "encoder" in r]  # of stages that start from the hub's encoder
    assert starts and len(set(starts)) == 1 and re.fullmatch("FacebookAI/xlm-roberta-large@[0-9a-f]{40}", starts[0])
    read = {commit for r in results.values() for n in r["sources"] for commit in n["commits"]}
    assert {c.partition("@")[0] for c in read} == {s.at for found in HUB.values() for s in found} | {WIKIPEDIA.at}
    assert all(re.fullmatch(".+@[0-9a-f]{40}", c) for c in read)
    places = {place for r in results.values() for n in r["sources"] for place in n["places"]}
    assert "ccg/ccg.train" in places and any("translate-train" in place for place in places)


def test_translated_rows_and_texts_were_trained_on(done):
    manifests = [json.loads(p.read_text()) for p in (done[0] / "stages").glob("intermediate-*/manifest.json")]
    tasks = {m["title"]: m["facts"]["tasks"] for m in manifests}
    assert tasks["MNLI translated, seed 0"][0]["languages"] == ["en", "de", "ru"] and tasks["SQuAD v1.1 translated, seed 0"][0]["languages"] == ["de", "ru"]
    assert [t["name"] for t in tasks["MNLI with masked LM, seed 0"]] == ["mnli", "mlm"] and len(tasks["all tasks, seed 0"]) == len(INTERMEDIATES)
    mixed = next(m["facts"] for m in manifests if m["title"].startswith("all tasks"))
    assert mixed["sampling"] == "capped:4" and mixed["recipe"]["max_length"] == 384 # the set's own recipe for many tasks


def test_it_goes_on_offline_and_does_nothing_twice(done):
    store, _, offline, data = done
    before = {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*.parquet")}
    again = program("run", *STUDY, "--data", data, "--store", store, **offline)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*.parquet")} == before


def test_the_report_of_real_data(done, tmp_path):
    store, _, offline, data = done
    made = program("report", "--store", store, "--out", tmp_path / "report.html", XITCAL_DATA=str(data), **offline)
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "report.html").read_text()
    assert "HellaSwag" in page and "TyDiQA-GoldP" in page and "Traceback" not in page
    assert "nan points" not in page


def test_the_submission_of_real_data_is_scored(done, tmp_path):
    store, _, offline, data = done
    out, labels = tmp_path / "out", tmp_path / "labels"
    made = program("export", "--store", store, "--intermediate", "mnli", "--out", out, "--labels", labels, XITCAL_DATA=str(data), **offline)
    assert made.returncode == 0, made.stderr
    scored = program("score", "--predictions", out, "--labels", labels, "--all-languages", "--out", tmp_path / "scores.json", **offline)
    assert scored.returncode == 0, scored.stderr
    found = json.loads((tmp_path / "scores.json").read_text())
    assert set(found) == {"all_task", *GROUPS, *FOLDERS}
    bucc = load_predictions(store).to_pandas().query("target == 'bucc' and intermediate == 'mnli'")
    for code, part in bucc.groupby("language"):
        pairs = {f"{r.mined}\t{r.example}" for r in part.itertuples() if r.mined and r.margin >= r.threshold}
        assert set((out / f"bucc2018/test-{code}.tsv").read_text().splitlines()) == pairs
