"""Loads what standard input lists and prints what came of it, as JSON; a process of its own, because the hub's address is read at import."""
import json
import os
import sys

from xitcal.languages import XitcalError
from xitcal.rows import check_rows
from xitcal.suites import find_suite

found = []
for wanted in json.load(sys.stdin):
    os.environ["XITCAL_COUNTS"] = wanted.get("counts", "off")
    try:
        suite = find_suite("xtreme")
        rows = check_rows(suite.rows(wanted["task"], wanted["split"], [wanted["language"]], wanted.get("n")), suite.tasks[wanted["task"]])
        tally = suite.tallies[wanted["task"], wanted["split"], wanted["language"]]
        found.append(wanted | dict(rows=rows.to_list(), records=tally.records, left_out=tally.left_out, repaired=tally.repaired, places=tally.places))
    except XitcalError as error: found.append(wanted | dict(error=str(error)))
json.dump(found, sys.stdout)
