"""Mined tasks from the data to the report: BUCC from pools of one's own, a fixed and a tuned threshold, old predictions, the submission."""
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from xitcal.core.errors import XitcalError
from xitcal.core.schema import EVENT_COLUMNS, MINED, PREDICTION_SCHEMA
from xitcal.data.suites import find_suite
from xitcal.data.xtreme.suite import XtremeSuite, check_data
from xitcal.inference.results import read_results
from xitcal.predictions.events import read_events
from xitcal.predictions.scores import example_scores, score_table
from xitcal.report.html import results_notebooks, run_notebook
from xitcal.report.result_sentences import seeds_words
from xitcal.report.sentences import made_words
from xitcal.study.export import export_xtreme
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, prediction_tables, study_cells, study_tasks
from xitcal.study.plan_text import estimate, recipe_text
from xitcal.study.runner import run_study
from xitcal.study.store import Store
from xitcal.study.submission import score_submission
from xitcal.study.summarise import store_results

EMBEDDED = find_suite("embedded")
STUDY = Study(suite="xtreme", models=(str(EMBEDDED.encoder()),), intermediates=("none",), targets=("bucc",), languages=("de", "fr"), seeds=(0,), test_rows=None,
              calibration_rows=0)


def pools(folder: Path, code: str, split: str, rows: list[dict]) -> None:
    "BUCC's files of two pools and their pairs; the embedded suite's queries are the English side"
    folder.mkdir(parents=True, exist_ok=True)
    sides = {"en": [r for r in rows if r["side"] == "query"], code: [r for r in rows if r["side"] == "pool"]}
    ids = {r["example"]: f"{c}-{i:04d}" for c, side in sides.items() for i, r in enumerate(side)}
    for c, side in sides.items(): (folder / f"{code}-en.{split}.{c}").write_text("".join(f"{ids[r['example']]}\t{r['text']}\n" for r in side), encoding="utf-8")
    gold = "".join(f"{ids[r['gold']]}\t{ids[r['example']]}\n" for r in sides["en"] if r["gold"])
    (folder / f"{code}-en.{split}.gold").write_text(gold, encoding="utf-8")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    "A study of BUCC in two languages, of which German has sample pools"
    place = tmp_path_factory.mktemp("mining")
    rows = {code: EMBEDDED.rows("bucc", "test", [code], 60).to_list() for code in ("de", "fr")}
    half = lambda rows, first: [r for r in rows if (int(r["example"].split("-")[3]) < 30) == first]
    for code, found in rows.items(): pools(place / "data/bucc2018", code, "test", half(found, False))
    pools(place / "data/bucc2018", "de", "dev", half(rows["de"], True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XITCAL_DATA", str(place / "data"))
        run_study(STUDY, place / "store", 1, progress=False)
        yield place


@pytest.fixture
def data(done, monkeypatch):
    monkeypatch.setenv("XITCAL_DATA", str(done / "data"))
    return done


def scores(store):
    events = read_events(prediction_tables(store, [*EVENT_COLUMNS, "prediction_text"]))
    return events, score_table(example_scores(events, study_tasks(store)), tasks=study_tasks(store)).set_index(["language", "metric"])


def test_pairs_and_thresholds_are_stored_with_whose_labels_they_used(data):
    table = load_predictions(data / "store").to_pandas()
    assert table.mined.notna().all() and (table.mined != "").any()
    by = table.groupby("language")
    assert set(by.get_group("de").labels_used) == {"target-language sample"} and by.get_group("fr").labels_used.isna().all()
    assert by.threshold.nunique().eq(1).all()
    assert by.threshold.first()["fr"] == 1.04 and by.threshold.first()["de"] != 1.04
    for _, part in by: assert part.mined[part.mined != ""].is_unique  # a sentence is given away once
    assert (table.margin.isna() == (table.mined == "")).all()
    nearest = table.prediction_text == table.label_text
    assert (table.correct == (nearest & (table.label_text != ""))).all() and table.confidence.between(0, 1).all()  # events are of nearest neighbours


def test_f1_is_of_mined_pairs_at_or_above_the_threshold(data):
    table, (_, found) = load_predictions(data / "store").to_pandas(), scores(data / "store")
    for language, part in table.groupby("language"):
        handed = {(r.mined, r.example) for r in part.itertuples() if r.mined and r.margin >= r.threshold}
        gold = {(r.label_text, r.example) for r in part.itertuples() if r.label_text}
        assert found.value[language, "f1"] == pytest.approx(2 * len(handed & gold) / (len(handed) + len(gold)), abs=1e-12)
        assert found.value[language, "accuracy"] == pytest.approx(part.correct[part.label_text != ""].mean(), abs=1e-12)
    assert found.tuned.to_dict() == {("de", "f1"): True, ("de", "accuracy"): False, ("fr", "f1"): False, ("fr", "accuracy"): False}
    assert 0 < found.value["de", "f1"] < 1


def test_the_tuned_threshold_is_the_samples_best(data):
    "By every margin of the sample in turn"
    from xitcal.data.tasks import with_recipes
    from xitcal.training.models import load_tokenizer, load_trained
    from xitcal.training.predict import predict
    suite = find_suite("xtreme")
    task, path = with_recipes(suite.tasks, "phang")["bucc"], EMBEDDED.encoder()
    sample = predict(load_trained(path, task), load_tokenizer(path), task, suite.rows("bucc", "validation", ["de"]), task.recipe).to_pandas()
    gold = (sample.label_text != "").sum()
    f1 = {m: 2 * ((sample.margin >= m) & (sample.mined == sample.label_text) & (sample.label_text != "")).sum() / ((sample.margin >= m).sum() + gold)
          for m in sample.margin.dropna()}
    used = load_predictions(data / "store").to_pandas().query("language == 'de'").threshold.iloc[0]
    at_used = 2 * ((sample.margin >= used) & (sample.mined == sample.label_text) & (sample.label_text != "")).sum() / ((sample.margin >= used).sum() + gold)
    assert at_used == pytest.approx(max(f1.values()), abs=1e-12)


def test_reports_say_so(data):
    events, _ = scores(data / "store")
    said = made_words(events, "store")
    assert "F1 of BUCC 2018 in de used labels of that language" in said and "not zero-shot" in said
    assert "used labels" not in made_words(events[events.language == "fr"], "store")
    results = read_results(store_results(data / "store", progress=False))
    assert "F1 of BUCC 2018 in de used labels" in seeds_words(results)
    assert "1.04, tuned on labelled samples in de" in recipe_text(make_plan(STUDY))


def test_the_page_of_scores_marks_it(data, started_kernels):
    path = next(p for p in results_notebooks() if p.stem == "01_scores")
    page = str(run_notebook(path, data / "store"))
    tuned, fixed = (f"{100 * scores(data / 'store')[1].value[code, 'f1']:.1f}" for code in ("de", "fr"))
    assert f"{tuned}‡" in page and f"{fixed}‡" not in page and "F1 of BUCC 2018 in de used labels of that language" in page


def test_the_submission_holds_mined_pairs_and_scores_the_same(data, tmp_path):
    export_xtreme(data / "store", tmp_path / "out", tmp_path / "labels")
    table, (_, found) = load_predictions(data / "store").to_pandas(), scores(data / "store")
    for language, part in table.groupby("language"):
        written = (tmp_path / f"out/bucc2018/test-{language}.tsv").read_text().splitlines()
        assert set(written) == {f"{r.mined}\t{r.example}" for r in part.itertuples() if r.mined and r.margin >= r.threshold} and len(written) < len(part)
    scored = score_submission(tmp_path / "out", tmp_path / "labels", every=True, partial=True)
    there = scored.query("metric == 'f1' and folder == 'bucc2018'").set_index("language").value
    for language in ("de", "fr"): assert there[language] == pytest.approx(100 * found.value[language, "f1"], abs=1e-9)


def test_without_samples_nothing_is_tuned_and_it_is_another_stage(data, monkeypatch, tmp_path):
    for file in (data / "data/bucc2018").glob("*.test.*"):
        (tmp_path / "bucc2018").mkdir(exist_ok=True)
        (tmp_path / "bucc2018" / file.name).write_bytes(file.read_bytes())
    name = lambda: next(s.name for s in make_plan(STUDY).stages.values() if s.phase == "prediction")
    tuned = name()
    monkeypatch.setenv("XITCAL_DATA", str(tmp_path))
    assert name() != tuned and "sample" not in find_suite("xtreme").tasks["bucc"].options
    with pytest.raises(XitcalError, match="never trained, so it has no validation rows"): XtremeSuite(tmp_path).rows("bucc", "validation", ["de"])


def test_the_plan_counts_the_samples(data):
    suite = find_suite("xtreme")
    test, sample = (len(suite.rows("bucc", split, ["de"])) for split in ("test", "validation"))
    assert estimate(make_plan(STUDY)).examples.tolist() == [2 * test + sample]


def test_data_check_loads_the_samples(data, tmp_path):
    table = check_data(XtremeSuite(data / "data"), "bucc", "de,fr")
    assert {(r.split, r.language) for r in table.itertuples()} == {("test", "de"), ("test", "fr"), ("validation", "de")} and set(table.found) == {"yes"}
    declared = {("test", "de"): "9,580 gold", ("test", "fr"): "9,086 gold", ("validation", "de"): "1,038 gold"}
    assert table.set_index(["split", "language"]).declared.to_dict() == declared
    assert all(" items in column 'gold' here, " in remark for remark in table.remark)
    pools(tmp_path / "bucc2018", "de", "dev", EMBEDDED.rows("bucc", "test", ["de"], 5).to_list())
    (tmp_path / "bucc2018/de-en.dev.en").unlink()
    assert "de-en.dev" in check_data(XtremeSuite(tmp_path), "bucc", "de", ["validation"]).problem.iloc[0]


def test_predictions_from_before_the_columns_are_read(tmp_path):
    "Old files of the embedded suite beside new ones; its BUCC is not mined"
    store = tmp_path / "store"
    study = Study(intermediates=("none",), targets=("bucc", "tatoeba"), languages=("de",), seeds=(0,), test_rows=20, calibration_rows=0)
    run_study(study, store, 1, progress=False)
    table, (_, before) = load_predictions(store), scores(store)
    assert [table[c].null_count for c in MINED] == [table.num_rows] * 4
    bucc = next(c.stage for c in study_cells(store).itertuples() if c.target == "bucc")
    place = Store(store, create=False)
    old = pq.read_table(place.folder(bucc) / "predictions.parquet").drop_columns(list(MINED))
    facts = {k: v for k, v in place.manifest(bucc).items() if k in ("title", "facts", "inputs")}
    place.discard(bucc)
    with place.publishing(bucc, facts) as folder: pq.write_table(old, Path(folder) / "predictions.parquet")
    assert load_predictions(store).schema.equals(PREDICTION_SCHEMA) and load_predictions(store).equals(table)
    assert load_predictions(store, ["target", "mined", "margin"]).column_names == ["target", "mined", "margin"]
    _, after = scores(store)
    assert after.value.equals(before.value) and not after.tuned.any()
    export_xtreme(store, tmp_path / "out")
    assert len((tmp_path / "out/bucc2018/test-de.tsv").read_text().splitlines()) == 20  # every query's nearest neighbour
