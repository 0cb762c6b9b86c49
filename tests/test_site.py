"""The site as a visitor meets it: what nbdev hands to Quarto, made once from a copy and looked over page by page."""
import ast
import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from posixpath import normpath
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import mistune
import nbformat
import pytest
import yaml
from conftest import FORKING, forked

root = Path(__file__).parents[1]
HOST, REPOSITORY = "https://xitcal.github.io/xitcal/", "https://github.com/xitcal/xitcal/blob/main/"
QUARTO = {"echo", "output", "eval", "include", "warning", "label", "fig-alt", "fig-cap", "tbl-cap", "code-fold", "code-summary", "classes"}
SHOWN_FIRST = ("results/", "tutorials/", "index")  # pages that readers see first: their figures need a text for those who cannot see them


# ---- what a page holds

def source(cell) -> str:
    return "".join(cell.get("source") or "")


def shown(cell) -> list[tuple[str, str]]:
    "(type, text) of what a cell puts on the page, its code apart"
    if cell["cell_type"] == "markdown":
        return [("text/markdown", source(cell))]
    found = []
    for out in cell.get("outputs", []):
        found += [(kind, "".join(text)) for kind, text in out.get("data", {}).items() if isinstance(text, (str, list))]
        if "text" in out:
            found.append(("text/plain", "".join(out["text"])))
    rich = [f for f in found if f[0] != "text/plain"]
    return rich or found


class Tags(HTMLParser):
    "Links, images and ids of a piece of HTML"
    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes["href"]] if attributes.get("href") else []
        self.images += [(attributes.get("src") or "", attributes.get("alt") or "")] if tag == "img" else []
        self.ids += [attributes[k] for k in ("id", "name") if attributes.get(k)]


def plain(tokens) -> str:
    "Text of inline Markdown"
    return "".join(plain(t["children"]) if "children" in t else t.get("raw", " " if "break" in t["type"] else "") for t in tokens)


def walk(tokens):
    for token in tokens:
        yield token
        yield from walk(token.get("children", []))


def identifier(heading: str) -> str:
    "The anchor that pandoc gives a heading"
    kept = re.sub(r"[^\w\s.-]", "", heading.lower()).strip()
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept)) or "section"


def read(kind: str, text: str) -> tuple[list, list, list]:
    "Links, images (place, text) and anchors of a piece of Markdown or HTML"
    if kind == "text/html":
        tags = Tags(text)
        return tags.links, tags.images, tags.ids
    if kind != "text/markdown":
        return [], [], []
    links, images, anchors = [], [], []
    for token in walk(mistune.create_markdown(renderer=None, plugins=["table"])(text)):
        if token["type"] == "link":
            links.append(token["attrs"]["url"])
        elif token["type"] == "image":
            images.append((token["attrs"]["url"], plain(token["children"])))
        elif token["type"] == "heading":
            given = re.search(r"\{#([\w.-]+)[^}]*\}\s*$", plain(token["children"]))
            anchors.append(given[1] if given else identifier(plain(token["children"])))
        elif token["type"] in ("block_html", "inline_html"):
            for many, more in zip((links, images, anchors), read("text/html", token["raw"])):
                many += more
    return links, images, anchors


def front(notebook) -> dict:
    "What nbdev wrote at the top of a page for Quarto"
    first = notebook["cells"][0] if notebook["cells"] else {"cell_type": ""}
    found = re.fullmatch(r"---\n(.*?)\n---\s*", source(first), re.DOTALL) if first["cell_type"] == "raw" else None
    return yaml.safe_load(found[1]) if found else {}


class Site:
    "Processed notebooks of a folder, by their path in it"
    def __init__(self, folder: Path):
        self.folder = folder
        self.pages = {p.relative_to(folder).as_posix(): json.loads(p.read_text()) for p in sorted(folder.rglob("*.ipynb"))}
        self.parts = {name: [read(*piece) for cell in page["cells"] for piece in shown(cell)] for name, page in self.pages.items()}
        self.anchors = {name: {a for part in parts for a in part[2]} for name, parts in self.parts.items()}
        self.made = {str(PurePosixPath(name).with_name(front(page)["output-file"])): name for name, page in self.pages.items()
                     if "output-file" in front(page)}

    def yaml(self, name):
        return yaml.safe_load((self.folder / name).read_text())


# ---- the checks: each gives its faults, a sentence each

