"""For processes that tests start: pauses of a second or more last a fiftieth of it, and are summed up in the file IMPATIENT_LOG.

Clients of the hub wait longer and longer between their tries. Tests ask how often they try and what they say then, not that a clock runs."""
import os
import time

_sleep = time.sleep


def sleep(seconds: float) -> None:
    if seconds < 1: return _sleep(seconds)
    if log := os.environ.get("IMPATIENT_LOG"):
        with open(log, "a") as file: file.write(f"{seconds}\n")
    _sleep(seconds / 50)


time.sleep = sleep
