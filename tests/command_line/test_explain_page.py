"""The page that `ellc explain --html` writes: its content, and how it works in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, browser_tab, find_browser
from hostile_texts import PLACES, TEXTS, network
from parts import is_whole
from small_networks import convolution_network, ready, two_way_network

from ellc.codegen.kir.ir import Kernel
from ellc.codegen.machine.resolve import resolve
from ellc.explain.arena_map import arena_map
from ellc.explain.assembly import Assembly
from ellc.explain.cycle_tool import VARIABLE
from ellc.explain.names import find
from ellc.explain.page import page
from ellc.explain.study import Study, all_kernels, study
from ellc.ir.container import save
from ellc.ir.graph import Graph

HOSTILE = "".join(TEXTS)
MOBILENET = (
    "mobilenet_v2_1.0_224_float_dequantized.onnx" if is_whole() else "mlperf_vww96_float.tflite"
)
"""MobileNet V2, or a quarter of V1, which is planned in a fifth of the time."""


@pytest.fixture(autouse=True)
def no_cycle_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the variable on which the page would depend."""
    monkeypatch.delenv(VARIABLE, raising=False)


class Outline(HTMLParser):
    """Collects tags with the names of their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for name, value in attrs if name in ("href", "src")]


def packed_data(text: str) -> Any:
    """The data that the script of the page unpacks."""
    (letters,) = re.findall(r'id="data">([A-Za-z0-9+/=]*)</script>', text)
    return json.loads(zlib.decompress(base64.b64decode(letters)))


@pytest.fixture(scope="module")
def small() -> Study:
    return study(convolution_network(), resolve("pi3_64"))


@pytest.fixture(scope="module")
def small_page(small: Study) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        return page(small)


@pytest.mark.slow
def test_page_holds_every_kernel_once(small: Study, small_page: str) -> None:
    data = packed_data(small_page)
    assert len(data["kernels"]) == len(list(all_kernels(small.nodes))) == 3
    for kernel in data["kernels"]:
        assert kernel["kernel"].startswith("kernel ") and "define " in kernel["llvm"]
        assert "ret" in kernel["asm"] and kernel["costs"] is None
    assert set(data["nodes"]) == {node.value for node in small.nodes}
    assert page(small) == small_page


def test_page_needs_no_network(small: Study, small_page: str) -> None:
    without_names = small_page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "://" not in re.sub(r'id="data">.*?</script>', "", without_names)
    assert set(Outline(small_page).values) <= {"#", "data:,", *(f"#{n.value}" for n in small.nodes)}


@pytest.mark.parametrize("place", PLACES)
def test_names_of_a_model_stay_text(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_assembly(kernels: list[Kernel], *_: object) -> dict[str, Assembly]:
        return {kernel.name: Assembly(()) for kernel in kernels}

    monkeypatch.setattr("ellc.explain.study.assemble", no_assembly)
    harmless = re.sub("[^;]", "x", HOSTILE)  # converters join names of layers with semicolons
    texts = [page(study(network(text, place), resolve("pi3_64"))) for text in (HOSTILE, harmless)]
    hostile, plain = map(Outline, texts)
    assert hostile.tags == plain.tags and hostile.values == plain.values


@pytest.mark.parametrize("graph", [convolution_network(), two_way_network()], ids=["conv", "two"])
def test_arena_map_has_every_buffer(graph: Graph) -> None:
    found = study(graph, resolve("pi3_64"))
    picture = arena_map(found)
    assert picture.count('class="life ') == len(found.plan.arena.lifetimes)
    assert picture.count('class="life state"') == len(graph.states)
    values = {value for node in found.nodes for value in node.node.outputs}
    assert set(re.findall(r'data-key="([^"]*)"', picture)) <= values


@pytest.mark.slow
def test_command_writes_the_page(tmp_path: Path, ellc_command) -> None:
    save(ready(convolution_network()), tmp_path / "m.eir")
    words = ("explain", "m.eir", "--target", "pi3_64", "--html")
    done = ellc_command(*words, "page.html", env={VARIABLE: None})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("page.html: 3 nodes, 3 kernels, ")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    both = ellc_command(*words, "page.html", "--node", "conv1")
    assert both.returncode == 2 and "--html shows all nodes" in both.stderr


# --- in a browser ---


@pytest.fixture
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium found: on Debian, apt-get install chromium-headless-shell")
    return found


def open_page(tab: Tab, text: str, folder: Path) -> None:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    tab.open(path.as_uri(), 1400, 1000)


SOON = "new Promise((done) => setTimeout(done, 200))"
SHOWN = "document.querySelector('.node-panel:not([hidden])')"


def walk_down(tab: Tab, found: Study, layer: str) -> None:
    """Click the box of a layer, and check that all its levels are shown."""
    (node,) = find(found, layer)
    assert tab.evaluate(f"{SHOWN} === null && !document.getElementById('overview').hidden")
    tab.click(f'nav [data-key="{node.value}"]')
    tab.evaluate("data.then(() => new Promise(requestAnimationFrame))")
    assert tab.evaluate(f"{SHOWN}.dataset.key") == node.value
    shown = tab.evaluate(f"{SHOWN}.innerText")
    for text in (node.operator, f"{node.macs:,}", node.predictions[0].kernel, "after all passes"):
        assert text in shown
    for level, sign in (("kernel", "mul_add"), ("llvm", "define hidden void"), ("asm", "fmla")):
        assert sign in tab.evaluate(f"{SHOWN}.querySelector('pre.{level}').innerText")
    assert tab.evaluate("document.getElementById('overview').hidden")
    tab.press("ArrowDown")
    after = found.nodes[found.nodes.index(node) + 1]
    tab.evaluate(SOON)
    assert tab.evaluate(f"{SHOWN}.dataset.key") == after.value


@pytest.mark.slow
def test_a_click_walks_down_the_levels(
    small: Study, small_page: str, browser: str, tmp_path: Path
) -> None:
    with browser_tab(browser, tmp_path / "profile") as tab:
        open_page(tab, small_page, tmp_path)
        walk_down(tab, small, "conv1")
        tab.evaluate("location.hash = ''")
        tab.click("details[data-pass] summary")
        tab.evaluate(SOON)
        assert "+  %v4 = fused{" in tab.evaluate("document.querySelector('.diff').innerText")
        assert tab.errors == [] and len(tab.requests) == 1


@pytest.mark.slow
@pytest.mark.needs_data
def test_page_of_mobilenet(browser: str, tmp_path: Path, test_data: Path) -> None:
    """The page is small and causes no console errors; screenshots are written for inspection."""
    found = study(test_data / "models" / MOBILENET, resolve("pi3_64"))
    with browser_tab(browser, tmp_path / "profile") as tab:
        open_page(tab, page(found), tmp_path)
        assert (tmp_path / "page.html").stat().st_size < 4_000_000
        tab.screenshot(tmp_path / "overview.png")
        largest = max(found.nodes, key=lambda node: node.macs)
        walk_down(tab, found, largest.node.outputs[0])
        tab.screenshot(tmp_path / "node.png")
        assert tab.errors == [] and len(tab.requests) == 1
        for edge in ("nav", "main"):  # nothing is wider than a window of 1400 px
            assert tab.evaluate(
                f"document.querySelector('{edge}').getBoundingClientRect().right <= 1400"
            )
        wide = "const m = document.querySelector('main'); m.scrollWidth <= m.clientWidth"
        assert tab.evaluate(wide)
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)  # the browser may not have ended yet
