"""One call from a store, or from events, to the table of estimates and changes."""
import pandas as pd
import pytest
from test_recalibration import write_store

from xitcal.core.errors import XitcalError
from xitcal.inference.block_sums import block_table
from xitcal.inference.seeds import change_over_seeds, sums_of
from xitcal.predictions.events import read_events
from xitcal.study.ledger import load_predictions, study_tasks
from xitcal.study.tidy import TIDY, tidy_results


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "store", ["none", "mnli", "squad"])


@pytest.fixture(scope="module")
def table(store):
    return tidy_results(store, ("signed_ce", "nll_calibration"), draws=5, progress=False)


def test_a_store_and_its_events_say_the_same(store, table):
    events = read_events(load_predictions(store))
    same = tidy_results(events, ("signed_ce", "nll_calibration"), draws=5, tasks=study_tasks(store), progress=False)
    keys = ["what", "scope", "intermediate", "target", "language", "seed", "event", "estimate", "inference"]
    one, two = (t.sort_values(keys).reset_index(drop=True)[[*keys, "value"]] for t in (table, same))
    pd.testing.assert_frame_equal(one, two)
    assert tuple(table) == TIDY


def test_every_cell_is_estimated_and_every_change_made(store, table):
    cells = table[table.what == "estimate"].groupby(["target", "intermediate", "seed", "language"]).size()
    assert len(cells) == 2 * 3 * 2 * 3 and set(cells) == {10}
    assert set(table.scope[table.what == "change"]) == {"language", "target", "overall"}
    sums = sums_of(block_table(read_events(load_predictions(store))), study_tasks(store))
    theirs = change_over_seeds(sums, "nll_calibration").set_index(["language", "target", "intermediate"])
    rows = table[(table.scope == "target") & (table.estimate == "nll_calibration")]
    assert len(rows) == 4
    for row in rows.itertuples():
        mine = theirs.loc[("others", row.target, row.intermediate)]
        assert (row.value, row.low, row.high, row.p) == pytest.approx((mine.change, mine.low, mine.high, mine.p))
    overall = table[(table.scope == "overall") & (table.estimate == "signed_ce") & (table.inference == "seeds and examples")].set_index("intermediate")
    parts = table[(table.scope == "target") & (table.estimate == "signed_ce")]
    assert overall.value["mnli"] == pytest.approx(parts[parts.intermediate == "mnli"].value.mean())
    assert overall.value["all"] == pytest.approx(parts.value.mean())


def test_a_store_without_predictions_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(XitcalError, match="holds no study yet|no store"):
        tidy_results(tmp_path / "nothing", progress=False)
