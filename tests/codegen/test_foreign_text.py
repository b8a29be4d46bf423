"""Text in a model never becomes code in a generated file.

Files generated for a network with hostile texts are compared with those for a network with the same
structure and harmless texts.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from c_tokens import Token, tokens
from hostile_texts import PLACES, TEXTS, WORDS, many_ports, network
from parts import quick_part
from small_networks import ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.languages.foreign_text import (
    CCode,
    CMakeCode,
    Comment,
    HtmlCode,
    Identifier,
    JsCode,
    PythonCode,
    c_code,
    c_string,
    comment,
    html_code,
    html_text,
    js_literal,
    python_literal,
)
from ellc.codegen.languages.names import valid_name
from ellc.codegen.languages.render import environment
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.output.package.adapters import write_adapter
from ellc.codegen.output.package.manifest import Costs, manifest, write_manifest
from ellc.codegen.output.package.texts import (
    Linkable,
    write_cmake,
    write_demo,
    write_ell_names,
    write_js_module,
    write_python_module,
)
from ellc.codegen.output.package.version import PackageVersion
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain import zig
from ellc.ir.builder import GraphBuilder
from ellc.ir.file_interface import FileInterface, FilePort, Runtime
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Relu
from ellc.ir.printable import visible
from ellc.ir.types import DType, TensorType
from ellc.pictures.pixels import Preprocessing
from ellc.pictures.preprocessing import with_preprocessing


class Files:
    """All text files that are generated for a network."""

    def __init__(self, graph: Graph, folder: Path) -> None:
        name = valid_name(graph.name)
        plan = make_plan(ready(graph), resolve("host"), Options(), name)
        self.model = make_model(plan, name)
        own = PackageVersion("1.2")
        python = write_python_module(self.model, f"lib{name}.so", "1", folder, own)
        adapters = [
            write_adapter(self.model, _file(graph, runtime), runtime, "1", folder)
            for runtime in get_args(Runtime)
        ]
        ell = write_ell_names(self.model, "1", folder)
        demo = write_demo(self.model, "1", folder)[0]
        library, header = folder / f"lib{name}.so", folder / f"{name}.h"
        linkable = Linkable("so", library, None, (), (header,))
        cmake, *_ = write_cmake(self.model, linkable, "1", folder, own, demo=True)
        costs = Costs(0, 0, 0)
        document = manifest(plan, self.model, costs, "1", folder, [], own)
        write_manifest(folder / "m.json", document)
        self.cmake, self.json = (p.read_text("utf-8") for p in (cmake, folder / "m.json"))
        self.python = [path.read_text("utf-8") for path in (python, *adapters)]
        self.c = {
            "header": header_text(self.model, "1"),
            "source": source_text(self.model, "1"),
            "ell": "".join(path.read_text("utf-8") for path in ell),
            "demo": demo.read_text("utf-8"),
        }
        self.js = [path.read_text("utf-8") for path in write_js_module(self.model, "1", folder)]
        self.llvm = llvm_module(plan_kernels(plan), plan.target)

    @property
    def js_structure(self) -> list[str]:
        """The JavaScript files without comments, text of literals, names of ports and hashes.

        Names of ports are literals, except in the types.
        """
        texts = [_JS_PART.sub(lambda part: '""' * (part[0][0] == '"'), text) for text in self.js]
        texts = [re.sub(r"readonly \w+:|abi: \d+", "", text) for text in texts]
        return [re.sub(r"\s+", " ", text) for text in texts]

    @property
    def trees(self) -> list[str]:
        """The syntax trees of the Python files."""
        return list(map(_tree, self.python))

    def tokens(self, file: str) -> list[Token]:
        """Tokens of a C file, without the text of literals and without names of kernels and ports.

        The demo does not contain names of ports, so none are replaced there.
        """
        kernels = {c.kernel: f"kernel{i}" for i, c in enumerate(self.model.once + self.model.steps)}
        ports = {p.c_name: f"port{i}" for i, p in enumerate(self.model.inputs + self.model.outputs)}
        names = kernels if file == "demo" else kernels | ports
        return [_plain(token, names) for token in tokens(self.c[file])]


def _file(graph: Graph, runtime: Runtime) -> FileInterface:
    """A file with the texts of the graph wherever it has texts."""
    ports = [
        [FilePort(p.name, p.name, i, (p.name,) * 9) for i, p in enumerate(side)]
        for side in (graph.inputs, graph.outputs)
    ]
    texts = tuple(graph.metadata.items())
    text = graph.inputs[0].name
    return FileInterface(runtime, text, tuple(ports[0]), tuple(ports[1]), text, texts, texts)


def _plain(token: Token, names: dict[str, str]) -> Token:
    if token.kind == "string":
        return Token("string", "")
    text = re.sub(r"^0x[0-9a-f]{8}u$", "hash", token.text)
    return Token(token.kind, names.get(text, text))


_JS_PART = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def _tree(source: str) -> str:
    """The syntax tree of a Python file, in which every string is empty."""
    parsed = ast.parse(source)
    for node in ast.walk(parsed):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(parsed)


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a network with harmless texts."""
    return Files(network("", ""), tmp_path_factory.mktemp("fine"))


