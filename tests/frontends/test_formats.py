"""Formats of model files: their options, and a format that is added as a new folder only."""

from __future__ import annotations

from pathlib import Path

import pytest

from ellc.frontends.format import Evidence, Format, formats
from ellc.frontends.options import OPTIONS, ImportOptions
from ellc.ir.errors import EllcError
from ellc.models import ModelOptions, read_model

CHOSEN = {
    "shapes": {"x": (1, 2)},
    "fixed": {"x": (1.0,)},
    "outputs": ("y",),
    "signature": "s",
    "layout": "nhwc",
    "keep_double": True,
}
NEW_FORMAT = """
from ellc.frontends.format import Evidence, Format
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.pointwise import Relu
from ellc.ir.types import DType, TensorType

def read(path, options):
    b = GraphBuilder(path.stem)
    shape = (1, int(path.read_text()[4:]))
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, shape))))
    return b.build()

FORMAT = Format(
    name="toy",
    title="Toy",
    suffixes=(".toy",),
    evidence=lambda head, path: Evidence.MARK if head.startswith(b"toy ") else Evidence.NONE,
    read=read,
    operators=lambda: {"Toyed": "never twice"},
)
"""


@pytest.mark.parametrize("form", formats(), ids=lambda form: form.name)
def test_what_would_have_no_effect_is_refused(form: Format, tmp_path: Path) -> None:
    """Every option that a format does not have is refused before the file is read."""
    head = {"eir": b"PK", "onnx": b"\x08\x07\x12", "tflite": b"\0\0\0\0TFL3", "ell": b"{"}
    path = tmp_path / f"m{form.suffixes[0]}"
    path.write_bytes(head[form.name])
    assert form.takes <= set(OPTIONS) == set(CHOSEN)
    for name in OPTIONS:
        options = ModelOptions(ImportOptions(**{name: CHOSEN[name]}))
        with pytest.raises(EllcError) as caught:
            read_model(path, options)
        assert (caught.value.code == "E704") == (name not in form.takes), name
        if name not in form.takes:
            assert OPTIONS[name] in caught.value.args[0]
            assert f"{OPTIONS[name]} is for " in caught.value.hint


def test_names_and_suffixes_are_of_one_format_each() -> None:
    names = [form.name for form in formats()]
    ends = [suffix for form in formats() for suffix in form.suffixes]
    assert sorted(names) == names and len(set(ends)) == len(ends)


def test_evidence_grows() -> None:
    assert Evidence.NONE < Evidence.LOOKS < Evidence.NAME < Evidence.CONTAINER < Evidence.MARK


@pytest.mark.slow
def test_a_new_format_is_a_folder(tmp_path: Path, ellc_command) -> None:
    folder = tmp_path / "frontends" / "toy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "format.py").write_text(NEW_FORMAT)
    (tmp_path / "m.toy").write_text("toy 7")
    found = "import ellc.frontends; ellc.frontends.__path__.append('frontends')"
    assert "f32 1x7" in ellc_command("inspect", "m.toy", prepared=found).stdout
    assert "never twice" in ellc_command("ops", "--format", "toy", prepared=found).stdout
    refused = ellc_command("inspect", "--double-is", "double", "m.toy", prepared=found)
    assert refused.returncode == 2
    assert "E704" in refused.stderr and "--double-is is for .ell" in refused.stderr
