"""Loads what standard input lists and prints what came of it, as JSON; a process of its own, because the hub's address is read at import."""
import json
import os
import sys

from xitcal.core.errors import XitcalError
from xitcal.data.rows import check_rows
from xitcal.data.suites import find_suite

found = []
for wanted in json.load(sys.stdin):
    os.environ["XITCAL_COUNTS"] = wanted.get("counts", "off")
    try:
        suite = find_suite("xtreme")
        if wanted["task"] == "mlm":  # texts
            rows = suite.translated_rows("mlm", wanted["language"].split(","), wanted.get("n", 2)).to_list()
            found.append(wanted | dict(rows=rows, commits=suite.tallies["mlm", "train", "all"].commits))
            continue
        rows = check_rows(suite.rows(wanted["task"], wanted["split"], [wanted["language"]], wanted.get("n")), suite.tasks[wanted["task"]])
        tally = suite.tallies[wanted["task"], wanted["split"], wanted["language"]]
        told = {name: getattr(tally, name) for name in ("records", "left_out", "repaired", "places", "commits", "fault")}
        found.append(wanted | told | dict(rows=rows.to_list()))
    except XitcalError as error: found.append(wanted | dict(error=str(error)))
json.dump(found, sys.stdout)
