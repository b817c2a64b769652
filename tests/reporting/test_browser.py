"""The page in a real browser: Debian's chromium, driven by Playwright, and axe-core on it. Skipped where there is no browser."""

from __future__ import annotations

import json
import os
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from made_records import made, many
from playwright import sync_api

from hisopt import analysis
from hisopt.reporting.page import Extra, page
from hisopt.reporting.records import prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")

LONG = "kmeans:restarts=50,tolerance=0.000001,init=k-means++"
OVERFLOWS = """() => [...document.querySelectorAll('body *')].filter((e) => {
  if (e.closest('.scroll, .hidden, .skip, script, style') || !e.getClientRects().length) return false;
  const box = e.getBoundingClientRect();
  return box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5;
}).map((e) => e.tagName + ' ' + e.textContent.slice(0, 40))"""
CUT = """() => [...document.querySelectorAll('figure > svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((t) => {
    const box = t.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map((t) => svg.id + ': ' + t.textContent);
})"""


CUT_COLUMNS = """() => [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)
  .map((e) => e.getAttribute('aria-labelledby') + ': ' + e.scrollWidth + ' in ' + e.clientWidth)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium refuses root otherwise
        opened = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = made() + made(problem="clustering, mean", seeds=3, users=(10,))
    for record in records[-12:]:
        record["solver"] = record["solver"].replace("greedy", "hac").replace("ippo", LONG)
    records[3]["objective"] = 1.2  # a contradiction is on the page, too
    path = tmp_path_factory.mktemp("page") / "report.html"
    verdicts = "A word.\n\n| item | ours |\n|---|---|\n| Fig. 1, of a paper | 2 % |\n"
    path.write_text(page(prepared(records, "here"), Extra(verdicts=verdicts)))
    return path


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """A page, and all that it complained of or asked of others."""
    told: list[str] = []
    tab = browser.new_context(**options).new_page()
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("request", lambda request: told.append(request.url) if request.url != path.as_uri() else None)
    tab.goto(path.as_uri())
    return tab, told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_asks_nothing_and_axe_finds_no_serious_fault(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    tab, told = opened(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOWS) == []
    assert tab.evaluate(CUT) == []
    for details in tab.query_selector_all("details"):
        details.evaluate("e => e.open = true")
    tab.click("#all tbody button")
    assert tab.evaluate(CUT_COLUMNS) == []
    tab.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("async () => (await axe.run()).violations")
    assert [
        (v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")
    ] == []
    assert told == []


def column(tab: Any, name: str) -> list[str]:
    script = """(name) => { const i = [...document.querySelectorAll('#all thead th')].findIndex((t) => t.dataset.column === name);
      return [...document.querySelectorAll('#all tbody tr')].map((r) => r.cells[i].textContent); }"""
    found: list[str] = tab.evaluate(script, name)
    return found


def test_sort_filter_search_details_and_downloads(browser: Any, report: Path) -> None:
    tab, told = opened(browser, report, viewport={"width": 1280, "height": 800})
    tab.click("th[data-column=objective] button")
    assert tab.get_attribute("th[data-column=objective]", "aria-sort") == "ascending"
    numbers = [float(v) for v in column(tab, "objective") if v != "–"]
    assert numbers == sorted(numbers) and column(tab, "objective")[-1] == "–"
    tab.focus("th[data-column=objective] button")
    tab.keyboard.press("Enter")
    assert tab.get_attribute("th[data-column=objective]", "aria-sort") == "descending"
    assert column(tab, "objective")[0] == "1.3" and column(tab, "objective")[-1] == "–"  # absent numbers stay last
    tab.select_option("#filter-solver", "milp")
    assert set(column(tab, "solver")) == {"milp"} and tab.inner_text("#count") == "11 of 44 records."
    tab.fill("#search", "time limit")
    assert set(column(tab, "termination")) == {"time limit"} and tab.inner_text("#count") == "5 of 44 records."
    with tab.expect_download() as download:
        tab.click("#as-json")
    assert len(json.loads(download.value.path().read_text())) == 5
    tab.click("#all tbody button")
    assert tab.get_attribute("#all tbody button", "aria-expanded") == "true"
    assert 'solvers = ["milp"]' in tab.inner_text("#all tr.more pre")
    with tab.expect_download() as download:
        tab.click("#p0-seeds figcaption a")
    assert download.value.path().read_text().startswith("size,solver,count")
    assert told == []


def test_profiles_are_drawn_anew_for_the_solvers_shown(browser: Any, report: Path) -> None:
    tab, _ = opened(browser, report, viewport={"width": 1280, "height": 800})
    tab.click("#p1-profile .legend label:has-text('exact')")
    link = tab.get_attribute("#p1-profile .made a", "href").partition(",")[2]
    text = tab.evaluate("(t) => decodeURIComponent(t)", link)
    rows = [line.split(",") for line in text.splitlines()[1:]]
    records = made(problem="clustering, mean", seeds=3, users=(10,))
    costs = analysis.costs(prepared(records, "here").table)[["milp"]]
    profile = analysis.performance_profile(costs)["milp"]
    assert {(float(a), round(float(s), 9)) for name, a, s in rows if name == "milp"} >= {
        (1.0, round(profile.iloc[-1], 9))
    }
    assert not any(name == "exact" for name, _, _ in rows)
    assert len(tab.query_selector_all("#p1-profile .curves path")) == 3


def test_ten_thousand_records_are_there_in_pages(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(page(prepared(many(10_000), "here")))
    tab, told = opened(browser, path, viewport={"width": 1280, "height": 800})
    assert tab.inner_text("#count") == "10,000 records." and len(column(tab, "solver")) == 50
    tab.click("#next")
    assert tab.inner_text("#page") == "Page 2 of 200"
    tab.click("th[data-column=seconds] button")
    assert tab.inner_text("#page") == "Page 1 of 200"
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.getElementById('filters')).display") == "none"
    assert told == []
