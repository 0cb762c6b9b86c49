"""What English intermediate-task training does to the calibration of zero-shot cross-lingual predictions.

The names most people need are offered here and loaded when they are asked for: `from xitcal import Study, run_study, calibrate`."""
from importlib import import_module

__version__ = "0.2.0"

_HOMES = {
    "core.errors": ["XitcalError"],
    "data.languages": ["LANGUAGES"],
    "data.tasks": ["INTERMEDIATES", "TARGETS", "Recipe", "Task"],
    "data.suites": ["find_suite"],
    "predictions.events": ["event_statistics", "read_events"],
    "predictions.scores": ["example_scores", "score_table"],
    "calibration.tables": ["estimate_table"],
    "calibration.reliability": ["reliability_table"],
    "calibration.recalibrators": ["RECALIBRATORS", "fit_temperature"],
    "calibration.regimes": ["recalibrate"],
    "calibration.prediction_files": ["read_file"],
    "calibration.calibrate": ["calibrate", "compare"],
    "calibration.repair": ["Recalibration", "before_after"],
    "calibration.evaluation_logs": ["read_predictions"],
    "inference.paired": ["paired_change"],
    "study.grid": ["Study", "default_study", "make_plan"],
    "study.ledger": ["load_predictions", "study_tasks"],
    "study.runner": ["run_study"],
    "study.tidy": ["tidy_results"],
    "report.html": ["write_report"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    "Load a name from the module it lives in (PEP 562)"
    if name not in _HOME:
        raise AttributeError(f"module 'xitcal' has no attribute {name!r}")
    return getattr(import_module(f"xitcal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
