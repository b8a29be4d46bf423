"""The lists of operators are complete, and the command prints them."""

from __future__ import annotations

import json

import pytest

from ellc.support import FORMATS, supported


@pytest.mark.slow
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
