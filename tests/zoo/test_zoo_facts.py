"""Published facts: the files are valid, and their sizes are those of the zoo's networks."""

from __future__ import annotations

import json
from pathlib import Path

import gallery_pages
import pytest

from ellc.ir.errors import EllcError
from ellc.zoo import networks
from ellc.zoo.catalogue import find
from ellc.zoo.facts import Size, facts, load
from ellc.zoo.families import FAMILIES
from ellc.zoo.measured import NetworkSizes
from ellc.zoo.plots import missing

ALL, SOURCES = facts()
FACTS = {name: row for name, row in ALL.items() if row.origin != "ELL gallery"}
LISTED = [name for family in FAMILIES for name in family.listed]
GOOD = """dataset = "a"
colours = "rgb"
origin = "b"
"""
SOURCE = """[one]
title = "One"
url = "https://example.org"
"""


def test_every_listed_network_has_facts_and_every_fact_a_network() -> None:
    assert set(FACTS) == {*LISTED, "AlexNet", "CaffeNet"}
    assert set(ALL) == {network.name for network in networks()} | set(missing())


@pytest.mark.parametrize("name", FACTS)
def test_published_sizes_are_the_networks_or_the_difference_is_explained(name: str) -> None:
    measured, sizes = NetworkSizes(name), FACTS[name].sizes
    for size in sizes:
        ours = f"{size}: ours is {measured.of(size):,}"
        # If a difference no longer exists, its reason must be removed.
        assert measured.agrees(size) == (not size.difference), ours


def test_enough_is_compared() -> None:
    sizes = [size for row in FACTS.values() for size in row.sizes]
    exact = [size for size in sizes if size.of == "parameters" and size.step == 1]
    assert len(sizes) >= 90 and len(exact) >= 20
    assert sum(bool(size.difference) for size in sizes) <= 19


def test_colours_are_those_of_the_networks() -> None:
    for name, row in FACTS.items():
        channels = find(name).input[-1] if len(find(name).input) == 3 else 0
        assert (channels == 3) == (row.colours in ("rgb", "bgr")), name


def test_every_source_is_used() -> None:
    used = set().union(*[one.sources for one in ALL.values()])
    assert used == set(SOURCES)


def test_figures_of_the_best_known_page() -> None:
    row = ALL["d_I224x224x3NCMNCMNBMNBMNBMNBMNC1A"]
    (accuracy,) = row.accuracies
    assert accuracy.precision == "binary" and 30 < accuracy.top1 < (accuracy.top5 or 0)
    assert {(x.board, x.clock_mhz) for x in row.speeds} >= {("Raspberry Pi 3 (Raspbian)", 700)}


@pytest.mark.needs_data
def test_the_figures_are_the_gallerys(test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    file = Path(gallery_pages.__file__).parents[2] / "ellc/zoo/facts/gallery.json"
    assert file.read_text(encoding="utf-8") == gallery_pages.figures_text(models)


@pytest.mark.parametrize(
    ("published", "value", "step"),
    [("0.47 M", 470_000, 10_000), ("138357544", 138357544, 1), ("4.0 MiB", 2**22, 2**20 / 10)],
)
def test_published_figures_keep_how_fine_they_are(published: str, value: int, step: float) -> None:
    size = Size("parameters", published, "one")
    assert size.value == value and size.step == pytest.approx(step)


def test_a_wrong_figure_shows() -> None:
    measured = NetworkSizes("resnet8")
    assert measured.agrees(Size("parameters", "78666", "", "all"))
    assert not measured.agrees(Size("parameters", "78667", "", "all"))
    assert not measured.agrees(Size("macs", "12.6 M", ""))
    assert not measured.agrees(Size("fp32 file", "0.50 MB", ""))
    assert not measured.agrees(Size("fp32 file", "0.2 MB", ""))


BAD_ROWS = """[[size]]
of = "weight"
published = "much"
source = "three"
[[size]]
of = "parameters"
published = "1 M"
source = "one"
[[accuracy]]
precision = "int8"
top1 = 101
top5 = 50
source = "one"
[[speed]]
ms = 0
board = " "
precision = "fp32"
engine = true
threads = 0
source = "one"
[[weights]]
url = "http://example.org"
sha256 = "12"
"""


def test_all_problems_of_all_files_in_one_report(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text(SOURCE + '[two]\ntitle = ""\nurl = "ftp://x"\n')
    (tmp_path / "a.toml").write_text('dataset = 3\ncolours = "cmyk"\nsurplus = 1\n')
    (tmp_path / "b.toml").write_text(GOOD + BAD_ROWS)
    (tmp_path / "c.toml").write_text("dataset = ")
    times = {"Pi @ 1GHz": 0, " @ 9000000MHz": 1}
    pages = [["Bean", "2020-06-10", 101, 50, times], ["Fig", "2020-06-10", "much", 90, {}]]
    (tmp_path / "gallery.json").write_text(json.dumps(pages))
    with pytest.raises(EllcError) as caught:
        load(tmp_path)
    assert caught.value.code == "E743"
    said = "\n".join(caught.value.problems)
    for part in (
        "a.toml: dataset: 3 is not of type str",
        "a.toml: colours: 'cmyk' is not one of rgb",
        "a.toml: origin: it is missing",
        "a.toml: surplus: unknown key",
        "b.toml: size 1: of: 'weight' is not one of",
        "b.toml: size 1: source: 'three' is not one of one, two",
        "b.toml: size 1: published: 'much' is not a number",
        "b.toml: size 2: counts: it is missing",
        "b.toml: accuracy 1: top1: 101 is not between 0 and 100",
        "b.toml: accuracy 1: top5: 50 is less than top1",
        "b.toml: speed 1: ms: 0 is not between",
        "b.toml: speed 1: board: it is empty",
        "b.toml: speed 1: engine: True is not of type str",
        "b.toml: speed 1: threads: 0 is not between",
        "b.toml: weights 1: url: it must begin with https://",
        "b.toml: weights 1: sha256: it must be 64 hexadecimal digits",
        "b.toml: weights 1: bytes: it is missing",
        "c.toml: Invalid value",
        "gallery.json: Bean: accuracy 1: top1: 101 is not between 0 and 100",
        "gallery.json: Bean: accuracy 1: source: 'ell-gallery' is not one of one, two",
        "gallery.json: Bean: speed 1: ms: 0 is not between",
        "gallery.json: Bean: speed 2: clock_mhz: 9000000 is not",
        "gallery.json: Fig: accuracy 1: top1: 'much' is not of type",
        "sources.toml: two: title: it is empty",
        "sources.toml: two: url: it must begin with https://",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ('{"a": ', "gallery.json: Expecting value"),
        ("3", "gallery.json: 'int' object is not iterable"),
        ('[["Bean", "2020-06-10", 1, 2]]', "gallery.json: not a page: ['Bean',"),
        ('[["Bean", "2020-06-10", 1, 2, {"Pi": 3}]]', "not a board with its clock: Pi"),
        (None, "gallery.json: "),
    ],
)
def test_a_file_of_pages_in_another_form(tmp_path: Path, pages: str | None, said: str) -> None:
    (tmp_path / "sources.toml").write_text(SOURCE)
    if pages is not None:
        (tmp_path / "gallery.json").write_text(pages)
    with pytest.raises(EllcError) as caught:
        load(tmp_path)
    (problem,) = caught.value.problems
    assert said in problem
