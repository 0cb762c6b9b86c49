"""Stores with made-up predictions: every stage that predicts is there, and nothing was trained."""
import json
from pathlib import Path

import pyarrow as pa

from xitcal.core.schema import EVENT_SCHEMA
from xitcal.data.tasks import TARGETS
from xitcal.predictions.events import toy_predictions
from xitcal.study.grid import Study, make_plan
from xitcal.study.ledger import record_study
from xitcal.study.stages import write_predictions
from xitcal.study.store import Store


def with_entities(table: pa.Table) -> pa.Table:
    "The words of a toy tagger, and each of them as an entity of its own once more"
    units = [f"{u}:{int(u) + 1}:LOC" for u in table["unit"].to_pylist()]
    entities = table.set_column(table.column_names.index("event"), "event", pa.array(["entity"] * len(table)))
    return pa.concat_tables([table, entities.set_column(entities.column_names.index("unit"), "unit", pa.array(units))])


def toy_events(cell, codes, n: int, split: str) -> pa.Table:
    "Made-up events of one cell in the schema of a kind, with `split`"
    table = toy_predictions([cell.target], [cell.intermediate], codes, [cell.seed or 0], n)
    if TARGETS[cell.target].metric == "f1" and cell.target == "panx":
        table = with_entities(table)
    lacking = [f.name for f in EVENT_SCHEMA if f.name not in table.column_names]
    for name in lacking:
        table = table.append_column(name, pa.nulls(len(table), EVENT_SCHEMA.field(name).type))
    table = table.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)
    return table.add_column(0, "split", pa.array([split] * len(table)))


def made_store(path: Path, study: Study, n: int = 40, change=lambda events, cell: events) -> Path:
    "A store in which all predictions of a study are there; `change` may alter the events of a cell"
    store, plan = Store(path), make_plan(study)
    record_study(store, plan)
    cells = {c.stage: c for c in plan.cells}
    for stage in (s for s in plan.stages.values() if s.phase == "prediction"):
        cell, facts = cells[stage.name], stage.facts
        parts = [toy_events(cell, facts["languages"], n, "test")]
        if facts["calibration_rows"]:
            parts.append(toy_events(cell, ["en"], 2 * n, "calibration"))
        with store.publishing(stage.name, dict(title=stage.title, facts=facts, inputs=list(stage.inputs))) as folder:
            write_predictions(change(pa.concat_tables(parts), cell), cell, Path(folder) / "predictions.parquet")
            (Path(folder) / "result.json").write_text(json.dumps(dict(events=1, cut=[], sources=[])))
    return path
