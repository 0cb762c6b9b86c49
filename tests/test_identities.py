"""What a move of code may not change: the names of stages, and the numbers of committed tables.

Stores that exist find their stages by these names. `python tests/test_identities.py > tests/identities.json` writes the record again, where a change
of them is wanted."""
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xitcal.study.grid import default_study, make_plan
from xitcal.study.protocol import FULL, SECOND, SUBSETS, TRAINED_OTHERWISE

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests" / "identities.json"
REAL = default_study("xtreme")
REAL = replace(REAL, intermediates=tuple(name for name in REAL.intermediates if not name.startswith("ccg"))) # licensed, in nobody's clone
STUDIES = {"default": default_study(), "real": REAL, "full": FULL, "second": SECOND, **SUBSETS, **TRAINED_OTHERWISE,
           "real, more models": replace(REAL, models=("xlm-roberta-base", "xlm-roberta-large"), methods=("full", "lora"), learning_rates=(1e-5,)),
           "real, XTREME's recipes": replace(REAL, recipes="xtreme")}


def digest(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def stages() -> dict[str, dict]:
    "Number of stages and cells of each study, and a digest of their names"
    plans = {name: make_plan(study) for name, study in STUDIES.items()}
    return {name: dict(stages=len(p.stages), cells=len(p.cells), names=digest(p.stages), grid=digest(map(repr, p.cells))) for name, p in plans.items()}


def tables() -> dict[str, str]:
    "A digest of the values of every committed table, whatever its folder is called"
    folder = ROOT / ("studies" if (ROOT / "studies").is_dir() else "data")
    found = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix in (".csv", ".parquet"):
            table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
            rows = pd.util.hash_pandas_object(table.astype({c: str for c in table.select_dtypes("category")}), index=False)
            found[path.relative_to(folder).as_posix()] = digest([*table.columns, *map(str, rows)])
    return found


def test_stages_have_the_names_they_had():
    assert stages() == json.loads(RECORD.read_text())["stages"]


def test_committed_tables_hold_the_numbers_they_held():
    held, now = json.loads(RECORD.read_text())["tables"], tables()
    assert {name: now.get(name) for name in held} == held  # tables of later studies may join them


if __name__ == "__main__":
    json.dump(dict(stages=stages(), tables=tables()), sys.stdout, indent=1)
    print()
