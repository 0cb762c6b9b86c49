"""The command line as a user meets it."""
import re
from pathlib import Path

import pyarrow.parquet as pq
from conftest import SMALL, xitcal

from xitcal.core.schema import PREDICTION_SCHEMA
from xitcal.study.ledger import load_predictions


def test_help_tells_the_whole_story():
    text = xitcal("--help").stdout
    for command in ("tasks", "plan", "run", "report", "predictions", "calibrate", "recalibrate", "export", "score", "data"):
        assert re.search(rf"\b{command}\b", text)
        assert "--help" in xitcal(command, "--help", fresh=True).stdout
    for command in ("fit", "apply"):
        assert "--out" in xitcal("recalibrate", command, "--help").stdout
    options = xitcal("run", "--help").stdout
    for option in ("--suite", "--model", "--intermediate", "--target", "--language", "--seeds", "--method", "--store", "--config"):
        assert option in options


def test_tasks_lists_all_eighteen():
    lines = xitcal("tasks", fresh=True).stdout.strip().splitlines()
    assert len(lines) == 19
    assert any(line.startswith("xnli") and "mnli" in line for line in lines)


def test_plan_runs_nothing(tmp_path):
    out = xitcal("plan", *SMALL, cwd=tmp_path).stdout
    assert "stages" in out and "tokens" in out and "minutes" in out
    assert not list(tmp_path.iterdir())


def test_config_file_and_options_agree(tmp_path):
    config = tmp_path / "study.toml"
    config.write_text('intermediate = ["none"]\ntarget = "pawsx"\nlanguage = "sw"\nseeds = 3\ntarget-rows = 64\n')
    same = ("--intermediate", "none", "--target", "pawsx", "--language", "sw", "--seeds", "3", "--target-rows", "64")
    rate = ("--flops", 6e10) # a probe would give other times in every call
    assert xitcal("plan", *rate, "--config", config).stdout == xitcal("plan", *rate, *same).stdout


