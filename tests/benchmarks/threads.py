"""Measure calls on several threads while other processes are busy. Not part of the test run.

    python tests/benchmarks/threads.py NETS [--only NAME,NAME] [--busy 0,1] [--seconds S]
        [--builds DIR] [--prepare | --barrier | --update-docs]

NETS is the folder in which the comparison tool's script put its networks with random weights. Every
network is compiled for this machine three times: for one thread, for all cores, and with the
default number of threads. The builds take turns of about 20 ms, while 0, 1 or 2 other processes
compute without pause. A cell has the median and the 90th percentile of the time of a call, in ms.
`gain` is the median on one thread divided by that on all cores, and `default` the same for the
default build. `machine` is what the machine allows: how many times as many calls all cores make in
a second as one core, if each runs a process of its own, which waits for no other.

Other load falsifies the rows, in particular those with 0 busy processes. `--prepare` only compiles,
into the folder `--builds`; a later call with this folder only measures. How far apart the two cores
are is printed too, because a virtual machine may have moved: it is the time of a message from one
to the other and back.

`--barrier` measures the cost of dividing a step between threads (`BARRIER_CYCLES` of
`codegen/planning/step_costs.py`). The cost is the time of the fastest calls on two threads, minus
half of the time on one thread, per divided step. This needs two idle cores.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402
from networks import NETWORKS  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.planning.threads import grains, plan_for_threads  # noqa: E402
from ellc.codegen.toolchain import zig  # noqa: E402
from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.models import read_model  # noqa: E402

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

    def __init__(self, model: Path, build: Path) -> None:
        made = json.loads((build / "network.json").read_text())
        self.threads = made["threads"]
        (library,) = build.glob("*network.so")
        self._library = ctypes.CDLL(str(library))
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


def calls_a_second(instance: Instance, processes: int, seconds: float) -> float:
    """How many calls of an instance with one thread this many processes make together."""
    context = get_context("fork")
    start, counts = context.Barrier(processes), context.Queue()

    def count() -> None:
        instance.call()
        start.wait()
        done, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + seconds:
            instance.call()
            done += 1
        counts.put(done / (time.perf_counter() - begin))

    running = [context.Process(target=count) for _ in range(processes)]
    for process in running:
        process.start()
    total = sum(float(counts.get()) for _ in running)
    for process in running:
        process.join()
    return total


def builds(model: Path, folder: Path) -> list[Path]:
    """The builds of a model for one thread, for all cores and for as many as it can use."""
    made = []
    for threads in (1, os.cpu_count() or 1, None):
        build = folder / model.stem / str(threads or "default")
        if not build.exists():
            compile_model(model, "host", CompileOptions(threads=threads, name="network"), build)
        made.append(build)
    return made


def barrier_of(model: Path, folder: Path, seconds: float) -> float:
    """The cost of dividing a step of this model between two threads, in ns."""
    ready, _ = run_pipeline(read_model(model))
    plan = plan_for_threads(ready, resolve("host"), Options(), "network", threads=2)
    pairs = zip(grains(plan, 2), plan.steps, strict=True)
    divided = sum(grain < step.call.extent for grain, step in pairs)
    instances = [Instance(model, build) for build in builds(model, folder)[:2]]
    one, two = (x.fastest for x in in_turns(instances, seconds))
    for instance in instances:
        instance.close()
    return 1e6 * (two - one / 2) / max(1, divided)


def measured(
    models: Mapping[str, Path], folder: Path, counts: Sequence[int], seconds: float
) -> Iterator[tuple[str, int, list[str]]]:
    """The rows of the table, as (network, number of busy processes, cells).

    All networks are measured beside no busy process, then what the machine allows, then all beside
    one: while both cores are busy, the host of a virtual machine moves them apart.
    """
    instances = {
        label: [Instance(model, build) for build in builds(model, folder)]
        for label, model in models.items()
    }
    times: dict[tuple[str, int], list[Percentiles]] = {}
    machine: dict[tuple[str, int], str] = {}
    for count in sorted(counts):
        with busy(count):
            for label, own in instances.items():
                times[label, count] = in_turns(own, seconds)
        for label, own in instances.items():
            if not count:
                rates = [calls_a_second(own[0], n, seconds / 6) for n in (1, os.cpu_count() or 1)]
                machine[label, count] = f"{rates[1] / rates[0]:.2f}"
    for label, count in sorted(times, key=lambda row: (list(models).index(row[0]), row[1])):
        one, all_, usual = times[label, count]
        gains = [f"{one.median / x.median:.2f}" for x in (all_, usual)]
        default = f"{gains[1]} on {instances[label][-1].threads}"
        cells = [str(one), str(all_), gains[0], machine.get((label, count), ""), default]
        yield label, count, cells
    for several in instances.values():
        for instance in several:
            instance.close()


_MESSAGES = """
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
enum { COUNT = 100000 };
static unsigned word;
static void run_on(int core)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
}
static void *other(void *unused)
{
    run_on(1);
    for (unsigned i = 0; i < COUNT; i++) {
        while (__atomic_load_n(&word, 5) != 2 * i + 1) {}
        __atomic_store_n(&word, 2 * i + 2, 5);
    }
    return unused;
}
int main(void)
{
    pthread_t thread;
    struct timespec begin, end;
    run_on(0);
    if (pthread_create(&thread, 0, other, 0)) return 1;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned i = 0; i < COUNT; i++) {
        __atomic_store_n(&word, 2 * i + 1, 5);
        while (__atomic_load_n(&word, 5) != 2 * i + 2) {}
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%f", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / COUNT);
    return 0;
}
"""


def message_ns(folder: Path) -> float:
    """The time of a message from core 0 to core 1 and back, in ns (Linux)."""
    source, program = folder / "messages.c", folder / "messages"
    if not program.exists():
        source.write_text(_MESSAGES)
        words = ["cc", "-O2", "-pthread", str(source), "-o", str(program)]
        zig.run(words, what="compiling the measurement")
    return float(subprocess.run([program], check=True, capture_output=True).stdout)


def main() -> None:
    """Print the table, or write it into the page of benchmarks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--busy", default="0,1")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--builds", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--barrier", action="store_true")
    parser.add_argument("--update-docs", action="store_true")
    asked = parser.parse_args()
    names = asked.only.split(",")
    chosen = [n for n in NETWORKS if any(name in n.label for name in names)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.builds or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        models = {n.label: asked.nets / f"{n.file}.onnx" for n in chosen}
        first = message_ns(folder)
        for model in models.values():
            builds(model, folder)
        if asked.barrier:
            for label, model in models.items():
                print(f"{label}: {barrier_of(model, folder, asked.seconds):.0f} ns")
        elif not asked.prepare:
            counts = [int(text) for text in asked.busy.split(",")]
            found = measured(models, folder, counts, asked.seconds)
            rows = [[label, str(count), *cells] for label, count, cells in found]
            _print(rows, sorted((first, message_ns(folder))), update_docs=asked.update_docs)


def _print(rows: list[list[str]], message: list[float], *, update_docs: bool) -> None:
    cores = os.cpu_count()
    head = ["network", "busy", "1 thread", f"{cores} threads", "gain", "machine", "default"]
    table = markdown_table(head, rows)
    text = "By `python tests/benchmarks/threads.py`. Medians and 90th percentiles of a call in ms"
    text = f"{text}; {cores} cores, a message between them and back takes"
    text = f"{text} {message[0]:.0f} to {message[1]:.0f} ns."
    print(f"{text}\n\n{table}")
    if update_docs:
        write_table("threads", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
