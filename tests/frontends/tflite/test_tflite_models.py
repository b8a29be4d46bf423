"""Published models: all tensors are compared with TensorFlow Lite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from real_models import HYBRID, RealModel, real_models
from tflite_files import every_tensor

from ellc.frontends.options import ImportOptions
from ellc.frontends.tflite.container import read_container
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.interp import evaluate
from ellc.ir.limits import DEFAULT_LIMITS

pytestmark = pytest.mark.needs_data
# In the hybrid model, the runtime rounds activations, so its tensors differ from ellc's.
MODELS = [
    pytest.param(m, id=str(m), marks=[pytest.mark.slow] if m.is_large else [])
    for m in real_models()
    if m.path.suffix == ".tflite" and m.path.name not in HYBRID
]


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_is_that_of_the_reference_kernels(model: RealModel) -> None:
    data = model.path.read_bytes()
    file = read_container(data, DEFAULT_LIMITS)
    numbers = {tensor.name: number for number, tensor in enumerate(file.tensors)}
    names = [tensor.name for node in file.nodes for tensor in node.results]
    graph = read_tflite(model.path, ImportOptions(outputs=tuple(names)))
    inputs, _ = next(model.samples())
    wanted = every_tensor(data, inputs)
    wrong = {}
    for name, found in zip(names, evaluate(graph, inputs).outputs, strict=True):
        truth = wanted[numbers[name]]
        if truth.dtype.kind == "f":
            far = np.abs(found - truth).max() / np.abs(truth).max()
            if far > 1e-4:
                wrong[name] = f"differs by {far}"
        elif not np.array_equal(found, truth):
            wrong[name] = f"{(found != truth).sum()} of {truth.size} differ"
    assert not wrong