def title_faults(site: Site) -> list[str]:
    faults = [f"{name}: no {key}" for name, page in site.pages.items() for key in ("title", "description") if not front(page).get(key)]
    places = [str(PurePosixPath(name).parent / front(page).get("output-file", PurePosixPath(name).name)) for name, page in site.pages.items()]
    return faults + [f"{place}: two pages are written there" for place in sorted({p for p in places if places.count(p) > 1})]


def link_fault(site: Site, name: str, link: str) -> str | None:
    "What is wrong with a link of a page"
    if link.startswith(REPOSITORY):
        path, _, line = link.removeprefix(REPOSITORY).partition("#L")
        if not (root / path).is_file():
            return f"{name}: {link} is not in the repository"
        return f"{name}: {link} is behind the end of the file" if line and int(line) > len((root / path).read_text().splitlines()) else None
    ours = link.startswith(HOST)
    parts = urlsplit(link.removeprefix(HOST))
    if not ours and (parts.scheme or link.startswith("//")):
        return None  # elsewhere: there may be no network
    base = "" if ours else str(PurePosixPath(name).parent)
    place = normpath(str(PurePosixPath(base) / unquote(parts.path))) if parts.path else name
    page = site.made.get(place, place)
    if page not in site.pages and not (site.folder / page).is_file():
        return f"{name}: {link} leads nowhere"
    if parts.fragment and page in site.pages and parts.fragment not in site.anchors[page]:
        return f"{name}: {link} names no heading of {page}"


def link_faults(site: Site) -> list[str]:
    found = [link_fault(site, name, link) for name, parts in site.parts.items() for links, _, _ in parts for link in links]
    return sorted({f for f in found if f})


def is_picture(data: str) -> bool:
    return base64.b64decode(data)[:8] == b"\x89PNG\r\n\x1a\n"


def option(cell, key: str) -> str:
    "Value of a Quarto option of a cell"
    found = re.search(rf"^#\|\s*{key}:\s*(.+)$", source(cell), re.M)
    return found[1].strip(" '\"[]") if found else ""


def figure_faults(site: Site) -> list[str]:
    faults = []
    for name, page in site.pages.items():
        for i, cell in enumerate(page["cells"]):
            for out in cell.get("outputs", []):
                data = out.get("data", {})
                if "image/png" in data:
                    if not is_picture("".join(data["image/png"])):
                        faults.append(f"{name}, cell {i}: a figure without a picture")
                    if name.startswith(SHOWN_FIRST) and not option(cell, "fig-alt"):
                        faults.append(f"{name}, cell {i}: a figure without fig-alt")
                elif "<Figure size" in "".join(data.get("text/plain", "")):
                    faults.append(f"{name}, cell {i}: a figure that was not drawn")
        for _, images, _ in site.parts[name]:
            for place, text in images:
                if place.startswith("data:"):
                    if not place.partition(",")[2]:
                        faults.append(f"{name}: an image without data")
                elif fault := link_fault(site, name, place):
                    faults.append(fault)
                if not text.strip():
                    faults.append(f"{name}: image {place[:40]} has no text")
    return faults


def code_faults(text: str) -> list[str]:
    "Directives that Quarto would print: those it does not know, and all that are not at the top"
    lines = text.splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    known = [re.match(r"#\|\s*([\w-]+):", line) for line in lines[:head]]
    wrong = [line for line, key in zip(lines, known) if not key or key[1] not in QUARTO]
    return [f"{line!r} would be printed" for line in wrong + [line for line in lines[head:] if re.match(r"\s*#\|", line)]]


def directive_faults(site: Site) -> list[str]:
    faults = []
    for name, page in site.pages.items():
        for i, cell in enumerate(page["cells"]):
            at = f"{name}, cell {i}: "
            if cell["cell_type"] == "code" and source(cell):
                faults += [at + f for f in code_faults(source(cell))]
                if re.search(r"^show_doc\(", source(cell), re.M) and not any(k == "text/markdown" and t for k, t in shown(cell)):
                    faults.append(at + "show_doc shows nothing")
            for out in cell.get("outputs", []) if source(cell) else []:
                said = out.get("name") == "stderr" and not "".join(out["text"]).startswith("xitcal: ")  # what xitcal itself tells is no warning
                if out["output_type"] == "error" or said:
                    faults.append(at + "an error or a warning is shown")
            for kind, text in shown(cell) if source(cell) else []:
                if kind == "text/markdown":
                    text = re.sub(r"^(```+).*?^\1|`[^`\n]+`", "", text, flags=re.M | re.DOTALL)
                if kind.startswith("text/") and (left := re.search(r"^\s*#\|.*|\{\{<.*|^\s*show_doc\(.*", text, re.M)):
                    faults.append(at + f"{left[0].strip()!r} is shown")
    return faults


