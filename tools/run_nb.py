"""Execute notebooks in place and keep their outputs: `python tools/run_nb.py [--check] PATH...`

A cell marked `#| eval: false` is not run and keeps its stored output. With `--check` nothing is written; the command
fails when the text outputs of a run differ from the stored ones."""
import argparse
import difflib
import os
import sys
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402

SKIP = "#| eval: false"


def execute(path: Path):
    "The notebook at `path`, run top to bottom in its own folder"
    notebook = nbformat.read(path, as_version=4)
    skipped = {i: c for i, c in enumerate(notebook.cells) if c.cell_type == "code" and c.source.startswith(SKIP)}
    runnable = nbformat.from_dict(notebook)
    for i in skipped:
        runnable.cells[i] = nbformat.v4.new_raw_cell("")
    NotebookClient(runnable, timeout=600, kernel_name="python3", coalesce_streams=True, # however slowly lines come
                   resources={"metadata": {"path": str(path.parent)}}).execute()
    for i, cell in skipped.items():
        runnable.cells[i] = cell
    return keep_pictures(runnable)


def keep_pictures(notebook):
    "Leave out interactive forms of a chart that is there as a picture: they are large, and made again by each run"
    for cell in notebook.cells:
        for out in cell.get("outputs", []):
            if "image/png" in (data := out.get("data", {})):
                for form in [f for f in data if f.startswith("application/vnd.")]:
                    del data[form]
    return notebook


def text_outputs(notebook) -> list[str]:
    "What the code cells print or return as text, one string a line"
    lines = []
    for cell in notebook.cells:
        for out in cell.get("outputs", []):
            text = out.get("text") or out.get("data", {}).get("text/plain", "")
            if "image/png" not in out.get("data", {}):
                lines += "".join(text).splitlines()
    return lines


def clean(path: Path):
    "Drop execution counts, metadata and memory addresses, as `nbdev_clean` does"
    from execnb.nbio import read_nb, write_nb
    from nbdev.clean import clean_nb
    from nbdev.config import get_config
    notebook = read_nb(path)
    clean_nb(notebook, allowed_cell_metadata_keys=get_config(path=path.parent).allowed_cell_metadata_keys.split())
    write_nb(notebook, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    files = [f for p in args.paths for f in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])]
    failed = False
    for path in (f for f in files if ".ipynb_checkpoints" not in f.parts):
        try:
            done = execute(path)
        except CellExecutionError as error:
            print(f"{path}: failed\n{error}", file=sys.stderr)
            failed = True
            continue
        if args.check:
            old, new = text_outputs(nbformat.read(path, as_version=4)), text_outputs(done)
            diff = list(difflib.unified_diff(old, new, "stored", "rerun", lineterm="", n=0))
            failed |= bool(diff)
            print(f"{path}: {'differs' if diff else 'same'}", *diff[:40], sep="\n")
        else:
            done.metadata = nbformat.from_dict(
                {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}})
            nbformat.write(done, path)
            clean(path)
            print(f"{path}: run")
    sys.exit(failed)


if __name__ == "__main__":
    main()
