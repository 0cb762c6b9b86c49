"""How often a training is saved, on a clock of the test's own: a step takes a second, a checkpoint as long as its disk."""
from dataclasses import replace

import pytest

from xitcal.data.suites import find_suite
from xitcal.training import trainer as training
from xitcal.training.trainer import Material, Options, Training


@pytest.mark.parametrize("seconds, steps", [(0, list(range(2, 25, 2))), (.25, [2, 8, 14, 20]), (5, [2])])
def test_a_slow_disk_is_given_time(seconds, steps, tmp_path, monkeypatch):
    suite, clock, saved = find_suite("embedded"), [0.], []
    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    task = suite.tasks["mnli"]
    recipe = replace(task.recipe, batch_size=4, epochs=1., evaluate_every=0)
    made = Training(suite.encoder(), [Material(task, suite.rows("mnli", "train", ["en"], n=96))], recipe, 0, tmp_path, Options(save_seconds=1.))

    def step():
        made.done, clock[0] = made.done + 1, clock[0] + 1
        return 0.

    def save():
        saved.append(made.done)
        clock[0] += seconds
    monkeypatch.setattr(made, "step", step)
    monkeypatch.setattr(made, "save", save)
    made.run()
    assert len(made.steps) == 24 and saved == steps
