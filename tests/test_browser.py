"""Pages in a real browser: they open without an error, sort, filter, print, and look right."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ablations.cli.main import main
from ablations.report import build_report
from ablations.store.load import select_usable_records
from ablations.tables import render
from tests.factories.browser import NO_BROWSER
from tests.factories.pages import HOSTILE
from tests.factories.records import BASE, IDENTITY, record

pytestmark = pytest.mark.slow  # half a minute

DESK, PHONE = (1280, 900), (360, 740)
VISIBLE = "el => el.checkVisibility()"


class Browser:
    """A page in Chromium, without a network."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, size: tuple[int, int] = DESK, at: str = "") -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": width < 500}
        )
        self.driver.get("about:blank")  # a fragment alone would not load it anew
        self.driver.get(page.resolve().as_uri() + at)

    def js(self, code: str, *given: Any) -> Any:
        """The value of an expression; ``all(selector)`` is the elements that fit."""
        lead = "const all = (s) => [...document.querySelectorAll(s)]; const given = arguments; "
        return self.driver.execute_script(f"{lead}return {code}", *given)

    def overflows(self) -> bool:
        """Whether the page as a whole, and not a box on it, scrolls sideways."""
        return self.js("document.body.scrollWidth > document.documentElement.clientWidth")

    def errors(self) -> list[str]:
        return [line["message"] for line in self.driver.get_log("browser")]

    def rows(self) -> list[str]:
        """The names of the rows of the first table that are visible, in their order."""
        seen = "tr => tr.checkVisibility() && tr.cells.length > 1"
        return self.js(
            f"[...document.querySelector('table').tBodies[0].rows].filter({seen})"
            ".map(tr => tr.cells[0].innerText.split('\\n')[0])"
        )

    def sections(self) -> list[str]:
        heads = "all('figure:first-of-type .gt_group_heading')"
        names = self.js(f"{heads}.filter({VISIBLE}).map(el => el.innerText)")
        return [name for name in names if name]

    def click_heading(self, name: str) -> str:
        """Its ``aria-sort`` after that."""
        heads = "all('figure:first-of-type th[aria-sort]')"
        heading = f"{heads}.find(th => th.innerText.trim() === {name!r})"
        self.js(f"{heading}.querySelector('button').click()")
        return self.js(f"{heading}.ariaSort")

    def column(self, name: str) -> list[float]:
        """The numbers by which a column is sorted, of the rows in their current order."""
        heads = "all('figure:first-of-type th[aria-sort]')"
        index = self.js(f"{heads}.findIndex(th => th.innerText.trim() === {name!r})")
        cells = f"all('figure:first-of-type tbody tr').map(tr => tr.cells[{index}])"
        found = f"{cells}.map(td => td && td.querySelector('[data-sort]')).filter(Boolean)"
        return [float(value) for value in self.js(f"{found}.map(el => el.dataset.sort)")]

    def write(self, selector: str, text: str) -> None:
        from selenium.webdriver.common.by import By

        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(text)

    def screenshot(self, path: Path | None = None) -> Any:
        """The visible part as (height, width, 3) of 0 to 255."""
        data = base64.b64decode(self.driver.get_screenshot_as_base64())
        if path:
            path.write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.skip(NO_BROWSER)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")  # no network
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Given both paths, selenium downloads nothing.
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    chromium.get_log("browser")  # of the test before
    yield (made := Browser(chromium))
    assert made.errors() == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_report_fits_its_window_and_names_itself(browser, mini_report, size):
    browser.open(mini_report, size)
    assert browser.driver.title == "MetaFormer ablations: report"
    assert not browser.overflows()
    inside = "el => { const b = el.getBoundingClientRect(); return b.left >= 0 && b.right <= "
    for part in (
        "h1",
        "h2",
        "h3",
        "figcaption",
        ".scroll",
        ".notes",
        "pre",
        "dd",
        "input",
        ".plot",
    ):
        assert browser.js(f"all('{part}').filter({VISIBLE}).every({inside}{size[0]}; }})"), part
    if size == DESK:
        return
    # Wide tables scroll in their box, their row names staying in sight.
    assert browser.js("all('.scroll')[0].scrollWidth > all('.scroll')[0].clientWidth")
    browser.js("all('.scroll')[0].scrollTo(10000, 0)")
    for name in (".gt_stub", ".gt_group_heading span"):
        left = f"all('{name}')[1].getBoundingClientRect().left"
        assert 0 <= browser.js(f"{left} - all('.scroll')[0].getBoundingClientRect().left") < 9, name


