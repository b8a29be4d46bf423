"""Result files: valid and invalid ones, and running their commands again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ellc.gallery import read_results
from ellc.gallery.load import MOST_BYTES
from ellc.gallery.measure import _READERS, _WRITERS, _words, measure, this_machine
from ellc.gallery.published import published
from ellc.gallery.rows import FIGURES
from ellc.ir.errors import EllcError
from ellc.zoo.facts import facts

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits8.tflite"
SOURCE = {"title": "A paper", "url": "https://example.org/paper"}


def document(**changed: Any) -> dict[str, Any]:
    """A valid result with the values in `changed`; a key whose value is None is removed."""
    valid = {
        "format": "ellc gallery 1",
        "model": "net",
        "precision": "int8",
        "board": "Raspberry Pi 3",
        "engine": "ellc",
        "input": [32, 32, 3],
        "colours": "rgb",
        "dataset": "CIFAR-10",
        "figures": [{"of": "top1", "value": 87.5, "provenance": "published", "source": SOURCE}],
    }
    return {key: value for key, value in (valid | changed).items() if value is not None}


def figure(**changed: Any) -> dict[str, Any]:
    valid = {"of": "ms", "value": 1.5, "provenance": "measured", "command": "ellc bench net.onnx"}
    return document(
        figures=[{key: value for key, value in (valid | changed).items() if value is not None}]
    )


def write(folder: Path, *documents: object) -> Path:
    for number, one in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(one), encoding="utf-8")
    return folder


def problems(*paths: Path) -> str:
    """The report of the one error, with the expected code, that reading invalid results raises."""
    with pytest.raises(EllcError) as caught:
        read_results(paths)
    assert caught.value.code == "E780"
    return "\n".join(caught.value.problems)


def test_a_result_is_read(tmp_path: Path) -> None:
    shutil.copy(DIGITS, tmp_path / "net.tflite")
    full = document(
        clock_mhz=1200,
        network={"file": "net.tflite"},
        prepare=["ellc zoo build resnet8 -o resnet8.eir"],
        downloads=[{"title": "model", "file": "net.tflite"}],
        notes=["a note"],
        machine="a board",
    )
    (result,) = read_results([write(tmp_path, full)])
    assert result.key == ("net", "int8", "Raspberry Pi 3", 1200, "ellc")
    assert result.first("top1").value == 87.5  # type: ignore[union-attr]
    assert result.network.file == tmp_path / "net.tflite"  # type: ignore[union-attr]
    assert [download.title for download in result.downloads] == ["model"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (document(format="ellc gallery 2"), "format: 'ellc gallery 2' is not one of"),
        (document(model="../net"), "model: a name has"),
        (document(model=""), "model: it is empty"),
        (document(precision="int9"), "precision: 'int9' is not one of"),
        (document(board=None), "board: it is missing"),
        (document(input=[32, 0, 3]), "input: it must be 1 to 4 integers"),
        (document(input=[True]), "input: it must be 1 to 4 integers"),
        (document(input=[]), "input: it must be 1 to 4 integers"),
        (document(clock_mhz=1.5), "clock_mhz: 1.5 is not of type int"),
        (document(figures=[]), "figures: the list is missing or empty"),
        (document(figures=[3]), "figures: not all elements are tables"),
        (document(notes=[3]), "notes: not all elements are texts"),
        (document(extra=1), "extra: unknown key"),
        (document(network={}), "network: file: it is missing"),
        (document(network={"zoo": "a", "file": "0.json"}), "both file and zoo are given"),
        (document(network={"file": "missing.onnx"}), "there is no such file"),
        (document(downloads=[{"title": "x", "file": "../secret"}]), "without .."),
        (document(downloads=[{"title": "x", "file": "/etc/passwd"}]), "without .."),
        (document(downloads=[{"title": "x", "file": "link"}]), "not that of a file inside"),
        (document(downloads=[{"title": "x", "file": "."}]), "not that of a file inside"),
        (document(downloads=[{"title": "x", "file": "a\0b"}]), "without .."),
        (figure(value="fast"), "value: 'fast' is not of type"),
        (figure(value=True), "value: True is not of type"),
        (figure(value=0), "value: 0 is not between"),
        (figure(value=float("nan")), "value: nan is not between"),
        (figure(value=float("inf")), "value: inf is not between"),
        (figure(value=10**400), "is not between"),
        (figure(of="joules"), "of: 'joules' is not one of"),
        (figure(provenance="guessed"), "provenance: 'guessed' is not one of"),
        (figure(command=None), "command: a measured figure needs one"),
        (figure(source=SOURCE), "only a published figure may have one"),
        (figure(provenance="published"), "source: a published figure needs one"),
        (figure(of="macs", threads=2), "threads: only a time"),
        (
            figure(provenance="published", source={"title": "x", "url": "javascript:alert(1)"}),
            "url: the address must begin",
        ),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, wrong: object, problem: str) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert problem in problems(write(tmp_path, wrong))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"\0" * 64, b"[" * 100_000, b'{"a":1,"a":2}'),
        *(b"1" * 5000, b" " * (MOST_BYTES + 1), json.dumps(document()).encode()[:-9]),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_damaged_file_is_one_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    found = problems(tmp_path)
    assert found.startswith(str(tmp_path / "x.json")) and "\n" not in found


def test_all_problems_are_one_report(tmp_path: Path) -> None:
    folder = write(tmp_path, document(board=None, engine=None), figure(value=-1, of="joules"))
    empty = tmp_path / "empty"
    empty.mkdir()
    found = problems(folder, empty, tmp_path / "missing.json")
    for part in ("0.json: board", "0.json: engine", "1.json: figures 1: of", "no .json file is"):
        assert part in found
    assert "missing.json: No such file" in found


def test_results_may_not_contradict_one_another(tmp_path: Path) -> None:
    other = document(input=[64, 64, 3], board="Raspberry Pi 4")
    found = problems(write(tmp_path, document(), document(), other))
    assert "1.json: " in found and "has the same model, precision, board" in found
    assert "2.json: input: (64, 64, 3) here, (32, 32, 3) in" in found
    with pytest.raises(EllcError, match="model: NET here, net in"):
        folder = tmp_path / "case"
        folder.mkdir()
        read_results([write(folder, document(), document(model="NET", board="b"))])


def test_published_figures_are_valid_results() -> None:
    results = published()
    assert {result.model for result in results} == {
        name for name, one in facts()[0].items() if one.accuracies or one.speeds
    }
    assert len({result.key for result in results}) == len(results)
    for result in results:
        assert all(extent > 0 for extent in result.input), result.model
        for one in result.figures:
            low, high = FIGURES[one.of]
            assert one.value is not None and low <= one.value <= high, (result.model, one)
            assert one.provenance == "published" and one.source


def test_own_results_have_values_and_commands_that_are_run() -> None:
    digits = sorted(DIGITS.parent.glob("*-pi3_64.json"))
    results = read_results([DIGITS.parents[1] / "gallery", *digits], published())
    other = "python examples/digits/evaluate.py"
    assert {result.engine for result in results} == {"ellc"} and len(results) >= 5
    for result in results:
        assert result.known == result.figures
        assert all(_words(line, _WRITERS) for line in result.prepare)
        commands = [figure.command for figure in result.figures if figure.command != other]
        assert commands and all(_words(line, _READERS) for line in commands)


# --- measuring again ---


def measured(folder: Path, *figures: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The document of a result after its commands have been run."""
    shutil.copy(DIGITS, folder / "net.tflite")
    changes = measure([write(folder, document(figures=list(figures), **changed))])
    assert len(changes) == sum(one["provenance"] != "published" for one in figures)
    after: dict[str, Any] = json.loads((folder / "0.json").read_text(encoding="utf-8"))
    return after