def number_faults(site: Site) -> list[str]:
    "What is missing from a table that readers see first is an empty cell"
    return [f"{name}, cell {i}: NaN is shown" for name, page in site.pages.items() if name.startswith(SHOWN_FIRST)
            for i, cell in enumerate(page["cells"]) for kind, text in shown(cell)
            if kind == "text/html" and re.search(r"<t[dh][^>]*>\s*(NaN|nan|<NA>|&lt;NA&gt;)\s*</t", text)]


def items(tree):
    "(label, notebook) of a menu; sections have no notebook"
    for item in tree:
        yield item.get("text") or item.get("section") or item.get("aria-label"), item.get("file") or item.get("href")
        yield from items(below(item))


def below(item): return item.get("contents") or item.get("menu") or []


def twice(tree) -> list[str]:
    "Labels that stand twice in one section"
    labels = [label for item in tree for label, _ in items([item | {"contents": [], "menu": []}])]
    return sorted({x for x in labels if labels.count(x) > 1}) + [x for item in tree for x in twice(below(item))]


def menu_faults(site: Site) -> list[str]:
    website = site.yaml("_quarto.yml")["website"]
    navbar = website["navbar"]
    bars = {"sidebar": site.yaml("sidebar.yml")["website"]["sidebar"]["contents"], "navbar": navbar.get("left", []) + navbar.get("right", [])}
    faults = [] if website.get("search") else ["the site has no search"]
    for bar, tree in bars.items():
        found = list(items(tree))
        faults += [f"{bar}: {page} does not exist" for _, page in found if page and "://" not in page and page not in site.pages]
        faults += [f"{bar}: {label!r} is no label for people" for label, page in found if not label or not human(label)]
        faults += [f"{bar}: {label!r} stands in one section twice" for label in twice(tree)]
    return faults


def human(label: str) -> bool:
    "A label as a person would write it, not a file or a symbol"
    return label == "xitcal" or bool(re.match(r"[A-Z]", label)) and not re.search(r"_|\.ipynb|\.html|/", label)


CHECKS = (title_faults, link_faults, figure_faults, directive_faults, number_faults, menu_faults)


# ---- our site

def tree(folder: Path) -> dict:
    "Contents of a folder by path, what the site is written to apart"
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*")
            if p.is_file() and "_proc" not in p.parts}


def traces() -> set:
    "What nbdev would leave in the repository"
    return {name for name in ("_proc", "_docs", "nbs/nbdev.yml", "nbs/_proc") if (root / name).exists()}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Path, tuple, tuple]:
    "nbdev's part of making the site, in a copy of the notebooks; the folder, and what there was before and after"
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(root / "nbs", place / "nbs", symlinks=True, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "nbdev.yml"))
    for name in ("settings.ini", "_quarto.yml"):
        shutil.copy(root / name, place)
    before = tree(place), traces()
    code = "from nbdev.serve import proc_nbs; proc_nbs(force=True, n_workers=0)"
    done = (forked("whole", "code", [code], cwd=place) if FORKING
            else subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True))
    assert done.returncode == 0, done.stderr[-3000:]
    return place / "_proc", before, (tree(place), traces())


@pytest.fixture(scope="session")
def site(made) -> Site:
    return Site(made[0])


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_no_faults(site, check):
    faults = check(site)
    assert not faults, "\n".join(faults)


def test_every_notebook_becomes_a_page(site):
    notebooks = site.folder.parent / "nbs"
    assert len(site.pages) > 50 and set(site.pages) == {p.relative_to(notebooks).as_posix() for p in notebooks.rglob("*.ipynb")
                                                            if ".ipynb_checkpoints" not in p.parts}


def test_there_is_much_to_check(site):
    "A reader that finds no link finds no broken one either"
    links = {link for parts in site.parts.values() for found, _, _ in parts for link in found}
    assert len([link for link in links if link.startswith(HOST) and "#" in link]) > 30, "backticks become links to the library's pages"
    assert len([link for link in links if ".ipynb" in link]) > 30
    assert sum("image/png" in out.get("data", {}) for page in site.pages.values() for cell in page["cells"] for out in cell.get("outputs", [])) > 20


