"""The table of both precisions, its words and its page: every target and kind is there, and the page says what the table says."""
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from xitcal.data.suites import find_suite
from xitcal.data.tasks import TARGETS
from xitcal.report.precision import CHANGES, choice_words, finding_words, lacking_words, precision_rows, read_precision, sure_words

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import prediction_precision as benchmark  # noqa: E402


@pytest.fixture(scope="module")
def table(): return read_precision(ROOT / "benchmarks" / "prediction_precision.csv")


def test_every_target_of_the_embedded_suite_is_there_with_all_measures(table):
    mine = table[table.encoder == "embedded"]
    assert set(mine.target) == set(TARGETS) and set(mine.kind) == {"classification", "tagging", "answers", "retrieval"}
    wanted = {"changed", "moved", "moved_most", "seconds", "ece_15", *benchmark.PAIRED}
    assert all(set(part.measure) == wanted for _, part in mine.groupby(["model", "target"]))
    assert not table.duplicated([*benchmark.KEY, "measure"]).any() and (table.decisions > 0).all()


def test_a_real_encoder_is_there(table):
    real = table[table.encoder != "embedded"]
    assert {"multilingual-e5-small"} == set(real.encoder) and len(set(real.target)) >= 2


def test_models_have_learnt(table):
    "Accuracy of embedded targets is well above chance; where it is not, a page on confidence would say nothing"
    accuracy = table[(table.encoder == "embedded") & (table.measure == "accuracy")].set_index("target").fp32
    chance = {name: 1 / max(2, len(task.labels)) if task.kind == "classification" else .1 for name, task in find_suite("embedded").tasks.items()}
    assert all(accuracy[name] > chance[name] + .02 for name in accuracy.index if name != "panx"), accuracy  # PAN-X: share of right entities


def test_intervals_hold_their_changes_and_shares_are_shares(table):
    known = table.dropna(subset="low")
    assert ((known.low <= known.change + 1e-9) & (known.change <= known.high + 1e-9)).all()
    assert table[table.measure == "changed"].change.between(0, 1).all()
    both = table.dropna(subset=["fp32", "bf16", "change"])
    assert (both.bf16 - both.fp32 - both.change).abs().max() < 1e-5


def test_the_page_says_what_the_table_says(table):
    page = json.loads((ROOT / "nbs" / "results" / "trust" / "08_prediction_precision.ipynb").read_text())
    outputs = [o["data"] for c in page["cells"] for o in c.get("outputs", []) if "data" in o]
    shown = "".join("".join(data.get("text/markdown", "")) for data in outputs)
    for words in (finding_words(table), sure_words(table), lacking_words(table), choice_words(table)):
        assert words in shown
    assert "".join(outputs[0]["text/markdown"]).startswith("**")  # the finding comes first
    assert any("image/png" in data for data in outputs)


def test_the_benchmark_compares_a_model_with_itself(tmp_path, monkeypatch):
    task = find_suite("embedded").tasks["tatoeba"]
    model = benchmark.Model(find_suite("embedded").encoder(), "the encoder", task, "embedded", ["de", "sw"], 20)
    rows = benchmark.compared(model, {"tatoeba": task}).set_index("measure")
    assert rows.change["moved"] > 0 and rows.fp32["seconds"] > 0 and set(rows.languages) == {2}
    assert rows.change["signed_ce"] == pytest.approx(rows.bf16["signed_ce"] - rows.fp32["signed_ce"])
    plain = benchmark.predicted(model, False)[0]
    same = benchmark.decisions([plain, plain], task)
    assert [r["change"] for r in benchmark.of_decisions(same)] == [0, 0, 0]
    events = plain.to_pandas()
    events.loc[events.index[events.language == "de"][:3], "prediction_text"] = "another"
    changed = benchmark.decisions([plain, type(plain).from_pandas(events, schema=plain.schema)], task)
    assert benchmark.of_decisions(changed)[0]["change"] == pytest.approx(3 / len(same))


def test_rows_have_a_column_for_every_change(table):
    shown = precision_rows(table)
    assert len(shown) == len(table[benchmark.KEY].drop_duplicates()) and {name for name, *_ in CHANGES.values()} < set(shown)
    assert pd.to_numeric(shown["times as fast"]).between(.2, 20).all()