@pytest.mark.slow
def test_commands_give_the_values(tmp_path: Path) -> None:
    inspect = {"provenance": "measured", "command": "ellc inspect net.tflite"}
    after = measured(
        tmp_path,
        {"of": "parameters", **inspect},
        {"of": "macs", "value": 1, **inspect},
        {"of": "ms", "value": 7, "provenance": "measured", "command": "benchmark_model net"},
        {"of": "top1", "value": 9, "provenance": "published", "source": SOURCE},
        notes=["kept"],
    )
    values = [one.get("value") for one in after["figures"]]
    assert values[0] > 1000 and values[1] > 1000 and values[2:] == [7, 9]
    assert after["notes"] == ["kept"] and after["machine"] == this_machine()
    read_results([tmp_path])


def test_times_of_another_machine_are_kept(tmp_path: Path) -> None:
    bench = {"of": "ms", "value": 7, "provenance": "measured", "command": "ellc bench net.tflite"}
    after = measured(tmp_path, bench, machine="a board far away")
    assert after["figures"][0]["value"] == 7 and after["machine"] == "a board far away"


@pytest.mark.parametrize(
    "command",
    [
        *("ellc compile net.tflite -o out", "ellc zoo build resnet8 -o x.eir", "ellc 'inspect"),
        *("ellc evaluate net.tflite --data . --html=page.html", "ellc bench libnet.so"),
        *("ellc evaluate net.tflite --data . --vs=evil.so", "ellc explain net.tflite -opage"),
    ],
)
def test_other_commands_are_not_run(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_run(monkeypatch)
    one = {"of": "ms", "provenance": "measured", "command": command}
    with pytest.raises(EllcError) as caught:
        measured(tmp_path, one)
    assert caught.value.code == "E781" and len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "line",
    [
        *("rm -r .", "ellc zoo build resnet8", "ellc zoo build resnet8 -o ../x.eir", ""),
        *("ellc import net.tflite -o a.ell -o /tmp/b.ell", "ellc import a.so -o b.ell"),
        "ellc zoo build resnet8 --output=/tmp/x.eir",
    ],
)
def test_preparations_write_only_into_the_folder(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_run(monkeypatch)
    inspect = {"of": "macs", "provenance": "measured", "command": "ellc inspect net.tflite"}
    with pytest.raises(EllcError, match="E781"):
        measured(tmp_path, inspect, prepare=[line])


def refuse_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise AssertionError("it was run")

    call: Callable[..., dict[str, Any]] = fail
    monkeypatch.setattr("ellc.gallery.measure._call", call)