@pytest.mark.slow
@pytest.mark.parametrize("place", [place for place in PLACES if place != "graph"])
def test_files_differ_in_literals_and_names_only(fine: Files, place: str, tmp_path: Path) -> None:
    wanted = {file: fine.tokens(file) for file in fine.c}
    for text in quick_part(TEXTS, PLACES.index(place), 2):
        made = Files(network(text, place), tmp_path)
        assert {file: made.tokens(file) for file in made.c} == wanted, text
        assert made.trees == fine.trees, text
        assert made.js_structure == fine.js_structure, text
        assert made.cmake == fine.cmake
        assert list(json.loads(made.json)) == list(json.loads(fine.json))
        assert all(
            map(_is_plain, (*made.python, *made.js, made.json, made.llvm, *made.c.values()))
        ), text


@pytest.mark.slow
def test_ports_in_the_description_of_pixels(tmp_path: Path) -> None:
    """If preprocessing is compiled in, `about.input` names the port that takes pixels."""
    how = Preprocessing("rgb", mean=(1.0, 2.0, 3.0))
    wanted = Files(with_preprocessing(network("", ""), how), tmp_path)
    for text in TEXTS:
        made = Files(with_preprocessing(network(text, "input"), how), tmp_path)
        assert all(made.tokens(file) == wanted.tokens(file) for file in made.c), text
        assert made.trees == wanted.trees, text
        assert all(
            map(_is_plain, (*made.python, *made.js, made.json, made.llvm, *made.c.values()))
        ), text


def _is_plain(text: str) -> bool:
    return text.replace("\n", "").isprintable()


@pytest.mark.slow
def test_reserved_words_as_names_of_ports(tmp_path: Path) -> None:
    made = Files(many_ports(WORDS), tmp_path)
    wanted = Files(many_ports([f"port {i}" for i in range(len(WORDS))]), tmp_path)
    assert all(made.tokens(file) == wanted.tokens(file) for file in made.c)
    assert made.trees == wanted.trees
    assert made.js_structure == wanted.js_structure


def test_ports_that_differ_in_case_only_share_no_macro(tmp_path: Path) -> None:
    """Macros contain the indices of ports: their names could become equal in capitals."""
    header = Files(many_ports(["out", "Out", "OUT", "oUT"]), tmp_path).c["header"]
    ports = re.search(r"int net_predict\(([^)]*)\)", header)
    assert ports is not None
    names = [words.split()[-1].lstrip("*") for words in ports[1].split(",")]
    assert len(set(names)) == len(names) == 10  # m, another input, four inputs, four outputs
    macros = _MADE_MACRO.findall(header)
    assert len({name.upper() for name in macros}) == len(macros)


@pytest.mark.slow
def test_only_the_valid_name_of_a_network_gets_into_files(tmp_path: Path) -> None:
    for text in TEXTS:
        made = Files(network(text, "graph"), tmp_path)
        same = Files(network(valid_name(text), "graph"), tmp_path)
        assert (made.c, made.python, made.js) == (same.c, same.python, same.js)
        assert made.cmake == same.cmake
        assert (made.json, made.llvm) == (same.json, same.llvm)


def test_a_long_text_does_not_fill_the_comment_of_the_header(tmp_path: Path) -> None:
    b = GraphBuilder("net")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (4,)))))
    b.metadata({"about.long": "x" * 10**6, "about.lines": "y\n" * 10**5})
    comment_text = Files(b.build(), tmp_path).c["header"].split("*/")[0]
    assert len(comment_text) < 20_000
    assert "99901 lines more" in comment_text


def test_literals_mean_the_text(tmp_path: Path) -> None:
    """Every literal evaluates to the original text."""
    document = json.loads(Files(many_ports([]), tmp_path).json)
    for text in TEXTS:
        assert document["metadata"][text] == text
        assert ast.literal_eval(python_literal(text)) == text
        assert json.loads(js_literal(text)) == text
        c = ast.literal_eval(f"b{c_string(text)}".replace("\\?", "?"))
        assert c.decode("utf-8", "surrogatepass") == text


# --- templates accept only marked text ---


@pytest.mark.parametrize("language", [CCode, PythonCode, CMakeCode, JsCode])
def test_templates_refuse_plain_text(language: type[CCode]) -> None:
    template = environment(language).from_string("{{ x }}")
    for value in (language("x"), Identifier("x"), Comment("x")):
        assert template.render(x=value) == "x"
    assert template.render(x=1) == "1"
    every = (CCode, PythonCode, CMakeCode, JsCode, HtmlCode)
    others = [other("x") for other in every if other is not language]
    for wrong in ("x", None, 1.5, True, b"x", ("x",), language("x") + "", *others):
        with pytest.raises(TypeError, match="foreign_text"):
            template.render(x=wrong)


