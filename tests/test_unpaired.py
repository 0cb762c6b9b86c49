"""Stores with missing seeds, unpaired examples, and baselines with other examples: what is paired is used, the rest is named and counted."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xitcal.inference.block_sums import block_table, cell_table
from xitcal.inference.paired import ONE_SIDED, paired_change
from xitcal.inference.results import KEYS_OF_RESULTS, read_results, read_seeds, write_results
from xitcal.inference.seeds import change_over_seeds, language_changes, sums_of
from xitcal.predictions.events import event_statistics, toy_predictions
from xitcal.report.result_sentences import missing_pairs_words, unpaired_words

FULL = Path(__file__).parents[1] / "studies" / "full"


@pytest.fixture(scope="module")
def toy():
    return event_statistics(toy_predictions(["xnli", "udpos"], ("none", "mnli", "qqp"), seeds=(0, 1), n=90))


def less(toy, examples, condition="mnli", seed=None, language="sw", target="xnli"):
    "The toy without some examples of one condition"
    gone = (toy.intermediate == condition) & (toy.language == language) & (toy.target == target) & toy.example.isin(examples)
    return toy[~(gone & ((toy.seed == seed) | (seed is None)))].reset_index(drop=True)


def test_examples_that_one_model_saw_are_counted_and_the_others_compared(toy):
    change, dropped = paired_change(less(toy, ["xnli-3", "xnli-4"]), draws=20)
    assert dropped.to_numpy().tolist() == [["mnli", "xnli", seed, "sw", 2, ONE_SIDED] for seed in (0, 1)]
    unpaired = change.groupby(["target", "intermediate"], observed=True).unpaired.unique().map(list).to_dict()
    assert unpaired == {("xnli", "mnli"): [4], ("xnli", "qqp"): [0], ("udpos", "mnli"): [0], ("udpos", "qqp"): [0]}
    both = paired_change(toy[~((toy.example.isin(["xnli-3", "xnli-4"])) & (toy.language == "sw"))].reset_index(drop=True), draws=20)[0]
    keys = ["intermediate", "target", "language", "statistic"]
    one, two = (t[(t.target == "xnli") & (t.intermediate == "mnli")].set_index(keys).change.sort_index() for t in (change, both))
    pd.testing.assert_series_equal(one, two)
    whole = paired_change(toy, draws=20)[0]  # a condition that lacks nothing is compared on everything
    one, two = (t[(t.target == "xnli") & (t.intermediate == "qqp")].set_index(keys).change.sort_index() for t in (change, whole))
    pd.testing.assert_series_equal(one, two)


def test_a_baseline_that_lost_examples_loses_them_for_every_condition(toy):
    change, dropped = paired_change(less(toy, ["xnli-7"], condition="none", seed=1), draws=20)
    assert dropped[["intermediate", "seed", "examples"]].to_numpy().tolist() == [["mnli", 1, 1], ["qqp", 1, 1]]
    assert (change[change.target == "xnli"].unpaired == 1).all()


def test_a_baseline_without_a_seed_loses_what_any_seed_lacks():
    base = event_statistics(toy_predictions(["tatoeba"], ("none",), ["de", "sw"], [None], 60)).astype({"seed": "Int64"})
    after = event_statistics(toy_predictions(["tatoeba"], ("mnli",), ["de", "sw"], [0, 1], 60)).astype({"seed": "Int64"})
    names = sorted(set(after.example[after.language == "sw"].astype(str)))
    cut = after[~((after.seed == 1) & (after.language == "sw") & (after.example.astype(str) == names[0]))]
    both = pd.concat([base, cut], ignore_index=True).astype({c: "category" for c in ("intermediate", "language", "target", "event", "example")})
    change, dropped = paired_change(both, draws=20)
    assert dropped.seed.tolist() == [0, 1] and (dropped.examples == 1).all() and set(dropped.reason) == {ONE_SIDED}
    assert set(change.language) == {"de", "sw", "others"} and set(change.seeds) == {"0, 1"}


def test_no_example_in_common_is_no_change_and_says_so(toy):
    other = toy.assign(example=toy.example.astype(str) + toy.intermediate.astype(str))
    change, dropped = paired_change(other[other.target == "xnli"].reset_index(drop=True), draws=10)
    assert change.empty and set(dropped.reason) == {"the two models saw different examples"} and (dropped.examples == 90).all()


def test_blocks_of_other_examples_are_left_out_of_all_conditions_and_counted(toy):
    whole, cut = sums_of(block_table(toy)), sums_of(block_table(less(toy, ["xnli-3"], seed=1)))
    assert whole.unpaired.empty and unpaired_words(whole) == ""
    row = cut.unpaired.iloc[0]
    assert (len(cut.unpaired), row.intermediate, row.seed, row.target, row.language, row.blocks) == (1, "mnli", 1, "xnli", "sw", 1)
    n = cut.values["n"][:, 1, cut.targets.index("xnli"), cut.languages.index("sw"), 0]
    assert (n == 90 - row.examples).all() and 0 < row.examples < 20
    same = whole.values["correct"] == cut.values["correct"]
    place = 1, cut.targets.index("xnli"), cut.languages.index("sw")
    assert same[:, 0].all() and (~same[(slice(None), *place)]).any()
    assert f"**{row.examples} examples**" in unpaired_words(cut) and "mnli → xnli in sw, seed 1" in unpaired_words(cut)
    table = change_over_seeds(cut, "signed_ce").query("target == 'xnli'").set_index(["intermediate", "language"])
    assert table.unpaired.to_dict() == {("mnli", "others"): row.examples, ("qqp", "others"): row.examples, ("mnli", "en"): 0, ("qqp", "en"): 0}
    assert (table.missing_seeds == "").all()


def test_a_condition_that_saw_half_the_examples_loses_that_seed_and_the_others_do_not(toy):
    half = sums_of(block_table(less(toy, [f"xnli-{i}" for i in range(45)], seed=1)))
    assert half.unpaired.left_out.tolist() == ["the condition"]
    table = change_over_seeds(half, "signed_ce").query("target == 'xnli' and language == 'others'").set_index("intermediate")
    assert table.missing_seeds.to_dict() == {"mnli": "1", "qqp": ""} and table.seeds.to_dict() == {"mnli": "0", "qqp": "0, 1"}
    assert table.unpaired.to_dict() == {"mnli": 90, "qqp": 0}


def test_a_missing_seed_is_named_and_the_change_is_that_of_the_others(toy):
    blocks = block_table(toy)
    lost = blocks[~((blocks.intermediate == "qqp") & (blocks.seed == 0) & (blocks.target == "udpos"))]
    fewer, one = (change_over_seeds(sums_of(b), "nll_calibration") for b in (lost, blocks[blocks.seed == 1]))
    row, alone = (t.query("intermediate == 'qqp' and target == 'udpos' and language == 'others'").iloc[0] for t in (fewer, one))
    assert (row.seeds, row.missing_seeds) == ("1", "0")
    for column in ("change", "low", "high", "without"):
        assert row[column] == pytest.approx(alone[column])
    assert (fewer.missing_seeds == "").sum() == len(fewer) - 2
    each = language_changes(sums_of(lost), "signed_ce", ["qqp"])
    assert set(each.missing_seeds[each.target == "udpos"]) == {"0"} and set(each.missing_seeds[each.target == "xnli"]) == {""}


def write(folder, seed, events, prints):
    "Results of one seed, with or without fingerprints"
    mine = events[events.seed == seed]
    blocks = block_table(mine) if prints else block_table(mine).drop(columns=["examples", "fingerprint"])
    tables = {k: t.assign(setting="full") for k, t in dict(blocks=blocks, cells=cell_table(mine)).items()}
    about = dict(seed=seed, command="xitcal run --store mine", settings=dict(full=dict(suite="embedded")), planned=dict(full=[]))
    write_results({k: t.astype({c: "category" for c in KEYS_OF_RESULTS if c in t}) for k, t in tables.items()}, about, folder)


def test_results_made_before_fingerprints_are_read_beside_those_with_them(toy, tmp_path):
    cut = less(less(toy, ["xnli-3"], seed=0), ["xnli-3"], seed=1)
    write(tmp_path, 0, cut, False)
    write(tmp_path, 1, cut, True)
    results = read_results(tmp_path)
    assert results.sums.unpaired.seed.tolist() == [1]  # of seed 0 nothing is known
    assert "left out" in missing_pairs_words(results) and "seed 1" in missing_pairs_words(results)


def test_the_committed_results_are_read_as_they_are():
    blocks = read_seeds(FULL, "blocks")
    assert len(blocks) and blocks.seed.dropna().nunique() >= 4
    sums = read_results(FULL).sums
    assert sums.unpaired.empty and np.isfinite(sums.values["n"]).any()
    table = change_over_seeds(sums, "signed_ce")
    assert (table.missing_seeds == "").mean() > .5 and (table.unpaired == 0).all()