def test_the_navigation_has_its_entries():
    bar = yaml.safe_load((root / "_quarto.yml").read_text())["website"]["navbar"]
    assert [item.get("text") for item in bar["left"]] == ["Results", "Tutorials", "Library"] and bar["search"] is True
    assert bar["left"][0]["menu"][0] == {"text": "The answer", "href": "results/answer/01_answer.ipynb"}
    side = yaml.safe_load((root / "nbs" / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    for folder in ("tutorials/", "results/"):
        listed = [page for _, page in items(side) if page and page.startswith(folder)]
        assert sorted(listed) == sorted(page for _, page in items(bar["left"]) if page and page.startswith(folder))


def test_no_entry_is_highlighted_on_every_page():
    "Quarto marks the first plain link of the navbar that the page's sidebar holds too; entries of menus it leaves alone"
    website = yaml.safe_load((root / "_quarto.yml").read_text())["website"]
    side = yaml.safe_load((root / "nbs" / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    plain_links = {item.get("href") for part in ("left", "right") for item in website["navbar"][part]}
    assert not plain_links & {page for _, page in items(side) if page}


def test_the_results_menu_has_groups():
    menu = yaml.safe_load((root / "_quarto.yml").read_text())["website"]["navbar"]["left"][0]["menu"]
    assert [item["text"] for item in menu if "href" not in item] == ["What to do with it", "How far to trust it", "The default study"]


def test_no_title_stands_in_the_sidebar_twice():
    side = yaml.safe_load((root / "nbs" / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    labels = [label.lower() for label, _ in items(side)]
    assert len(labels) == len(set(labels))


def test_formulas_cards_and_themes_are_set(site):
    settings = site.yaml("_quarto.yml")
    page, website = settings["format"]["html"], settings["website"]
    assert page["html-math-method"] == "mathml" and page["code-overflow"] == "wrap"
    assert page["theme"] == {"light": "cosmo", "dark": "darkly"} and (site.folder / page["css"]).is_file()
    assert website["open-graph"] is True and website["twitter-card"] is True and website["image-alt"]
    assert (site.folder / website["image"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert ElementTree.parse(site.folder / website["favicon"]).getroot().tag.endswith("}svg")


def test_results_pages_fold_their_code(site):
    "All but the hypotheses of both studies, which were committed before the results and stay as they are"
    open_ = [name for name, page in site.pages.items() if name.startswith("results/") and front(page).get("code-fold") is not True]
    assert open_ == ["results/real/01_questions.ipynb", "results/trust/00_hypotheses.ipynb"]
    folded = [source(cell) for page in site.pages.values() for cell in page["cells"][1:] if "code-fold: true" in source(cell)]
    assert folded and all(text.startswith('#| code-summary: "Tests"') for text in folded) # tools/fold_tests.py


def test_making_the_site_leaves_the_readme_alone(tmp_path):
    "`make site` with a stand-in for Quarto that does what Quarto does for nbdev, on a README that is older than its notebook"
    (tmp_path / "nbs").mkdir()
    for name in ("Makefile", "settings.ini", "_quarto.yml"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "nbs" / "_quarto.yml").symlink_to("../_quarto.yml")
    (tmp_path / "README.md").write_text("kept")
    os.utime(tmp_path / "README.md", (0, 0))
    (tmp_path / "nbs" / "index.ipynb").write_text(json.dumps(notebook(markdown("# xitcal\n\n> What it says."))))
    tool = tmp_path / "bin" / "quarto"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" >> "$CALLS"\nmkdir -p _docs\necho page > _docs/index.html\necho spoilt > _docs/README.md\n')
    tool.chmod(0o755)
    done = subprocess.run(["make", "-o", ".venv/.dev", "site", f"BIN={Path(sys.executable).parent}"], cwd=tmp_path, capture_output=True, text=True,
                          env=dict(os.environ, PATH=f"{tool.parent}{os.pathsep}{os.environ['PATH']}", CALLS=str(tmp_path / "calls")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "README.md").read_text() == "kept" and (tmp_path / "_docs" / "index.html").read_text() == "page\n"
    assert (tmp_path / "calls").read_text() == "render --no-cache\n"
    assert "output-dir: _docs" in (tmp_path / "_proc" / "nbdev.yml").read_text() # where Quarto writes, and `mv` looks


def test_the_notebooks_and_the_working_tree_stay_as_they_are(made):
    assert made[1] == made[2] and len(made[1][0]) > 50


# ---- each check can fail

def notebook(*cells) -> dict:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def raw(title="Page", **more):
    return {"cell_type": "raw", "source": f"---\n{yaml.dump({'title': title} | more)}\n---\n\n", "metadata": {}}


def markdown(text):
    return {"cell_type": "markdown", "source": text, "metadata": {}}


def code(text, *outputs):
    return {"cell_type": "code", "source": text, "metadata": {}, "outputs": [{"output_type": "display_data", **o} for o in outputs]}


FRONT = raw(description="What it says.", **{"output-file": "page.html"})
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nand more").decode()


def small(folder: Path, *cells, name="results/00_page.ipynb") -> Site:
    "A site of one page behind a good front"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*cells)))
    return Site(folder)


def test_a_good_page_has_no_faults(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"")
    text = ("## Where it **stands**: a *Title*\n\n[here](#where-it-stands-a-title), [by name](00_page.ipynb#where-it-stands-a-title), "
            f"[made]({HOST}results/page.html#where-it-stands-a-title), [code]({REPOSITORY}settings.ini#L3), [away](https://example.org/none)\n\n"
            "![A figure](../figures/a.png) `#| hide` and `{{< this >}}`\n\n```python\n#| hide\n[no](link.md)\n```\n")
    figure = code('#| fig-alt: "A line"\n#| echo: false\ndraw()', {"data": {"image/png": PNG, "text/plain": "<Figure size 3x3>"}})
    site = small(tmp_path, FRONT, markdown(text), figure, code("", {"data": {"text/html": '<a href="#b">b</a><p id="b"></p>'}}),
                 code("run()", {"output_type": "stream", "name": "stderr", "text": "xitcal: 2 of 4 runs are degenerate."}))
    assert [check(site) for check in CHECKS[:4]] == [[]] * 4


@pytest.mark.parametrize("first", [markdown("No front"), raw(""), raw("Title alone")])
def test_a_page_without_title_or_description_is_found(tmp_path, first):
    assert title_faults(small(tmp_path, first))


def test_two_pages_in_one_place_are_found(tmp_path):
    small(tmp_path, FRONT)
    assert title_faults(small(tmp_path, FRONT, name="results/01_page.ipynb")) == ["results/page.html: two pages are written there"]


IN_MARKDOWN = ["[a](gone.ipynb)", "[a](00_page.ipynb#gone)", "[a](#gone)", "| |\n|-|\n| [a](gone.md) |", "![a](gone.png)",
               f"[`a`]({HOST}gone.html#a)", f"[`a`]({HOST}results/page.html#gone)", f"[source]({REPOSITORY}xitcal/gone.py#L1)",
               f"[source]({REPOSITORY}settings.ini#L99999)", "[a](../../outside.md)"]
IN_HTML = ['<a href="gone.html">a</a>', '<a href="#gone">a</a>', '<img src="gone.png" alt="a">']


@pytest.mark.parametrize("kind, broken", [(kind, text) for kind in ("prose", "text/markdown") for text in IN_MARKDOWN + IN_HTML] +
                         [("text/html", text) for text in IN_HTML])
def test_a_broken_link_is_found(tmp_path, kind, broken):
    site = small(tmp_path, FRONT, markdown(broken) if kind == "prose" else code("show()", {"data": {kind: broken}}))
    assert (figure_faults if "png" in broken else link_faults)(site)


@pytest.mark.parametrize("cell", [
    code("draw()", {"data": {"image/png": PNG}}),
    code('#| fig-alt: ""\ndraw()', {"data": {"image/png": PNG}}),
    code('#| fig-alt: "A line"\ndraw()', {"data": {"image/png": ""}}),
    code('#| fig-alt: "A line"\ndraw()', {"data": {"text/plain": "<Figure size 640x480 with 1 Axes>"}}),
    code("show()", {"data": {"text/html": '<img src="data:image/png;base64,">'}}),
    markdown("![](figures/a.png)")])
def test_a_figure_that_says_nothing_is_found(tmp_path, cell):
    (tmp_path / "results" / "figures").mkdir(parents=True)
    (tmp_path / "results" / "figures" / "a.png").write_bytes(b"")
    assert figure_faults(small(tmp_path, FRONT, cell))


@pytest.mark.parametrize("cell", [
    code("#| export\nx = 1"), code("x = 1\n#| fig-alt: too late"), code("#| fig_alt: misspelt\nx"), markdown("text\n\n#| hide"),
    markdown("{{< include gone.qmd >}}"), code("#| echo: false\nshow_doc(f)"), code("f()", {"data": {"text/markdown": "show_doc(f)"}}),
    code("f()", {"output_type": "stream", "name": "stderr", "text": "Warning"}), code("f()", {"output_type": "error"})])
def test_a_left_over_is_found(tmp_path, cell):
    assert directive_faults(small(tmp_path, FRONT, cell))


def test_a_number_that_is_none_is_found(tmp_path):
    cells = [code("table", {"data": {"text/html": f"<table><tr><td>0.5</td><td>{x}</td></tr></table>"}}) for x in ("NaN", "nan", "&lt;NA&gt;", "", "Nan's")]
    assert len(number_faults(small(tmp_path, FRONT, *cells))) == 3


@pytest.mark.parametrize("side, left, search", [
    ({"text": "Gone", "file": "gone.ipynb"}, {"text": "Page", "href": "results/00_page.ipynb"}, True),
    ({"text": "00_page.ipynb", "file": "results/00_page.ipynb"}, {"text": "Page", "href": "results/00_page.ipynb"}, True),
    ({"section": "Part", "contents": [{"file": "results/00_page.ipynb"}]}, {"text": "Page", "href": "results/00_page.ipynb"}, True),
    ({"text": "Page", "file": "results/00_page.ipynb"}, {"text": "More", "menu": [{"text": "Page", "href": "gone.ipynb"}]}, True),
    ({"text": "Page", "file": "results/00_page.ipynb"}, {"text": "page", "href": "results/00_page.ipynb"}, True),
    ({"text": "Page", "file": "results/00_page.ipynb"}, {"text": "More", "menu": [{"text": "Page", "href": "results/00_page.ipynb"}] * 2}, True),
    ({"text": "Page", "file": "results/00_page.ipynb"}, {"text": "Page", "href": "results/00_page.ipynb"}, False)])
def test_a_broken_menu_is_found(tmp_path, side, left, search):
    (tmp_path / "sidebar.yml").write_text(yaml.dump({"website": {"sidebar": {"contents": [side]}}}))
    (tmp_path / "_quarto.yml").write_text(yaml.dump({"website": {"search": search, "navbar": {"left": [left]}}}))
    assert len(menu_faults(small(tmp_path, FRONT))) == 1


def test_a_notebook_that_runs_code_while_the_site_is_made_is_found():
    "nbdev runs every cell that imports something: one that needs the cells above it stops the whole site"
    spec = importlib.util.spec_from_file_location("lint_nb", root / "tools" / "lint_nb.py")
    lint = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lint)
    cell = nbformat.v4.new_code_cell
    start = [nbformat.v4.new_markdown_cell("# page\n\n> What it says."), cell("#| default_exp page")]
    mixed, apart = [cell("import json\nx = json.dumps(y)")], [cell("import json"), cell("x = json.dumps(y)")]
    assert lint.check_library(nbformat.v4.new_notebook(cells=start + mixed), {}, "00") == ["cell 2: an import shares its cell with other code"]
    assert lint.check_library(nbformat.v4.new_notebook(cells=start + apart), {}, "00") == []
    assert ast.parse(mixed[0].source)


TUTORIALS = sorted(path.stem for path in (Path(__file__).parents[1] / "nbs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_opens_in_colab(name):
    "A badge that leads to this very notebook, then one cell that installs, before xitcal is imported, and gets the files that the page reads"
    path = Path(__file__).parents[1] / "nbs" / "tutorials" / f"{name}.ipynb" # the site hides the cell that installs
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [source(cell) for cell in cells]
    badge = next(i for i, text in enumerate(texts) if "colab-badge" in text)
    assert f"/github/xitcal/xitcal/blob/main/nbs/tutorials/{name}.ipynb)" in texts[badge]
    code = [text for cell, text in zip(cells, texts) if cell["cell_type"] == "code"]
    first = next(i for i, text in enumerate(code) if "xitcal." in text and "import" in text)
    installs = [i for i, text in enumerate(code) if "pip" in text and "install" in text and "find_spec" in text]
    assert len(installs) == 1 and installs[0] <= first
    reads = any("../../studies" in text or "../../benchmarks" in text for text in code)
    assert reads == ("git clone" in code[installs[0]]) == ('"cd"' in code[installs[0]])
