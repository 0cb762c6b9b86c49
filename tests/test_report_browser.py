"""A report in a real browser: menus, tables that sort and filter, and all of it without scripts too. Skipped where there is no Chromium."""
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from xitcal.inference.results import read_results
from xitcal.report.html import page
from xitcal.report.interactive import (
    SHOWN,
    VEGA_MIME,
    Interactive,
    change_table,
    chart_html,
    language_chart,
    language_points,
    reliability_chart,
    reliability_lines,
    sortable,
)

ROOT = Path(__file__).parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# what a reader does: choose another target, sort by the last column, filter
ACTS = """<script type="module">
const wait = ms => new Promise(done => setTimeout(done, ms));
for (let i = 0; i < 100 && !document.querySelector("div.dt-search input"); i++) await wait(100);
for (let i = 0; i < 100 && document.querySelectorAll(".vega-bind select").length < 5; i++) await wait(100);
const menu = document.querySelector(".vega-bind select");
menu.selectedIndex = 1; menu.dispatchEvent(new Event("change", {bubbles: true})); menu.dispatchEvent(new Event("input", {bubbles: true}));
document.querySelector("table.sortable thead tr:last-child th:last-child").click();
const box = document.querySelector("div.dt-search input");
box.value = "UD-POS"; box.dispatchEvent(new Event("input", {bubbles: true})); box.dispatchEvent(new Event("keyup", {bubbles: true}));
await wait(1000);
</script>"""


@pytest.fixture(scope="module")
def report():
    import base64
    results = read_results(ROOT / "studies" / "real")
    points = language_points(results)
    charts = [Interactive(c)._repr_mimebundle_() for c in (language_chart(points), reliability_chart(reliability_lines(results)))]
    parts = [chart_html(c[VEGA_MIME], base64.b64encode(c["image/png"]).decode()) for c in charts]
    return page("a study", [("09_explore", "".join(parts) + sortable(change_table(points).to_html()))])


def shown(report: str, folder: Path, *flags: str) -> BeautifulSoup:
    "The page as the browser has it after its scripts"
    (folder / "report.html").write_text(report, encoding="utf-8")
    done = subprocess.run([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=30000",
                           "--enable-logging=stderr", "--dump-dom", *flags, (folder / "report.html").as_uri()], capture_output=True, text=True, timeout=240)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line and "rror" in line]
    return BeautifulSoup(done.stdout, "html.parser")


def rows(soup: BeautifulSoup) -> list[list[str]]:
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.select("table.sortable tbody tr")]


def test_the_page_asks_for_nothing_from_a_network(report):
    assert not re.search(r'<(script|link|img|iframe)[^>]*(src|href)="(?!data:)', report)


def test_without_scripts_there_are_pictures_and_whole_tables(report):
    soup = BeautifulSoup(report, "html.parser")
    assert len(soup.select("figure.chart > img[alt]")) == 2
    points = language_points(read_results(ROOT / "studies" / "real"))
    assert len(rows(soup)) == len(change_table(points))


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_the_page_fits_a_telephone(report, tmp_path):
    (tmp_path / "inner.html").write_text(report.replace("<nav>", "<nav>" + "".join(f'<a href="#{i}">a long name {i}</a>' for i in range(9))), encoding="utf-8")
    frame = """<!doctype html><body><iframe src="inner.html" style="width:390px;height:900px;border:0"></iframe><script>
setTimeout(() => { document.body.dataset.width = document.querySelector("iframe").contentDocument.documentElement.scrollWidth; }, 8000);</script></body>"""
    soup = shown(frame, tmp_path, "--allow-file-access-from-files", "--window-size=500,1000")
    assert int(soup.body["data-width"]) <= 390


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_a_reader_chooses_sorts_and_filters(report, tmp_path):
    points = language_points(read_results(ROOT / "studies" / "real"))
    menus = [points.target.nunique(), points.condition.nunique(), len(SHOWN)]
    soup = shown(report.replace("</body>", ACTS + "</body>"), tmp_path)
    assert not soup.select("figure.chart > img") and len(soup.select("figure.chart svg")) == 2
    assert [len(m.find_all("option")) for m in soup.select(".vega-bind select")][:3] == menus
    assert "UD-POS" in soup.select_one("figure.chart svg").get_text()
    found = rows(soup)
    assert {r[0] for r in found} == {"UD-POS"}
    last = pd.Series([float(r[-1].split()[0]) for r in found])
    assert len(last) > 30 and (last.is_monotonic_increasing or last.is_monotonic_decreasing)
