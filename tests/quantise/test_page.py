"""The page of a quantisation shows all layers, and foreign text only as text."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from quantisable import Drawn, inputs, quantised

from ellc.ir.ops.activations import Relu
from ellc.progress import silent
from ellc.quantise.damage import LayerDamage, measured
from ellc.quantise.observers import Histogram
from ellc.quantise.page import bars, picture, write_page
from ellc.quantise.report import Outcome


class Words(HTMLParser):
    """Collects the elements and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts += data


def read(path: Path) -> Words:
    words = Words()
    words.feed(path.read_text(encoding="utf-8"))
    return words


def test_the_page_shows_layers_with_odd_names(tmp_path: Path) -> None:
    d = Drawn("odd <b>name</b>")
    x = d.conv(d.x, 4)
    d.builder.output("y", d.add(Relu(), x, source='</svg><script>"alert"</script>'))
    graph = d.builder.build()
    odd = '</td><script>alert("x")</script>'
    graph = replace(graph, nodes=(replace(graph.nodes[0], source=(odd,)), *graph.nodes[1:]))
    result = replace(quantised(graph, tmp_path), left_float={odd: "a <reason>"})
    damages = measured(result, inputs(2), 2, tmp_path / "damage", silent)
    outcome = Outcome("q.eir", 1000, 4000, 2, result, damages, None, "no <i>classes</i>")
    write_page(outcome, tmp_path / "page.html")
    page = read(tmp_path / "page.html")
    assert "script" not in page.elements and page.elements.count("svg") == 1
    for text in (odd, "a <reason>", "no <i>classes</i>", "1 of 1 convolutions", " dB"):
        assert text in page.texts
    first = (tmp_path / "page.html").read_bytes()
    write_page(outcome, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == first


def damage(low: float, high: float) -> LayerDamage:
    return LayerDamage("n", "product", "v", "mse", low, high, 1.0, 0, 30.0, 0.0)


@pytest.mark.parametrize("values", [[0.0], [1.0, 2.0, 900.0], [-3.0, 4.0], [1e-38, 0.0], [3e38]])
def test_bars_count_every_number(values: list[float]) -> None:
    seen = Histogram()
    seen.add(np.array(values))
    for ends in ((-1.0, 1.0), (0.0, 1000.0), (-1e-9, 1e-9), (0.0, 3e38)):
        first, last, counts = bars(seen, damage(*ends))
        assert counts.sum() == len(values) and 0 <= first <= last < len(counts) <= 97
        assert str(picture(seen, damage(*ends))).endswith("</svg>")


def test_saturated_numbers_have_bars_outside_the_range() -> None:
    seen = Histogram()
    seen.add(np.array([-2.0, 0.5, 5.0]))
    first, last, counts = bars(seen, damage(-1.0, 1.0))
    assert counts[:first].sum() == 1 and counts[first : last + 1].sum() == 1
    assert counts[last + 1 :].sum() == 1