def test_second_run_does_nothing(store):
    before = {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*")}
    xitcal("run", "--store", store, *SMALL)
    assert {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*")} == before


def test_predictions_have_the_documented_schema(store, tmp_path):
    out = tmp_path / "all.parquet"
    xitcal("predictions", "--store", store, "--out", out, fresh=True)
    table = pq.read_table(out)
    assert table.schema.remove_metadata().equals(PREDICTION_SCHEMA)
    frame = table.to_pandas()
    assert set(frame["split"]) == {"test"}
    # A tagger trained on 64 rows may find no entity at all, so entity events may be missing here.
    assert set(frame["event"]) - {"entity"} == {"label", "token", "answer", "neighbour"}
    assert frame["confidence"].between(0, 1).all()
    seedless = frame[(frame["target"] == "tatoeba") & (frame["intermediate"] == "none")]
    assert seedless["seed"].isna().all() and len(seedless) > 0


def test_report_is_one_page_without_network(store, tmp_path):
    out = tmp_path / "report.html"
    xitcal("report", "--store", store, "--out", out)
    page = out.read_text()
    assert page.count("data:image/png;base64") >= 3
    assert not re.search(r"<(script|link)[^>]+(src|href)=.https?:", page)
    assert "#| " not in page and "Traceback" not in page
    assert str(store) not in page and f"<code>{Path(store).name}</code>" in page # it may be shared


def test_unknown_names_get_the_nearest_one():
    for option, wrong, right in (("--target", "xlni", "xnli"), ("--intermediate", "mnil", "mnli"), ("--language", "swahilli", "sw"),
                                 ("--suite", "embeded", "embedded"), ("--method", "ful", "full")):
        done = xitcal("plan", option, wrong, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("xitcal: Unknown") and done.stderr.count("\n") == 1
        assert repr(right) in done.stderr, done.stderr


def test_a_model_that_is_not_there_is_one_sentence():
    done = xitcal("plan", "--model", "no/such-model-folder/here", check=False)
    assert done.returncode == 2 and done.stderr.startswith("xitcal: Model") and "cannot be loaded" in done.stderr


def test_lora_and_multi_task_are_cells_of_their_own(tmp_path):
    few = ("--target", "pawsx", "--language", "sw", "--seeds", 0, "--intermediate-rows", 16, "--target-rows", 32, "--test-rows", 10)
    xitcal("run", "--store", tmp_path / "s", "--method", "full,lora", "--intermediate", "none,multi", "--tracker", "tensorboard", *few)
    frame = load_predictions(tmp_path / "s").to_pandas()
    cells = frame.groupby(["method", "intermediate"])["confidence"].mean()
    assert len(cells) == 4 and cells.nunique() == 4
    files = list((tmp_path / "s" / "trackers").rglob("events.out.tfevents.*"))
    assert any("all tasks" in file.parent.name for file in files), files # the stages' titles
    written = b"".join(file.read_bytes() for file in files)
    for name in (b"loss", b"learning_rate", b"tokens_per_second"): assert name in written


def test_an_unknown_tracker_is_one_sentence(tmp_path):
    done = xitcal("run", "--store", tmp_path / "s", "--tracker", "wandbb", "--target", "pawsx", "--language", "sw", check=False)
    assert done.returncode == 2 and "Unknown tracker" in done.stderr, done.stderr


def test_phase_2_has_variants_and_controls(tmp_path):
    few = ("--target", "pawsx,tatoeba", "--language", "sw", "--seeds", 0, "--intermediate-rows", 16, "--target-rows", 32, "--test-rows", 10)
    names = "none,mnli,mnli:mlm,mnli:translated,mnli:shuffled,own,mlm"
    xitcal("run", "--store", tmp_path / "s", "--intermediate", names, *few)
    frame = load_predictions(tmp_path / "s").to_pandas()
    cells = frame[frame.target == "pawsx"].groupby("intermediate")["confidence"].mean()
    assert set(cells.index) == set(names.split(",")) and cells.nunique() == 7  # every variant is a training of its own
    assert set(frame[frame.target == "tatoeba"].intermediate) == set(names.split(",")) - {"own"}  # retrieval has no data of its own
    for wrong, sentence in (("mnli:mml", "did you mean 'mlm'?"), ("own:mlm", "has no variants"), ("ccg:translated", "exists in English alone")):
        done = xitcal("plan", "--intermediate", wrong, "--target", "pawsx", check=False)
        assert done.returncode == 2 and sentence in done.stderr, done.stderr


def test_a_sweep_over_learning_rates_is_part_of_the_grid(tmp_path):
    few = ("--target", "pawsx", "--intermediate", "none,mnli", "--language", "en,sw", "--seeds", 0,
           "--intermediate-rows", 16, "--target-rows", 32, "--test-rows", 10)
    planned = xitcal("plan", "--learning-rate", "1e-3,3e-4", "--recipes", "xtreme", *few).stdout
    assert "[1] Phang et al. 2020" in planned or "[1] google-research/xtreme" in planned
    assert "Open: XNLI's learning rate of 3e-5" in planned and "0.0003" in planned
    xitcal("run", "--store", tmp_path / "s", "--learning-rate", "1e-3,3e-4", "--label-smoothing", .1, *few)
    cells = load_predictions(tmp_path / "s").to_pandas().groupby(["method", "intermediate"])["confidence"].mean()
    assert set(cells.index.get_level_values(0)) == {"full@0.001", "full@0.0003"} and len(cells) == 4 and cells.nunique() == 4
    refused = xitcal("run", "--store", tmp_path / "s", "--label-smoothing", .2, *few, check=False)
    assert refused.returncode == 2 and "belongs to a study with label_smoothing = 0.1" in refused.stderr
    for option, value, said in (("--recipes", "pang", "did you mean 'phang'?"), ("--learning-rate", "fast", "takes numbers"),
                                ("--sampling", "capped", "cannot be"), ("--test-rows", "many", "is a whole number or all")):
        wrong = xitcal("plan", *few, option, value, check=False)
        assert wrong.returncode == 2 and said in wrong.stderr and wrong.stderr.count("\n") == 1, wrong.stderr
