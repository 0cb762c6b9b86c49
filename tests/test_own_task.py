"""An intermediate task that a user brings, from files and in Python, with worker processes that have never heard of it."""
import re

import pandas as pd
import pytest
from conftest import xitcal

from xitcal.core.errors import XitcalError
from xitcal.data.suites import ADDED, add_task, find_suite, load_task
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import load_predictions, study_cells
from xitcal.study.options import make_study
from xitcal.study.store import Store

FEW = ("--target", "pawsx", "--language", "sw", "--seeds", 0, "--intermediate-rows", 32, "--target-rows", 32, "--test-rows", 10,
       "--calibration-rows", 10)


@pytest.fixture
def task_file(tmp_path):
    "A task file whose rows say whether an answer stands in a text"
    for split, n in (("train", 40), ("validation", 10)):
        rows = find_suite("embedded").rows("squad", split, n=n).to_pandas()
        answers = [a["text"][0] for a in rows["answers"]]
        other = answers[1:] + answers[:1]
        pairs = [dict(sentence1=c, sentence2=(a, o)[i % 2], label=int((a, o)[i % 2] in c)) for i, (c, a, o) in enumerate(zip(rows["context"], answers, other))]
        pd.DataFrame(pairs).to_csv(tmp_path / f"{split}.csv", index=False)
    path = tmp_path / "mention.toml"
    path.write_text('like = "mnli"\nname = "mention"\nlabels = ["absent", "mentioned"]\ntrain = "train.csv"\nvalidation = "validation.csv"\n')
    yield path
    ADDED.clear()


def test_the_command_line_trains_on_a_task_from_files(task_file, tmp_path):
    "A control of it included, by two workers; the same study from a configuration has nothing to do"
    store, names = tmp_path / "s", "mention,mention:shuffled"
    xitcal("run", "--store", store, "--task-file", task_file, "--intermediate", names, "--workers", 2, *FEW)
    assert study_cells(store)["done"].all()
    means = load_predictions(store).to_pandas().groupby("intermediate")["confidence"].mean()
    assert set(means.index) == set(names.split(",")) and means.nunique() == 2
    config = tmp_path / "study.toml"
    config.write_text(f'task-file = "{task_file}"\nintermediate = "{names}"\n')
    options = {name.strip("-").replace("-", "_"): value for name, value in zip(FEW[::2], FEW[1::2])}
    plan = make_plan(make_study(config, **options))
    assert all(Store(store).published(name) for name, stage in plan.stages.items() if stage.phase != "pretrained")


def test_without_its_file_the_name_is_unknown(task_file):
    for options, sentence in ((dict(intermediate="mention"), "Unknown intermediate task 'mention'"),
                              (dict(task_file="gone.toml"), "cannot be read"),
                              (dict(task_file=str(task_file), intermediate="mention:translated"), "exists in English alone"),
                              (dict(task_file=str(task_file), intermediate="mentoin"), "did you mean 'mention'?")):
        with pytest.raises(XitcalError, match=re.escape(sentence)):
            make_plan(make_study(target="pawsx", **options))


def test_other_rows_are_another_stage_and_built_in_stages_stay(task_file):
    study = Study(intermediates=("none", "mnli", "multi"), targets=("pawsx",), seeds=(0,))
    before = set(make_plan(study).stages)
    task = load_task(task_file)
    assert set(make_plan(study).stages) == before  # `multi` is still the nine
    own = Study(intermediates=("mention",), targets=("pawsx",), seeds=(0,))
    first = set(make_plan(own).stages)
    add_task(task, [dict(sentence1="Paris", sentence2="Paris", label=1)], [dict(sentence1="Paris", sentence2="Oslo", label=0)])
    second = set(make_plan(own).stages)
    assert {n.partition("-")[0] for n in first - second} == {"intermediate", "target", "prediction"}
