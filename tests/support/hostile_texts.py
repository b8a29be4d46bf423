"""Texts that could break generated files, and networks that contain such texts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.types import DType, Padding, TensorType

TEXTS: tuple[str, ...] = (
    '"""\nimport os; os.mkdir("ellc_was_here")\n"""',
    "'''\nimport os\n'''",
    '\\"""',
    "\\",
    "\\N{BULLET} \\x \\u12",
    "x *\\\n/\nint pwned = 42; /*",
    "*/ int pwned; /*",
    "*??/\n/ int pwned; /*",
    "??/",
    "/*",
    "//\\",
    "#define pwned\n#include </etc/passwd>",
    '"); system("true"); ("',
    "%s%n{{ 7 * 7 }}{% raw %}${HOME}$ENV{HOME}`id`$(id)",
    '")\nmessage(FATAL_ERROR pwned)\n#[[',
    "a;b]==] <![CDATA[ </title><script>alert(1)</script> & é",
    '", "abi": 0, "x": "',
    "\x1b[31mred\x1b]0;title\x07\x08\x7f\x9b2J",
    "error[E000]: x\nhint: y\r\rz",
    "\u202egnp.exe\u2066\u200b\u2028\u2029\ufeff",
    "\x00",
    "\ud800 lone \udfff",
    "\U0001f600\U000e0041\ufffe",
    "größe 日本",
    "",
    " ",
    "../../etc/passwd",
    "3d",
    "--help",
    "nul",
    "a\tb\vc\fd",
    "[bold red]x[/]",
    "x" * 300,
)

_WORDS = """
in out m f i k context instance arena get ready index shape key inputs outputs none entries NULL
EOF NAN linux unix i386 INT32_MAX UINT8_C SIZE_MAX INPUT OUTPUT I _Bool _Complex __LINE__ __x _
__ ___ bool true nullptr int class template co_await import module restrict _Static_assert
typeof constexpr match case type None lambda async size_t uint8_t int_fast16_t TensorShape X Y x
y net_ABI net_t net_predict net_OK net_INPUT0_SIZE net_step_0 net_frame netto errno stdout
assert
"""

WORDS: tuple[str, ...] = tuple(_WORDS.split())

PLACES = ("graph", "input", "output", "state", "node", "metadata", "preprocessing")
"""The places in a network that contain text from the model."""

PREPROCESSING = {
    "expectedColorChannelOrder": "rgb",
    "expectedPixelRangeLow": "0",
    "expectedPixelRangeHigh": "1",
    **{f"{colour}ChannelMean": "0.5" for colour in ("red", "green", "blue")},
    **{f"{colour}ChannelStdDev": "0.25" for colour in ("red", "green", "blue")},
}
"""ELL's metadata about pictures: keys after `model.input.`, each with a valid value."""


def network(text: str, place: str) -> Graph:
    """A network of two layers with this text at `place`, and harmless texts everywhere else."""

    def at(where: str) -> str:
        return text if where == place else f"fine_{where}"

    b = GraphBuilder(at("graph"))
    x = b.input(at("input"), TensorType(DType.F32, (1, 4, 4, 2)))
    other = b.input(f"{at('input')} ", TensorType(DType.F32, (1, 4, 4, 3)))
    weights = b.constant(np.ones((3, 3, 3, 2), np.float32))
    y = b.add(Conv2D(padding=Padding.same(1)), x, weights, source=at("node"))
    total = b.state(at("state"), np.ones((1, 4, 4, 3), np.float32))
    y = b.add(Add(), y, total, source=at("node"))
    b.set_state(at("state"), y)
    b.output(at("output"), b.add(Relu(), y, source=f"{at('node')}.relu"))
    b.output(f"{at('output')} ", b.add(Add(), y, other, source=at("node")))
    said = at("metadata")
    b.metadata({said: said, "about.text": said, "labels": said, "note.0": said})
    pixels = {**PREPROCESSING, at("preprocessing"): "0"}
    if place == "preprocessing":
        pixels = dict.fromkeys(pixels, text)
    b.metadata({f"model.input.{key}": said for key, said in pixels.items()})
    return b.build()


def many_ports(names: Iterable[str]) -> Graph:
    """A network called `net`, with an input and an output of each name."""
    b = GraphBuilder("net")
    y = b.add(Relu(), b.input("first input", TensorType(DType.F32, (4,))))
    for name in names:
        b.input(name, TensorType(DType.F32, (4,)))
        b.output(name, y)
    b.metadata({f"about.{i}": text for i, text in enumerate(TEXTS)})
    b.metadata(dict(zip(TEXTS, TEXTS, strict=True)))
    return b.build()