def test_rows_stay_low_on_a_phone(browser, mini_report):
    """The names of rows wrap, but between words."""
    browser.open(mini_report, PHONE)
    heights = browser.js("all('tbody tr').map(el => el.getBoundingClientRect().height)")
    assert max(heights) < 5 * min(height for height in heights if height > 10)


def test_texts_do_not_overlap(browser, mini_report):
    for size in (DESK, PHONE):
        browser.open(mini_report, size)
        boxes = browser.js(
            "all('h1,h2,h3,h4,figcaption,summary,.summary li,.notes li,dt,dd,thead th,nav a')"
            f".filter({VISIBLE}).map(el => {{ const b = el.getBoundingClientRect();"
            "return [b.left, b.top, b.right, b.bottom]; })"
        )
        found = np.array(boxes).T[:, :, None]
        left, top, right, bottom = found
        across = np.minimum(right, right.T) - np.maximum(left, left.T)
        down = np.minimum(bottom, bottom.T) - np.maximum(top, top.T)
        overlap = (across > 1) & (down > 1)
        assert overlap.sum() == len(boxes), size  # each with itself alone


def test_a_heading_sorts_and_the_third_click_restores_the_order(browser, mini_report):
    browser.open(mini_report)
    rows, sections = browser.rows(), browser.sections()
    assert (len(rows), sections[0]) == (18, "Token mixers")
    assert browser.click_heading("Δ") == "ascending"
    values = browser.column("Δ")
    assert values == sorted(values)
    assert browser.rows()[0] == "Residual connection → None"
    assert browser.sections() == []  # each row names its own then
    assert browser.js("getComputedStyle(all('.gt_stub')[0], '::after').content") == (
        '"Other components"'
    )
    assert browser.click_heading("Δ") == "descending"
    assert browser.column("Δ") == values[::-1]
    assert browser.click_heading("p") == "ascending"
    assert browser.js("all('th[aria-sort=ascending], th[aria-sort=descending]').length") == 1
    assert browser.column("p")[0] == 0
    assert browser.rows()[-1] == "Baseline"  # which has none comes last, either way
    browser.click_heading("p")
    assert browser.rows()[-1] == "Baseline"
    assert browser.click_heading("p") == "none"
    assert (browser.rows(), browser.sections()) == (rows, sections)
    browser.click_heading("Variant")
    assert browser.rows()[1] == "[Pool,Pool,Pool,Attention] ¹"


