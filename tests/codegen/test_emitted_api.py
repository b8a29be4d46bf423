"""The C API of a compiled network: errors, instances, threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from small_networks import (
    convolution_network,
    inputs_of,
    ready,
    reference_of,
    two_way_network,
)

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.output.build import BuildOptions, BuildResult, build
from ellc.codegen.planning.planner import make_plan
from ellc.ir.graph import Graph
from ellc.ir.types import Array

OK, EARGUMENT, EARENA, EALIGN, EISA, EABI, ETHREADS, EINIT = range(0, -8, -1)


class Library:
    """A library for this machine, and the prefix of its functions."""

    def __init__(self, graph: Graph, folder: Path, threads: int = 1) -> None:
        plan = make_plan(ready(graph), resolve("host"), Options(threads=threads), graph.name)
        made: BuildResult = build(plan, graph.name, ["so"], folder, BuildOptions("test", threads))
        self.graph, self.model = graph, made.model
        self._library = ctypes.CDLL(str(made.files["so"][0]))

    def call(self, function: str, *arguments: object) -> int:
        return int(getattr(self._library, f"{self.graph.name}_{function}")(*arguments))


class Instance:
    """An instance; its arena is filled with a pattern and misaligned by `shift` bytes."""

    def __init__(self, library: Library, shift: int = 0, missing: int = 0) -> None:
        self.library, size = library, library.model.arena_bytes
        self._memory = np.full(size + 128, 0xA5, np.uint8)
        self.arena = -self._memory.ctypes.data % 64 + self._memory.ctypes.data + shift
        self.bytes = size - missing
        self.memory = ctypes.create_string_buffer(b"\xa5" * 1024, 1024)

    def init(self) -> int:
        arena = ctypes.c_void_p(self.arena)
        return self.library.call("init", self.memory, arena, ctypes.c_size_t(self.bytes))

    def predict(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        outputs = [np.zeros(t.shape, t.dtype.numpy) for t in self.library.graph.output_types()]
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*inputs, *outputs)]
        assert self.library.call("predict", self.memory, *pointers) == OK
        return tuple(outputs)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(convolution_network(), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(convolution_network("threaded"), tmp_path_factory.mktemp("threaded"), 4)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(two_way_network(), tmp_path_factory.mktemp("two"))


def test_answers_right(small: Library) -> None:
    instance = Instance(small)
    assert instance.init() == OK
    inputs = inputs_of(small.graph)
    (got,) = instance.predict(inputs)
    assert not disagreement(got, reference_of(small.graph, inputs)[0])


def test_arena_too_small_or_misaligned_or_missing(small: Library) -> None:
    assert Instance(small, missing=1).init() == EARENA
    assert Instance(small, shift=32).init() == EALIGN
    nowhere = Instance(small)
    nowhere.arena = 0
    assert nowhere.init() == EARGUMENT
    assert small.call("init", None, None, ctypes.c_size_t(0)) == EARGUMENT


def test_another_header_is_refused(small: Library) -> None:
    instance = Instance(small)
    arena, size = ctypes.c_void_p(instance.arena), ctypes.c_size_t(instance.bytes)
    abi = small.call("abi")
    assert small.call("init_abi", instance.memory, arena, size, abi ^ 2) == EABI
    assert small.call("init_abi", instance.memory, arena, size, abi) == OK


def test_arena_bytes_is_what_the_header_says(small: Library) -> None:
    assert small.call("arena_bytes") == small.model.arena_bytes


def test_nothing_runs_without_init_or_after_destroy(small: Library) -> None:
    instance = Instance(small)
    nothing = (ctypes.c_void_p * 1)()
    assert small.call("predict_v", instance.memory, nothing, nothing) == EINIT
    assert small.call("set_threads", instance.memory, 1) == EINIT
    assert instance.init() == OK
    assert small.call("predict_v", instance.memory, nothing, nothing) == EARGUMENT
    assert small.call("predict_v", instance.memory, None, None) == EARGUMENT
    small.call("destroy", instance.memory)
    small.call("destroy", instance.memory)
    assert small.call("predict_v", instance.memory, nothing, nothing) == EINIT
    small.call("destroy", None)
    small.call("reset", None)


def test_pointers_need_the_alignment_of_elements_only(small: Library) -> None:
    instance = Instance(small)
    assert instance.init() == OK
    (image,) = inputs_of(small.graph)
    moved = np.zeros(image.size + 1, np.float32)
    moved[1:] = image.reshape(-1)
    (want,) = instance.predict([image])
    outputs = np.zeros(want.size + 1, np.float32)
    pointers = [ctypes.c_void_p(moved.ctypes.data + 4), ctypes.c_void_p(outputs.ctypes.data + 4)]
    assert small.call("predict", instance.memory, *pointers) == OK
    assert np.array_equal(outputs[1:], want.reshape(-1))


def test_instances_have_their_own_state(two: Library) -> None:
    one, other = Instance(two), Instance(two)
    assert one.init() == OK and other.init() == OK
    x, y = np.array([1, 1, 1], np.float32), np.array([2, 0, 1], np.float32)
    assert one.predict([x, y])[0].tolist() == [2, 3, 4]
    total, product = one.predict([x, y])
    assert (total.tolist(), product.tolist()) == ([3, 4, 5], [8, 0, 2])
    assert other.predict([x, y])[0].tolist() == [2, 3, 4]
    two.call("reset", one.memory)
    total, product = one.predict([x, y])
    assert (total.tolist(), product.tolist()) == ([2, 3, 4], [4, 0, 1])


def test_every_number_of_threads_gives_the_same_bits(threaded: Library) -> None:
    inputs = inputs_of(threaded.graph)
    results = []
    for threads in (0, 1, 2, 3, 4, 7):
        instance = Instance(threaded)
        assert instance.init() == OK
        assert threaded.call("set_threads", instance.memory, threads) == OK
        results.append(instance.predict(inputs)[0].tobytes())
        threaded.call("destroy", instance.memory)
    without_asking = Instance(threaded)
    assert without_asking.init() == OK
    results.append(without_asking.predict(inputs)[0].tobytes())
    threaded.call("destroy", without_asking.memory)
    assert len(set(results)) == 1
    (want,) = reference_of(threaded.graph, inputs)
    got = np.frombuffer(results[0], np.float32).reshape(want.shape)
    assert not disagreement(got, want)


def test_threads_that_cannot_be_had(small: Library, threaded: Library) -> None:
    instance = Instance(threaded)
    assert instance.init() == OK
    for threads in (-1, 33):
        assert threaded.call("set_threads", instance.memory, threads) == ETHREADS
    threaded.call("destroy", instance.memory)
    single = Instance(small)
    assert single.init() == OK
    assert small.call("set_threads", single.memory, 1) == OK
    assert small.call("set_threads", single.memory, 2) == ETHREADS


def test_instances_share_a_pool(threaded: Library) -> None:
    owner, guest = Instance(threaded), Instance(threaded)
    assert owner.init() == OK and guest.init() == OK
    assert threaded.call("set_threads", owner.memory, 3) == OK
    function = threaded._library.threaded_pool
    function.restype = ctypes.c_void_p
    pool = ctypes.c_void_p(function(owner.memory))
    assert pool.value
    assert threaded.call("share_pool", guest.memory, pool) == OK
    inputs = inputs_of(threaded.graph)
    assert np.array_equal(owner.predict(inputs)[0], guest.predict(inputs)[0])
    threaded.call("destroy", guest.memory)
    assert np.array_equal(owner.predict(inputs)[0], owner.predict(inputs)[0])
    threaded.call("destroy", owner.memory)
