"""Text from a model is printed without control characters, and within its line."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest.mock import Mock

import click
import numpy as np
import pytest
from _pytest.capture import CaptureResult
from c_tokens import tokens
from hostile_texts import PLACES, PREPROCESSING, TEXTS, network

from ellc.cli import EXIT_BAD_INPUT, EXIT_INTERNAL, run
from ellc.drawing.dot import dot
from ellc.drawing.svg import svg
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.ops.pointwise import Relu
from ellc.ir.printable import LONGEST_LINE, MOST_LINES, visible
from ellc.ir.text import parse
from ellc.ir.types import DType, TensorType
from ellc.pictures.pixels import Preprocessing
from ellc.progress import progress

HOSTILE = "".join(TEXTS)


@pytest.mark.parametrize("place", PLACES)
def test_commands_print_no_control_characters(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(network(HOSTILE, place), tmp_path / "m.eir")
    for index, channels in enumerate((2, 3)):
        np.save(tmp_path / f"{index}.npy", np.ones((1, 4, 4, channels), np.float32))
    for words in (
        ["inspect", "m.eir"],
        ["inspect", "m.eir", "--json"],
        *(["print", "m.eir", "--format", form] for form in ("text", "dot", "svg")),
        *(["explain", "m.eir", "--level", level] for level in ("graph", "plan", "cost")),
        ["explain", "m.eir", "--node", HOSTILE],
        ["import", "m.eir", "-o", "again.eir"],
        ["run", "m.eir", "0.npy", "1.npy", "--reference"],
        ["run", "m.eir", "0.npy", "1.npy", "--reference", "--json"],
        ["run", "m.eir", "0.npy", "--reference"],
        ["run", "m.eir", f"{HOSTILE[:40]}.npy".replace("\0", "")],
    ):
        code = run(words)
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert text.replace("\n", "").isprintable(), words
        if "--json" in words and code == 0:
            json.loads(said.out)
        # A text that imitates a report of ellc does not begin a new line in the real report.
        assert said.err.count("\nerror[") + said.err.startswith("error[") <= 1
        assert "\nhint: y" not in said.out + said.err


def test_a_printed_graph_can_be_read_back(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    for graph in (network(HOSTILE, place) for place in PLACES):
        save(graph, tmp_path / "m.eir")
        assert run(["print", str(tmp_path / "m.eir")]) == 0
        assert parse(capsys.readouterr().out, graph.weights) == graph


@pytest.mark.parametrize("text", TEXTS)
def test_pictures_are_well_formed(text: str) -> None:
    for place in ("graph", "input", "node"):
        graph = network(text, place)
        root = ElementTree.fromstring(svg(graph))
        plain = ElementTree.fromstring(svg(network("", "")))
        assert [e.tag for e in root.iter()] == [e.tag for e in plain.iter()]
        # Graphviz has the string syntax of C, except for its own escapes.
        kinds = [token.kind for token in tokens(dot(graph), trigraphs=False)]
        assert kinds == [token.kind for token in tokens(dot(network("", "")))]


def test_errors_keep_their_form() -> None:
    said = EllcError(
        HOSTILE, code="E001", where=HOSTILE, hint=HOSTILE, problems=[HOSTILE, HOSTILE]
    ).report()
    assert said.replace("\n", "").isprintable()
    first, *others = said.split("\n")
    assert first.startswith("error[E001]: ")
    assert [line[:5] for line in others if not line.startswith("  ")] == ["hint:"]


MILLION = 1_000_000
_MIXED = (
    unit * (MILLION // 5 // len(unit)) for unit in ("\n", "\nhint: y", "\x1b[31m", "=,\t", "a ")
)
LONG = ["x" * MILLION, "".join(_MIXED)]


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG, ids=["one word", "anything"])
def test_what_a_person_reads_is_short(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes, names, labels, arguments and errors of any length are shortened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    b, part = GraphBuilder("m"), text[:: MILLION // 100_000]
    b.output(f"y{part}", b.add(Relu(), b.input(f"x{part}", TensorType(DType.F32, (1, 4)))))
    b.metadata({"note.0": part, "labels": "\n".join([part.replace("\n", "n")] * 4)})
    save(b.build(), tmp_path / "m.eir")
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    for words in (
        ["inspect", "m.eir"],
        ["run", "m.eir", "x.npy", "--reference"],
        ["inspect", f"--{text}"],
        ["inspect", "m.eir", "--mean", text],
        ["inspect", "m.eir", "--shape", text],
        ["zoo", "build", text],
        [text],
    ):
        assert run(words) in (0, EXIT_BAD_INPUT)
        _is_short(capsys.readouterr())
    for error in (
        InternalError(text),
        RuntimeError(text),
        OSError(text),
        click.ClickException(text),
    ):
        monkeypatch.setattr("ellc.cli.cli.main", Mock(side_effect=error))
        assert run([]) in (EXIT_BAD_INPUT, EXIT_INTERNAL)
        _is_short(capsys.readouterr())


def _is_short(said: CaptureResult[str]) -> None:
    for stream in said:
        lines = stream.split("\n")
        assert all(line.isprintable() and len(line) <= LONGEST_LINE for line in lines)
        assert len(lines) <= MOST_LINES + 20
        assert sum(line.startswith("hint: ") for line in lines) <= 1


def test_usage_errors_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--\x1b[31m"]) == EXIT_BAD_INPUT
    assert run(["\x1b[31m\x9b"]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "option", ["--pixels", "--color", "--range", "--mean", "--scale", "--resize"]
)
def test_texts_as_options_of_preprocessing(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(network("", ""), tmp_path / "m.eir")
    for text in TEXTS:
        for words in ([option, text], [f"{option}={text},1,1"]):
            assert run(["inspect", str(tmp_path / "m.eir"), *words]) == EXIT_BAD_INPUT
            said = capsys.readouterr().err
            assert said.replace("\n", "").isprintable() and "Traceback" not in said, words


@pytest.mark.parametrize("key", PREPROCESSING)
def test_texts_as_metadata_of_preprocessing(key: str) -> None:
    for text in TEXTS:
        for said in (text, f"1{text}"):
            try:
                how = Preprocessing.from_metadata({f"model.input.{key}": said})
            except EllcError as error:
                assert error.code == "E711" and "\n" not in error.problems[0]
                assert error.report().replace("\n", "").isprintable()
            else:
                numbers = [how.low, how.high, *how.mean, *how.scale]
                assert how.order in ("rgb", "bgr") and np.isfinite(numbers).all()


def test_progress_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress() as report:
        for text in TEXTS:
            report(f"writing {text}", 0, 0)


def test_visible_keeps_json() -> None:
    for text in TEXTS:
        assert visible(text).isprintable()
        assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text
    assert visible("a\nb", keep="\n") == "a\nb"
