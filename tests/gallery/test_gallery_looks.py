"""The look of the site: wide and narrow, light and dark, with a mouse, and for screen readers.

If `ELLC_SCREENSHOTS` names a folder, screenshots are written there for a person to check. If
`ELLC_AXE` names the file `axe.min.js` of axe-core, it checks every page.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, browser_tab, find_browser

from ellc.gallery.pages import HUES
from ellc.gallery.published import published
from ellc.gallery.site import build_site

AXE, SCREENSHOTS = "ELLC_AXE", "ELLC_SCREENSHOTS"
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
SHOWN = ("Bean", "Coconut", "mobilenet_v1_0.25_128", "resnet8", "quicknet")
PAGES = ("index.html", "model-mobilenet_v1_0.25_128.html", "model-digits8.html")
TRIAL = "try-int8-digits8.html"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
ROWS = "[...document.querySelectorAll('#models tbody tr:not([hidden])')]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with some published figures, and with a result for a new board and a trial page."""
    folder = tmp_path_factory.mktemp("looks")
    shutil.copy(DIGITS / "digits8.tflite", folder)
    time = {"of": "ms", "value": 0.03, "threads": 1, "command": "ellc bench digits8.tflite"}
    share = {"of": "top1", "value": 97.2, "command": "ellc evaluate digits8.tflite --data x"}
    result = {
        "format": "ellc gallery 1",
        "model": "digits8",
        "precision": "int8",
        "board": "A board that nobody has seen",
        "clock_mhz": 1000,
        "engine": "ellc",
        "input": [8, 8, 1],
        "colours": "grey",
        "dataset": "digits",
        "network": {"file": "digits8.tflite"},
        "try": {"drawing": 1},
        "figures": [
            {**time, "provenance": "measured"},
            {**share, "provenance": "measured", "sample": "360 digits that training never saw"},
        ],
        "downloads": [{"title": "model", "file": "digits8.tflite"}],
        "notes": ["Eight rows of eight pixels."],
    }
    (folder / "new.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        some = tuple(result for result in published() if result.model in SHOWN)
        patch.setattr("ellc.gallery.site.published", lambda: some)
        build_site([folder / "new.json"], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium found: on Debian, apt-get install chromium-headless-shell")
    with browser_tab(found, tmp_path_factory.mktemp("profile")) as tab:
        yield tab
        assert tab.errors == []
        assert all(address.startswith(("file://", "data:")) for address in tab.requests)


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_fit_and_can_be_read(
    site: Path, tab: Tab, tmp_path: Path, size: str, colours: str
) -> None:
    pictures = Path(os.environ.get(SCREENSHOTS) or tmp_path)
    pictures.mkdir(exist_ok=True)
    width, height = SIZES[size]
    for page in (*PAGES, TRIAL):
        tab.open((site / page).as_uri(), width, height, colours)
        if page == TRIAL:
            tab.drag("#draw", [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)])
            tab.wait_until("!document.querySelector('.answers').hidden")
        tab.screenshot(pictures / f"{page.removesuffix('.html')}-{size}-{colours}.png")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, page
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (colours == "light")
        hues = {
            tab.evaluate(f"getComputedStyle(document.body).getPropertyValue('--hue{n}')")
            for n in range(HUES)
        }
        assert len(hues) == HUES
        assert clipped(tab) == [], page
        if size == "desktop" and page == "index.html":
            table = "document.querySelector('.scroll')"
            assert tab.evaluate(f"{table}.scrollWidth <= {table}.clientWidth")
        assert faults(tab) == [], page


def clipped(tab: Tab) -> Any:
    """The labels of which a part is outside the plot."""
    return tab.evaluate(
        "[...document.querySelectorAll('.plot svg text')].filter((text) => {"
        "const inner = text.getBoundingClientRect();"
        "const outer = text.ownerSVGElement.getBoundingClientRect();"
        "return inner.left < outer.left || inner.right > outer.right"
        " || inner.top < outer.top || inner.bottom > outer.bottom;"
        "}).map((text) => text.textContent)"
    )


def faults(tab: Tab) -> Any:
    """The problems that axe-core finds, except minor ones; an empty list without axe-core."""
    if AXE not in os.environ:
        return []
    tab.evaluate(f"{Path(os.environ[AXE]).read_text(encoding='utf-8')}; 0")
    return tab.evaluate(
        "axe.run(document).then((found) => found.violations.filter((x) => x.impact !== 'minor')"
        ".map((x) => [x.impact, x.id, x.nodes[0].html]))"
    )


@pytest.mark.slow
def test_a_new_board_is_on_all_pages_and_the_order_is_as_promised(site: Path, tab: Tab) -> None:
    tab.open((site / "index.html").as_uri(), 1280, 900)
    boards = tab.evaluate(
        "[...document.querySelectorAll('[name=board] option')].map((x) => x.value)"
    )
    assert "A board that nobody has seen, 1000 MHz" in boards
    # Rows are sorted by image size, then by falling accuracy, then by time. Missing values are
    # last.
    keys = tab.evaluate(
        "[...document.querySelectorAll('#models tbody tr')].map(({dataset: d}) =>"
        " [Number(d.image), d.top1 ? -d.top1 : 1, d.ms ? Number(d.ms) : Infinity]"
        ".map((x) => x === Infinity ? 1e9 : x))"
    )
    assert keys == sorted(keys)
    tab.evaluate(
        "{ const c = document.querySelector('[name=dataset]'); c.value = 'digits';"
        "c.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    assert tab.evaluate(f"{ROWS}[0].cells[2].innerText").startswith("97.2*")
    label = tab.evaluate("document.querySelector('.point').getAttribute('aria-label')")
    assert "of a sample: 360 digits that training never saw" in label
    tab.leave("document.querySelector('#models tr:not([hidden]) a.note').click()")
    assert tab.evaluate("location.pathname").endswith(TRIAL)
    tab.leave("document.getElementById('back').click()")
    assert "A board that nobody has seen" in tab.evaluate("document.body.innerText")


@pytest.mark.slow
def test_the_plot_by_pointer_and_in_other_windows(site: Path, tab: Tab) -> None:
    """A point has a tooltip and a link, dragging zooms, and the plot follows the window's width."""
    tab.open((site / "index.html").as_uri(), 1280, 900)
    tab.hover(".point")
    tip = tab.evaluate("document.querySelector('.tip').innerText").splitlines()
    assert tip[0] in SHOWN and tip[1].startswith("image ")
    assert tip[2].startswith("top-1 ") and " ms (" in tip[3]
    points = "document.querySelectorAll('.point').length"
    before = tab.evaluate(points)
    tab.drag("#plot svg", [(0.05, 0.7), (0.5, 0.88)])
    assert 0 < tab.evaluate(points) < before
    tab.click("#whole")
    assert tab.evaluate(points) == before
    widths = []
    for width in (1280, 700):
        tab.resize(width, 900)
        tab.wait_until("document.querySelector('#plot svg').clientWidth <= plot.clientWidth")
        widths.append(
            tab.evaluate("Number(document.querySelector('#plot svg').getAttribute('width'))")
        )
    assert widths[1] < 700 < widths[0] and tab.evaluate(points) == before
    where = "document.querySelector('.point path').getBoundingClientRect()"
    x, y = tab.evaluate(f"[{where}.x + {where}.width / 2, {where}.y + {where}.height / 2]")
    point = f"document.elementFromPoint({x}, {y}).closest('.point')"
    name = tab.evaluate(f"{point}.getAttribute('href')")
    tab.leave(f"{point}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert tab.evaluate("location.pathname").endswith(name)
