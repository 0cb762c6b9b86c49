"""Several processes under `accelerate launch` do every stage together (here two on the CPU; on GPUs it is the same code)."""
import subprocess
import sys

import numpy as np
from conftest import PROGRAM, xitcal

from xitcal.study.ledger import load_predictions
from xitcal.study.store import Store

SMALL = ["--intermediate", "none,mnli", "--target", "pawsx,tatoeba", "--language", "en,sw", "--seeds", "0", "--intermediate-rows", "64",
         "--target-rows", "64", "--test-rows", "20"]


def test_two_processes_train_one_model(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    xitcal("run", "--store", alone, "--workers", 1, *SMALL)
    done = subprocess.run([sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
                           "--mixed_precision", "no", "--dynamo_backend", "no", PROGRAM, "run", "--store", str(together), *SMALL],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (load_predictions(s).to_pandas() for s in (alone, together))
    keys = ["intermediate", "target", "language", "example"]
    assert (a[keys] == b[keys]).all(axis=None)
    # Retrieval without intermediate training is the same computation; trained models differ by dropout alone.
    same = (a["intermediate"] == "none") & (a["target"] == "tatoeba")
    np.testing.assert_allclose(a[same]["confidence"], b[same]["confidence"], rtol=1e-4)
    place = Store(together)
    facts = [place.manifest(p.name) for p in (together / "stages").iterdir()]
    assert len(facts) == len(list((alone / "stages").iterdir()))
