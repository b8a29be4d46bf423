"""The lists of operators: complete, printed by the command, and as the README shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from operator_tables import updated

from ellc.support import FORMATS, supported

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_shows_what_is_read() -> None:
    page = README.read_text(encoding="utf-8")
    assert page == updated(page), "python tests/support/operator_tables.py --update-readme"


@pytest.mark.parametrize(
    ("form", "some"),
    [
        ("onnx", {"Conv", "Gemm", "Resize", "com.microsoft.QLinearAdd"}),
        ("tflite", {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX"}),
        ("ell", {"NeuralNetworkPredictorNode", "BinaryConvolutionalLayer"}),
    ],
)
def test_the_command_lists_every_operator_and_its_limits(
    ellc_command, form: str, some: set[str]
) -> None:
    document = json.loads(ellc_command("ops", "--format", form, "--json").stdout)
    assert [(r["operator"], r["limits"]) for r in document] == [
        (r.operator, r.limits) for r in supported(form)
    ]
    assert some <= {r["operator"] for r in document}
    text = ellc_command("ops", "--format", form).stdout
    assert all(row["operator"] in text and row["limits"] in text for row in document)


def test_every_format_is_listed() -> None:
    assert all(supported(form) for form in FORMATS)
