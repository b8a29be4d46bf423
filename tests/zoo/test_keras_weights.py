"""Weights from the HDF5 files of Keras: both file formats, and malicious files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array
from ellc.zoo import build, find
from ellc.zoo.construction import ZooOptions
from ellc.zoo.weights import Slot, Supply, read_tensors
from ellc.zoo.weights.tensors import BIAS, GAMMA, WEIGHT

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra `keras`)")
NARROW = Fraction(1, 8)
LEGACY = {"weight": "kernel:0", "gamma": "gamma:0", "bias": "bias:0"}
LEGACY |= {"mean": "moving_mean:0", "variance": "moving_variance:0"}
Layers = list[tuple[str, list[tuple[Slot, Array]]]]


def layers(network: str) -> tuple[Layers, Array]:
    """Layers of Keras with their weights, and the outputs of the network with these weights."""
    probe = Supply(folded=False)
    find(network).make(ZooOptions(supply=probe, width=NARROW), {})
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(0.5, 1.5, slot.shape).astype(np.float32) / 4 for slot in probe.asked]
    graph = find(network).make(ZooOptions(supply=Supply(False, arrays), width=NARROW), {})
    made: Layers = []
    for slot, array in zip(probe.asked, arrays, strict=True):
        is_norm = slot.role != WEIGHT and not (slot.role == BIAS and made[-1][0] != "norm")
        kind = "norm" if is_norm else _class(slot)
        if slot.role in (WEIGHT, GAMMA):
            made.append((kind, []))
        made[-1][1].append((slot, _in_keras(slot, array)))
    return made, answer(graph)


def _class(slot: Slot) -> str:
    return "dense" if slot.dense else "conv2d"


def _in_keras(slot: Slot, array: Array) -> Array:
    if slot.role != WEIGHT:
        return array
    return array.reshape(len(array), -1).T if slot.dense else array.transpose(1, 2, 3, 0)


def answer(graph: Any) -> Array:
    x = np.random.default_rng(1).normal(size=graph.input_types()[0].shape).astype(np.float32)
    return evaluate(graph, (x,)).outputs[0]


def write_keras_2(path: Path, network: Layers) -> None:
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        # In the order of the network, which differs from the order of the names.
        names = [f"{'zyx'[n % 3]}_{n}" for n in range(len(network))]
        root.attrs["layer_names"] = [name.encode() for name in ["input", *names]]
        root.create_group("input").attrs["weight_names"] = []
        for name, (_, weights) in zip(names, network, strict=True):
            group = root.create_group(name)
            own = [f"{name}/{LEGACY[slot.role]}" for slot, _ in weights]
            group.attrs["weight_names"] = [text.encode() for text in own]
            for text, (_, array) in zip(own, weights, strict=True):
                group[text] = array


def write_keras_3(path: Path, network: Layers) -> None:
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        file["optimizer/vars/0"] = np.ones(7, np.float32)
        for kind, weights in network:
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            name = f"{kind}_{number}" if number else kind
            for index, (_, array) in enumerate(weights):
                file[f"layers/{name}/vars/{index}"] = array


@pytest.mark.parametrize(
    ("name", "write"), [("resnet8", write_keras_2), ("resnet18", write_keras_3)]
)
def test_weights_of_keras(name: str, write: Callable[[Path, Layers], None], tmp_path: Path) -> None:
    network, wanted = layers(name)
    write(tmp_path / "a.h5", network)
    got = answer(build(name, width=NARROW, weights=tmp_path / "a.h5"))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_an_order_that_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    write_keras_3(tmp_path / "b.h5", layers("resnet8")[0])
    with pytest.raises(EllcError, match=r"whether \S*conv2d/vars/bias or \S*/beta comes first;"):
        read_tensors(tmp_path / "b.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("conv2d", "conv2d_1", "stem"):
            file[f"layers/{name}/vars/0"] = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(EllcError, match=r"does not say whether \S*conv2d\S* or \S*stem"):
        read_tensors(tmp_path / "a.h5")


def external(file: Any, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(16))
    parts = [(str(folder / "secret"), 0, 16)]
    file.create_dataset("layers/conv2d/vars/0", (4,), np.float32, external=parts)


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4,))
    file.create_virtual_dataset("layers", layout)


def linked(file: Any, folder: Path) -> None:
    file["layers"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def soft(file: Any, folder: Path) -> None:
    file["layers"] = h5py.SoftLink("/")


def huge(file: Any, folder: Path) -> None:
    size = (1 << 30,)
    file.create_dataset("layers/a/vars/0", size, np.float32, chunks=(1 << 20,), compression=9)


def texts(file: Any, folder: Path) -> None:
    file["layers"] = "text"


def listed(file: Any, folder: Path) -> None:
    file.attrs["layer_names"] = [b"../../x"]


def a_number(file: Any, folder: Path) -> None:
    file["layer"] = np.ones(3, np.float32)
    file.attrs["layer_names"] = [b"layer/a"]


HOSTILE = {
    external: "another file",
    virtual: "another file",
    linked: "is a link",
    soft: "is a link",
    huge: "too large for the size",
    texts: "not an array of numbers",
    listed: "is not in the file",
    a_number: "is not in the file",
}


@pytest.mark.parametrize(
    ("make", "said"), HOSTILE.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_hostile_files(make: Callable[[Any, Path], None], said: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, tmp_path)
    with pytest.raises(EllcError, match=said) as caught:
        read_tensors(tmp_path / "a.h5")
    assert caught.value.code == "E744"


def test_a_group_in_itself_is_read_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), np.float32)
        file["layers/dense/again"] = file["layers"]
    (tensor,) = read_tensors(tmp_path / "a.h5")
    assert tensor.name == "/layers/dense/vars/kernel"


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(EllcError, match="not a file of weights"):
        read_tensors(tmp_path / "a.h5")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EllcError, match="h5py") as caught:
        read_tensors(tmp_path / "a.h5")
    assert caught.value.code == "E773" and "ellc-compiler[keras]" in (caught.value.hint or "")
