"""The site of `ellc gallery build`: reproducible, without requests to other hosts, in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, browser_tab, find_browser
from determinism import assert_same_bytes_twice
from hostile_texts import TEXTS

from ellc.gallery.models import counted, layer_rows
from ellc.gallery.published import published
from ellc.gallery.rows import NetworkName, Result
from ellc.gallery.site import build_site
from ellc.ir.errors import EllcError
from ellc.models import read_model
from ellc.zoo.gallery import pages

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits8.tflite"
SHOWN = ("Bean", "Coconut", "mobilenet_v1_0.25_128", "resnet8", "quicknet", "DN-160")
"""Models of the zoo whose published figures are on the site of the tests."""


def own_result(folder: Path, text: str = "digits") -> Path:
    """A result with a model file, and with `text` for each key that may have any text."""
    shutil.copy(DIGITS, folder / "digits8.tflite")
    result = {
        "format": "ellc gallery 1",
        "model": "digits8",
        "precision": "int8",
        "board": text,
        "clock_mhz": 1200,
        "engine": text,
        "input": [8, 8, 1],
        "colours": "grey",
        "dataset": text,
        "origin": text,
        "network": {"file": "digits8.tflite"},
        "figures": [
            {"of": "top1", "value": 97, "provenance": "measured", "command": text},
            {"of": "ms", "value": 0.5, "provenance": "modelled", "command": text, "threads": 1},
            {"of": "ms", "provenance": "measured", "command": "not yet measured", "threads": 2},
            {
                "of": "top5",
                "value": 99,
                "provenance": "published",
                "source": {"title": text, "url": "https://example.org/digits?a=1&b=2"},
            },
        ],
        "commands": [text],
        "downloads": [{"title": text, "file": "digits8.tflite"}],
        "notes": [text],
        "machine": text,
    }
    path = folder / "own.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def some_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the published figures of a few models only, because all models would take seconds."""
    some: tuple[Result, ...] = tuple(result for result in published() if result.model in SHOWN)
    monkeypatch.setattr("ellc.gallery.site.published", lambda: some)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        some = tuple(result for result in published() if result.model in SHOWN)
        patch.setattr("ellc.gallery.site.published", lambda: some)
        build_site([own_result(folder)], folder / "site")
    yield folder / "site"


class Outline(HTMLParser):
    """Collects tags with the names of their attributes, addresses in attributes, and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.assets: list[str] = []
        self.policy = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self._in = tag
        values = {name: value or "" for name, value in attrs}
        if "content" in values and "http-equiv" in values:
            self.policy = values["content"]
        if tag == "a":
            self.links.append(values.get("href", ""))
        else:
            self.loaded += [
                values[name] for name in ("href", "src", "data", "srcset") if name in values
            ]

    def handle_data(self, data: str) -> None:
        if self._in in ("style", "script"):
            self.assets.append(data)
            self._in = ""


def test_the_same_results_give_the_same_bytes(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    (again / "notes.txt").write_text("kept")
    build_site([own_result(tmp_path)], again)
    (again / "notes.txt").unlink()
    files = {path.name: path.read_bytes() for path in site.iterdir()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files
    expected = {f"model-{name}.html" for name in (*SHOWN, "digits8")}
    own = {"index.html", "file-digits8-digits8.tflite", "try-int8-digits8.html"}
    assert files.keys() == {*own, *expected}


def test_pages_load_nothing_and_run_only_their_own_script(site: Path) -> None:
    for path in sorted(site.glob("*.html")):
        text = path.read_text(encoding="utf-8")
        outline, runs = Outline(text), path.name.startswith("try-")
        assert set(outline.loaded) <= {"data:,"}, path.name
        for link in outline.links:
            inside = link.startswith("#") or (site / link).is_file()
            assert inside or link.startswith("https://"), link
        for asset in outline.assets:
            digest = base64.b64encode(hashlib.sha256(asset.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in outline.policy, path.name
            assert "//" not in re.sub(r"(?m)^// .*$| // .*$", "", asset).replace(
                '"http://www.w3.org/2000/svg"', ""
            )
        allowed = outline.policy.replace(" 'wasm-unsafe-eval'", "") if runs else outline.policy
        assert "default-src 'none'" in allowed and "unsafe" not in allowed
        assert not {name for _, names in outline.tags for name in names if name.startswith("on")}
        assert not [names for _, names in outline.tags if "style" in names]


@pytest.mark.slow
def test_texts_of_results_stay_text(tmp_path: Path) -> None:
    hostile = "".join(TEXTS)
    outlines = []
    for text in (hostile, re.sub(".", "x", hostile, flags=re.DOTALL)):
        build_site([own_result(tmp_path, text)], tmp_path / "site", with_published=False)
        names = ("index.html", "model-digits8.html", "try-int8-digits8.html")
        outlines.append(
            [Outline((tmp_path / "site" / n).read_text(encoding="utf-8")) for n in names]
        )
    for one, other in zip(*outlines, strict=True):
        assert one.tags == other.tags and one.links == other.links


def test_provenances_are_apart_on_the_page_of_a_model(site: Path) -> None:
    text = (site / "model-digits8.html").read_text(encoding="utf-8")
    for meaning, number in (("measured", "97"), ("modelled", "0.5"), ("published", "99")):
        (row,) = [
            line for line in text.splitlines()
            if f'<tr class="{meaning}">' in line and f'<td class="n number">{number}<' in line
        ]  # fmt: skip
        assert f'class="badge {meaning}"' in row
    assert "not yet measured" not in text
    assert "1.2 KiB" not in text and "ellc inspect digits8.tflite" in text
    bean = (site / "model-Bean.html").read_text(encoding="utf-8")
    assert "blue, green, red" in bean and "ellc zoo inspect Bean" in bean
    assert "neither a list of layers" in (site / "model-DN-160.html").read_text(encoding="utf-8")


def test_layers_have_the_paddings_of_ells_pages() -> None:
    """The padded shapes of layers with windows are those of ELL's page."""
    page = next(page for page in pages() if page.name == "d_I160x160x3CMCMCMCMCMCMC1A")
    rows = layer_rows(counted(NetworkName(zoo=page.name)))
    windowed = [row for row in rows if "x" in row.operator and row.operator[-1:].isdigit()]
    before, expected = page.input, []
    for layer in page.layers:
        if layer.window:
            expected.append((layer.kind, before))
        before = layer.out
    for row, (kind, shape) in zip(windowed, expected, strict=True):
        # The last window of a pool reaches beyond an image of odd size; pages do not list that
        # pixel.
        odd = kind == "MaxPooling" and shape[0] % 2 == 1
        assert row.shape_in == ((shape[0] + 1, shape[1] + 1, shape[2]) if odd else shape)
    for row, after in pairwise(rows):
        assert (row.shape_out, row.pad_out) == (after.shape_in, after.pad_in)


