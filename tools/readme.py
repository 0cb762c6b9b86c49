"""Write README.md from nbs/index.ipynb: prose as it is, code as fenced blocks, text outputs below, images by path.

A cell that starts with `#| hide` is left out; `#| echo: false` leaves out the code and keeps the output. Figures are
written to nbs/figures by the notebook itself and referred to in prose, so that the page and the README show the same."""
import re
from pathlib import Path

import nbformat

root = Path(__file__).parents[1]


def linked(text: str) -> str:
    "Markdown with links as they are from the top of the repository"
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", r"](nbs/\1)", text)


def outputs(cell) -> list[str]:
    "Text and Markdown outputs of a code cell"
    parts = []
    for out in cell.get("outputs", []):
        data = out.get("data", {})
        if "text/markdown" in data:
            parts.append(linked("".join(data["text/markdown"])))
        elif "image/png" in data:
            continue
        elif text := "".join(out.get("text", data.get("text/plain", ""))).rstrip():
            parts.append("\n".join("    " + line for line in text.splitlines()))
    return parts


def block(cell) -> list[str]:
    "Markdown of one cell"
    if cell.cell_type == "markdown":
        return [linked(re.sub(r"\s*<!--\n(- .*\n)+-->$", "", cell.source))] # without settings of the site's page
    directives = [line for line in cell.source.splitlines() if line.startswith("#|")]
    code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("#|")).strip()
    if any("hide" in d for d in directives):
        return []
    shown = [] if any("echo: false" in d for d in directives) or not code else [f"```python\n{code}\n```"]
    return shown + outputs(cell)


def main():
    notebook = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
    parts = [part for cell in notebook.cells for part in block(cell)]
    note = "<!-- Written by tools/readme.py from nbs/index.ipynb; edit that. -->"
    (root / "README.md").write_text("\n\n".join([note, *parts]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
