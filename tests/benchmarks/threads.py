"""Measure calls on several threads while other processes are busy. Not part of the test run.

    ELLC_TEST_DATA=... python tests/benchmarks/threads.py [--only NAME] [--busy 0,1,2]
        [--seconds S] [--barrier | --update-docs]

Every network is compiled for this machine three times: for one thread, for all cores, and with the
default number of threads. The builds take turns of about 20 ms, while 0, 1 or 2 other processes
compute without pause. A cell has the median and the 90th percentile of the time of a call, in ms.
The last column is the median of the default build divided by the lowest median of the three builds.
The load before the run is printed, because other load falsifies the rows with 0 busy processes.

`--barrier` measures the cost of dividing a step between threads (`BARRIER_CYCLES` of
`codegen/planning/step_costs.py`). The cost is the time of the fastest calls on two threads, minus
half of the time on one thread, per divided step. This needs two idle cores.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.planning.threads import grains, plan_for_threads  # noqa: E402
from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.models import read_model  # noqa: E402

NETWORKS = {
    "Visual Wake Words, int8": "mlperf_vww96_int8.tflite",
    "ResNet8": "mlperf_resnet8_cifar10_float.tflite",
    "MobileNet V1 0.25 224": "mobilenet_v1_0.25_224_float.tflite",
    "MobileNet V1 0.25 224, uint8": "mobilenet_v1_0.25_224_quant.tflite",
    "MobileNet V2 1.0 224": "mobilenet_v2_1.0_224_float_dequantized.onnx",
    "MobileNet V2 1.0 224, uint8": "mobilenet_v2_1.0_224_quant.tflite",
}
TURN_S = 0.02


@dataclass(frozen=True)
class Percentiles:
    """The time of a call, in ms: the least, the median, and the 90th percentile."""

    fastest: float
    median: float
    p90: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.p90:.2f})"


class Instance:
    """A build's library in this process, ready for calls."""

    def __init__(self, model: Path, threads: int | None, folder: Path) -> None:
        made = compile_model(
            model, "host", CompileOptions(emit=("so",), threads=threads, name="network"), folder
        )
        assert made.library is not None
        self.threads = made.manifest["threads"]
        self._library = ctypes.CDLL(str(made.library))
        self._library.network_arena_bytes.restype = ctypes.c_size_t
        size = self._library.network_arena_bytes()
        memory = np.zeros(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self._state = (ctypes.c_uint64 * 128)()
        graph = read_model(model)
        types = graph.input_types(), graph.output_types()
        draw = np.random.default_rng(1)
        self._kept = [
            [draw.integers(0, 128, t.elements).astype(t.dtype.numpy) for t in some]
            for some in types
        ]
        self._kept.append([memory])
        self._ports = [
            (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
            for arrays in self._kept[:2]
        ]
        arena = ctypes.c_void_p(memory.ctypes.data + start)
        assert self._library.network_init(self._state, arena, ctypes.c_size_t(size)) == 0

    def call(self) -> float:
        """Make one call and return its time in ms."""
        begin = time.perf_counter_ns()
        self._library.network_predict_v(self._state, *self._ports)
        return (time.perf_counter_ns() - begin) / 1e6

    def close(self) -> None:
        """End the threads of the instance."""
        self._library.network_destroy(self._state)


def in_turns(instances: Sequence[Instance], seconds: float) -> list[Percentiles]:
    """Measure all instances in turns for `seconds`. Returns the times of each, in order."""
    times: list[list[float]] = [[] for _ in instances]
    for instance in instances:
        instance.call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for instance, own in zip(instances, times, strict=True):
            turn = time.perf_counter() + TURN_S
            own.append(instance.call())
            while time.perf_counter() < turn:
                own.append(instance.call())
    return [
        Percentiles(min(own), statistics.median(own), sorted(own)[len(own) * 9 // 10])
        for own in times
    ]


def compute() -> None:
    """The main function of a busy process, which computes until it is killed."""
    while True:
        sum(range(100_000))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Within this context, `count` other processes compute all the time."""
    context = get_context("spawn")
    processes = [context.Process(target=compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    time.sleep(0.5 * bool(count))
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def barrier_of(model: Path, seconds: float) -> float:
    """The cost of dividing a step of this model between two threads, in ns."""
    ready, _ = run_pipeline(read_model(model))
    plan = plan_for_threads(ready, resolve("host"), Options(), "network", threads=2)
    pairs = zip(grains(plan, 2), plan.steps, strict=True)
    divided = sum(grain < step.call.extent for grain, step in pairs)
    with tempfile.TemporaryDirectory() as folder:
        instances = [Instance(model, n, Path(folder) / str(n)) for n in (1, 2)]
        one, two = (x.fastest for x in in_turns(instances, seconds))
        for instance in instances:
            instance.close()
    return 1e6 * (two - one / 2) / max(1, divided)


def rows_of(label: str, model: Path, counts: Sequence[int], seconds: float) -> Iterator[list[str]]:
    """The rows of a network: one for each number of busy processes."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = (1, os.cpu_count() or 1, None)
        instances = [Instance(model, n, Path(folder) / str(n)) for n in kinds]
        for count in counts:
            with busy(count):
                one, all_, own = in_turns(instances, seconds)
            ratio = own.median / min(x.median for x in (one, all_, own))
            cells = [str(one), str(all_), f"{own} on {instances[-1].threads}", f"{ratio:.2f}"]
            yield [label, str(count), *cells]
        for instance in instances:
            instance.close()


def main() -> None:
    """Print the table, or write it into the page of benchmarks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--busy", default="0,1,2")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--barrier", action="store_true")
    parser.add_argument("--update-docs", action="store_true")
    asked = parser.parse_args()
    folder = Path(os.environ["ELLC_TEST_DATA"]) / "models"
    counts = [int(text) for text in asked.busy.split(",")]
    load = os.getloadavg()[0]
    print(f"load before: {load:.1f}", file=sys.stderr)
    if asked.barrier:
        for label, file in NETWORKS.items():
            if asked.only in label:
                print(f"{label}: {barrier_of(folder / file, asked.seconds):.0f} ns")
        return
    rows = []
    for label, file in NETWORKS.items():
        if asked.only in label:
            for row in rows_of(label, folder / file, counts, asked.seconds):
                print("  ".join(row), file=sys.stderr)
                rows.append(row)
    cores = os.cpu_count()
    head = ["network", "busy", "1 thread", f"{cores} threads", "default", "of the best"]
    table = markdown_table(head, rows)
    print(table)
    if asked.update_docs:
        text = (
            "By `python tests/benchmarks/threads.py`. Medians and 90th percentiles of a call in ms"
        )
        text = f"{text}; {cores} cores, load average {load:.1f} before the run."
        write_table("threads", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