@pytest.mark.parametrize("text", [*TEXTS, "<b>&amp;'\"", "a\nb"])
def test_html_shows_a_text_as_it_is(text: str) -> None:
    page = html_code('<p a="{0}">{0}</p>', html_text(text))
    (paragraph,) = ElementTree.fromstring(f"<r>{page}</r>")
    assert (paragraph.text or "", len(paragraph)) == (visible(text), 0)
    assert paragraph.attrib == {"a": visible(text)}


def test_html_refuses_plain_text() -> None:
    template = environment(HtmlCode).from_string("{{ x }}")
    assert template.render(x=html_text("a<")) == "a&lt;"
    for wrong in ("x", CCode("x"), Comment("x"), None, 1.5):
        with pytest.raises(TypeError, match="foreign_text"):
            template.render(x=wrong)


def test_parts_are_checked() -> None:
    assert c_code("f({}, {});", Identifier("x"), 1) == "f(x, 1);"
    for wrong in ("x", PythonCode("x"), 1.5):
        with pytest.raises(TypeError):
            c_code("f({});", wrong)  # type: ignore[arg-type]
    for text in (*TEXTS, *WORDS):
        assert Comment(comment(text)) == comment(text)
        Identifier(valid_name(text))
        if text != comment(text):
            with pytest.raises(ValueError, match="not safe"):
                Comment(text)
    for text in ("", "1x", "a-b", "a\n", "é"):
        with pytest.raises(ValueError, match="not an identifier"):
            Identifier(text)


# --- compilers and other tools ---

_HEADERS = [
    "stddef",
    "stdint",
    "stdio",
    "stdlib",
    "string",
    "limits",
    "float",
    "math",
    "complex",
    "errno",
    "assert",
    "iso646",
]
_MADE_MACRO = re.compile(r"^#define (\w+)", re.MULTILINE)


def _compilers() -> dict[str, tuple[str, ...]]:
    """The compilers of this machine, by name; zig's are always available."""
    found = {}
    for name, standard in (
        *(("gcc", "c99"), ("gcc", "gnu17"), ("g++", "gnu++20")),
        *(("clang", "gnu17"), ("clang++", "gnu++20")),
    ):
        if path := shutil.which(name):
            found[f"{name} {standard}"] = (path, f"-std={standard}")
    for program, standard in (("cc", "c99"), ("cc", "gnu2x"), ("c++", "gnu++20")):
        command = (*zig.command(), program, "-target", "x86_64-linux-musl", f"-std={standard}")
        found[f"zig {standard}"] = command
    return found


def _macros(compiler: Sequence[str]) -> list[str]:
    """Macros of common C headers with names that are not in capitals, so no rule avoids them."""
    source = "".join(f"#include <{header}.h>\n" for header in _HEADERS)
    command = [*compiler, "-x", "c", "-dM", "-E", "-"]
    ran = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    return [name for name in _MADE_MACRO.findall(ran.stdout) if not name.isupper()]


_COMPILERS = _compilers()


@pytest.fixture(scope="module")
def odd_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose ports have every hostile text, reserved word, macro and template name."""
    folder = tmp_path_factory.mktemp("odd")
    plain = Files(many_ports([]), folder)
    ours = {t.text for file in plain.c for t in tokens(plain.c[file]) if t.kind == "name"}
    ours = {name for name in ours if not name.startswith("net_")}  # some of these are in WORDS
    macros = [x for name, how in _COMPILERS.items() if "++" not in name for x in _macros(how)]
    cases = [f(word) for word in WORDS for f in (str.upper, str.lower, str.capitalize)]
    names = [*TEXTS, *WORDS, *macros, *sorted(ours), *cases]
    made = Files(many_ports(dict.fromkeys(names)), folder)
    (folder / "net.h").write_text(made.c["header"])
    (folder / "net_api.c").write_text(made.c["source"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("compiler", quick_part(list(_COMPILERS), 0, 2))
def test_compilers_take_every_name(compiler: str, odd_package: Path) -> None:
    is_cxx = "++" in compiler
    files = ["net.h", "net_ell.h"] if is_cxx else ["net_ell.c", "demo.c", "net_api.c"]
    headers = "".join(f"#include <{header}.h>\n" for header in _HEADERS)
    options = ["-Wall", "-Wextra", "-Werror", "-Wno-trigraphs", "-I.", "-c", "-o", "made.o"]
    for file in files:
        ran = subprocess.run(
            [*_COMPILERS[compiler], *options, "-x", "c++" if is_cxx else "c", "-"],
            input=f'{headers}#include "{file}"\n',
            cwd=odd_package,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[:3000]