def test_sorting_works_with_the_keyboard(browser, mini_report):
    from selenium.webdriver.common.keys import Keys

    browser.open(mini_report)
    browser.js("all('th[aria-sort] button')[1].focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.js("all('th[aria-sort]')[1].ariaSort") == "ascending"
    assert browser.js("all('.scroll')[0].tabIndex") == 0


def test_the_filter_keeps_rows_with_all_its_words(browser, mini_report):
    browser.open(mini_report)
    browser.write("figure input", "layernorm none")
    assert browser.rows() == ["Modified LayerNorm → None"]
    assert browser.sections() == ["Normalization"]
    assert browser.js("all('figure output')[0].innerText") == "1 of 18"
    browser.write("figure input", "token mix")  # a section's name counts for its rows
    assert len(browser.rows()) == 6
    browser.write("figure input", "no such row")
    assert (browser.rows(), browser.sections()) == ([], [])
    browser.write(".runs input", "hybrid 2:")
    assert browser.js(f"all('details').filter({VISIBLE}).length") == 4
    assert browser.js(f"all('.runs h4').filter({VISIBLE}).length") == 4


def test_a_row_links_to_its_runs(browser, mini_report):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.open(mini_report)
    assert browser.js("all('details[open]').length") == 0
    target = browser.js("all('td a')[4].hash")
    browser.js("all('td a')[4].click()")
    assert browser.js("all('details[open]').map(el => '#' + el.id)") == [target]
    # The page scrolls there smoothly.
    top = "document.querySelector('details[open]').getBoundingClientRect().top"
    WebDriverWait(browser.driver, 60).until(lambda _: 0 <= browser.js(top) < DESK[1])
    assert browser.js("document.querySelector('details[open] svg.curve').checkVisibility()")
    # So does an address from elsewhere.
    browser.open(mini_report, at=target)
    assert browser.js("all('details[open]').map(el => '#' + el.id)") == [target]


def test_a_report_prints_whole(browser, mini_report):
    browser.open(mini_report)
    how = {"preferCSSPageSize": True, "printBackground": True}
    printed = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", how)["data"])
    assert printed.startswith(b"%PDF")
    assert 4 <= printed.count(b"/Type /Page\n") <= 20
    # A4 landscape without its margins: no table is cut at its right.
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        browser.open(mini_report, (1039, 700))
        assert browser.js("document.documentElement.scrollWidth") <= 1039
        assert browser.js("all('table').every(el => el.getBoundingClientRect().right <= 1039)")
        assert browser.js(f"all('.controls, nav').filter({VISIBLE}).length") == 0
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_screenshot_looks_right(browser, mini_report, tmp_path, size):
    """The page is light, and each difference is drawn at its position in its colour."""
    browser.open(mini_report, size)
    browser.js("document.querySelector('figure').scrollIntoView({behavior: 'instant'})")
    browser.js("all('.scroll')[0].scrollTo(all('svg.bar')[0].parentNode.offsetLeft - 150, 0)")
    seen = browser.screenshot(tmp_path / "page.png")
    assert seen.shape == (*size[::-1], 3)
    assert 0.6 < (seen.min(axis=2) > 240).mean() < 0.98  # mostly white, not all
    assert (seen.max(axis=2) < 80).mean() > 0.005  # and text
    marks = browser.js(
        "all('svg.bar .mean').map(el => { const b = el.getBoundingClientRect();"
        "return [(b.left + b.right) / 2, (b.top + b.bottom) / 2]; })"
    )
    inside = [(int(x), int(y)) for x, y in marks if 140 < x < size[0] - 20 and 0 < y < size[1]]
    assert len(inside) >= 5
    for x, y in inside:
        # The paper's mark or the zero line may cover the middle of a dot.
        near = seen[max(y - 4, 0) : y + 5, x - 4 : x + 5].astype(int)
        assert (near[..., 2] - near[..., 0]).max() > 60, (x, y)
    # The zero lines are in one column of pixels, all the way down.
    zeros = browser.js(
        "all('figure:first-of-type svg.bar .zero').map(el => el.getBoundingClientRect().left)"
    )
    assert max(zeros) - min(zeros) < 1


def test_nothing_scrolls_sideways_on_a_laptop(browser, mini_report, tmp_path):
    both = ["table", "results/mini", "results/controls", "--compare", "--format", "html"]
    assert main([*both, "-o", str(tmp_path / "both.html")]) == 0
    boxes = "[...document.querySelectorAll('body *')]"
    scrolls = "['auto', 'scroll'].includes(getComputedStyle(el).overflowX)"
    wide = f"{boxes}.filter(el => {scrolls} && el.scrollWidth > el.clientWidth + 1)"
    for page in (mini_report, tmp_path / "both.html"):
        browser.open(page, (1366, 768))
        assert browser.js(f"{wide}.map(el => el.outerHTML.slice(0, 80))") == []
        assert not browser.overflows()


def test_hostile_strings_run_nothing(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("ablations.report.plots", lambda *_: [])  # they take seconds
    runs = [record(3, None, model__norm="layer", status="failed"), *BASE, *IDENTITY]
    for text in HOSTILE:
        runs[0].failure["message"] += text + "<img src=x onerror=alert(1)>"
        runs[0].environment[text] = text
    page = tmp_path / "r.html"
    page.write_text(build_report(select_usable_records([(each, HOSTILE[0]) for each in runs])).page)
    browser.open(page)
    assert browser.js("all('img, details script, b').length") == 0
    assert HOSTILE[0] in browser.js("document.querySelector('details .warning pre').textContent")


def test_tables_without_a_report_are_a_page(browser, tmp_path):
    page = tmp_path / "t.html"
    page.write_text(render([*BASE, *IDENTITY], "html"))
    for size in (DESK, PHONE):
        browser.open(page, size)
        assert browser.rows()[:2] == ["Baseline", "Pooling → Identity mapping"]
        assert not browser.overflows()
    browser.click_heading("Δ")
    assert browser.rows()[:2] == ["Pooling → Identity mapping", "Baseline"]


def test_the_page_loads_nothing_from_a_network(chromium, tmp_path):
    browser = Browser(chromium)
    page = tmp_path / "t.html"
    page.write_text(render([*BASE, *IDENTITY], "html"))
    browser.open(page)
    assert browser.errors() == []
    browser.js("document.body.append(Object.assign(new Image(), {src: 'https://example.org/x'}))")
    for _ in range(100):
        if errors := browser.errors():
            break
    assert "Content Security Policy" in errors[0]