def test_a_model_file_that_cannot_be_read_is_a_problem_of_its_result(tmp_path: Path) -> None:
    path = own_result(tmp_path)
    (tmp_path / "digits8.tflite").write_bytes(b"no model")
    with pytest.raises(EllcError, match=r"own\.json: network: ") as caught:
        build_site([path], tmp_path / "site", with_published=False)
    assert caught.value.code == "E780" and not (tmp_path / "site").exists()
    with pytest.raises(EllcError, match="there are no results"):
        build_site([], tmp_path / "site", with_published=False)


@pytest.mark.slow
def test_the_command_writes_the_same_bytes_everywhere(tmp_path: Path, ellc_command: Any) -> None:
    def build(folder: Path, hash_seed: str) -> None:
        own_result(folder)
        words = ("gallery", "build", "own.json", "-o", "site", "--no-published", "--json")
        done = ellc_command(*words, cwd=folder, env={"PYTHONHASHSEED": hash_seed})
        assert done.returncode == 0, done.stderr
        built = {"folder": "site", "models": 1, "results": 1, "figures": 3, "trials": 1}
        assert json.loads(done.stdout) == built

    assert "site/index.html" in assert_same_bytes_twice(build, tmp_path)


@pytest.mark.slow
def test_packages_are_downloads(tmp_path: Path) -> None:
    """Compiled packages have all their files; models that fit are also offered as `.ell.zip`."""
    shutil.copy(DIGITS.parent / "digits_float.ell", tmp_path)
    path = own_result(tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    both = document | {"network": {"file": "digits_float.ell"}, "precision": "fp32"}
    (tmp_path / "float.json").write_text(json.dumps(both), encoding="utf-8")
    folder = tmp_path / "site"
    paths = [path, tmp_path / "float.json"]
    build_site(paths, folder, with_published=False, targets=("pi3_64",), most_trial_bytes=0)
    names = {
        f"package-{of}.zip"
        for of in ("fp32-pi3_64-digits8", "fp32-ell-digits8.ell", "int8-pi3_64-digits8")
    }
    assert {x.name for x in folder.glob("package-*")} == names
    page = (folder / "model-digits8.html").read_text(encoding="utf-8")
    assert all(f'<a href="{name}" download>' in page for name in names)
    with zipfile.ZipFile(folder / "package-int8-pi3_64-digits8.zip") as archive:
        inside = archive.namelist()
    assert len(set(inside)) == len(inside)
    wanted = ("libdigits8.so", "digits8.h", "digits8.json", "build/digits8.py", "demo.c")
    assert {f"digits8-pi3_64/{name}" for name in wanted} <= {*inside}
    graph = read_model(folder / "package-fp32-ell-digits8.ell.zip")
    assert graph.output_types() == read_model(tmp_path / "digits_float.ell").output_types()
    first = {x.name: x.read_bytes() for x in folder.iterdir()}
    build_site(paths, folder, with_published=False, targets=("pi3_64",), most_trial_bytes=0)
    assert {x.name: x.read_bytes() for x in folder.iterdir()} == first
    with pytest.raises(EllcError, match="unknown target"):
        build_site([path], folder, with_published=False, targets=("pi33",))


# --- in a browser ---

POINTS = "document.querySelectorAll('.point').length"
ROWS = "[...document.querySelectorAll('#models tbody tr:not([hidden])')]"
NAMES = f"{ROWS}.map((row) => row.dataset.name)"
SOON = "new Promise((done) => setTimeout(done, 100))"
LEAVES = "new Promise((done) => addEventListener('pagehide', done))"


@pytest.fixture
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium found: on Debian, apt-get install chromium-headless-shell")
    return found


def choose(tab: Tab, name: str, value: str) -> None:
    """Set a control of the filters as a visitor would."""
    tab.evaluate(
        f"{{ const c = document.getElementById('filters').elements.{name};"
        f"c.value = {json.dumps(value)}; c.dispatchEvent(new Event('input', {{bubbles: true}})); }}"
    )


@pytest.mark.slow
def test_the_site_in_a_browser(site: Path, browser: str, tmp_path: Path) -> None:
    with browser_tab(browser, tmp_path / "profile") as tab:
        tab.open((site / "index.html").as_uri(), 1280, 1000)
        # The plot shows the data set with the most rows, and a line from the fastest to the best
        # model.
        every = tab.evaluate(NAMES)
        assert set(every) == {*SHOWN} - {"resnet8"} and every[0] == "Coconut"
        assert (
            tab.evaluate(POINTS)
            == tab.evaluate(f"{ROWS}.filter((r) => r.dataset.ms && r.dataset.top1).length")
            > 8
        )
        assert tab.evaluate("document.querySelector('.front') !== null")
        tab.screenshot(tmp_path / "index.png")
        # Filter by a chip, by data set and by words; the address contains the filters.
        tab.click("input[name=precision][value=binary]")
        assert set(tab.evaluate(NAMES)) == {"quicknet"}
        tab.click("button[type=reset]")
        choose(tab, "dataset", "")
        assert {"resnet8", "digits8"} <= set(tab.evaluate(NAMES))
        choose(tab, "q", "DIGITS 8")
        assert tab.evaluate(NAMES) == ["digits8"]
        label = tab.evaluate("document.querySelector('.point').getAttribute('aria-label')")
        assert "97 % (measured here)" in label and "0.5 ms (modelled)" in label
        assert tab.evaluate("document.querySelector('.point line') !== null")
        assert "q=DIGITS" in tab.evaluate("location.hash")
        choose(tab, "q", "nothing has this name")
        assert tab.evaluate("document.querySelector('#plot text').textContent").startswith("No row")
        # A click sorts, and another click reverses the order; missing values are last both times.
        choose(tab, "q", "")
        for direction, sign in (("ascending", 1), ("descending", -1)):
            tab.click("button[data-by=ms]")
            times = tab.evaluate(f"{ROWS}.map((row) => row.dataset.ms)")
            known = [float(ms) for ms in times if ms]
            assert known == sorted(known, reverse=sign < 0) and times[len(known) :] == [""] * (
                len(times) - len(known)
            )
            assert tab.evaluate("document.querySelector('[aria-sort]').ariaSort") == direction
        # Change to a linear axis, zoom in, and show everything again.
        before = tab.evaluate(POINTS)
        tab.click("input[name=linear]")
        assert tab.evaluate(POINTS) == before
        tab.click("#closer")
        assert tab.evaluate(POINTS) < before
        tab.click("#whole")
        assert tab.evaluate(POINTS) == before
        follow_by_keys(tab, before, tmp_path / "model.png")
        assert tab.errors == []
        assert all(address.startswith("file://") for address in tab.requests)


def follow_by_keys(tab: Tab, points: object, picture: Path) -> None:
    """Go to the next point, which shows its tooltip; Enter follows its link; then go back."""
    tab.evaluate("document.querySelector('.point[tabindex=\"0\"]').focus()")
    first = tab.evaluate("document.activeElement.dataset.place")
    tab.press("ArrowRight")
    assert tab.evaluate("document.activeElement.dataset.place") != first
    tip = tab.evaluate("document.querySelector('.tip').innerText")
    link = tab.evaluate("document.activeElement.getAttribute('href')")
    assert f"model-{tip.splitlines()[0]}.html" == link
    state = tab.evaluate("location.hash")
    visit(tab, ".point[tabindex='0']")
    assert tab.evaluate("document.querySelector('h1').innerText") == tip.splitlines()[0]
    tab.screenshot(picture)
    visit(tab, "", "history.back()")
    tab.evaluate(SOON)
    assert tab.evaluate("location.hash") == state and tab.evaluate(POINTS) == points


def visit(tab: Tab, selector: str, program: str = "") -> None:
    """Leave the page with a click or a program, and wait for the next page."""
    tab.leave(
        program
        or f"document.querySelector({json.dumps(selector)}).dispatchEvent("
        "new MouseEvent('click', {bubbles: true, cancelable: true}))"
    )
