"""Compute random ONNX networks in several ways, and check all results with bounds.

The ways are: ONNX's evaluator; the imported graph before and after the passes, in numpy; code from
LLVM and portable C code for this machine; code for 64-bit and 32-bit ARM in qemu; and, if
ELLC_ONNXRUNTIME names a Python with it, ONNX Runtime with and without fusions. `rounding_bounds`
computes the bounds.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from findings import Finding, Findings
from minimised_onnx import Case, minimised
from onnx_models import expected, read, read_as_written
from random_onnx import RandomOnnx
from rounding_bounds import Bounds, bounds

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, Trial, run_trials
from ellc.codegen.toolchain import emulate
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

SEEDS_OF_A_BATCH = 1_000_000
"""The seed of a network is the seed of the batch times this, plus the network's number."""
_WORKER = Path(__file__).with_name("onnxruntime_worker.py")
_FIRST_WORDS = 12  # findings are equal if these first words of their messages are equal


@dataclass(frozen=True)
class Network:
    """A model, its graph before and after the passes, its inputs and the bounds of its output."""

    case: Case
    graph: Graph
    ready: Graph
    inputs: tuple[Array, ...]
    bounds: Bounds


Result = Array | Exception
Way = Callable[[Sequence[Network], Path], list[Result]]


def network(case: Case) -> Network:
    """Read a model and compute the bounds of its output."""
    graph = read(case.proto)
    ready, _ = run_pipeline(graph)
    inputs = tuple(case.inputs[port.name] for port in graph.inputs)
    written = read_as_written(case.proto)
    return Network(case, graph, ready, inputs, bounds(written, inputs)[0])


def _in_numpy(compute: Callable[[Network], Sequence[Array]]) -> Way:
    def result(each: Network) -> Result:
        try:
            return compute(each)[0]
        except Exception as error:
            return error

    return lambda networks, folder: list(map(result, networks))


def _compiled(target: str, emitter: Emitter) -> Way:
    def way(networks: Sequence[Network], folder: Path) -> list[Result]:
        trials = [Trial(n.ready, (n.inputs, n.inputs)) for n in networks]
        results = run_trials(trials, resolve(target), emitter)
        return [_same(result) for result in results]

    return way


def _same(result: list[tuple[Array, ...]] | Exception) -> Result:
    """The output of two calls, which must be equal."""
    if isinstance(result, Exception):
        return result
    (first,), (second,) = result
    if not np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
        return ValueError("the second call gives another result")
    return first


def _onnxruntime(networks: Sequence[Network], folder: Path) -> dict[str, list[Result]]:
    """The results of ONNX Runtime, fused and unfused, from a process of the Python that has it."""
    python = os.environ.get("ELLC_ONNXRUNTIME")
    if not python:
        return {}
    for old in folder.glob("[0-9]*.*"):
        old.unlink()
    for number, each in enumerate(networks):
        for name, data in files(each.case).items():
            (folder / f"{number:06d}{Path(name).suffix}").write_bytes(data)
    subprocess.run([python, _WORKER, folder], check=True)
    ways = "fused", "unfused"
    return {
        f"onnxruntime {way}": [_answer(folder, n, way) for n in range(len(networks))]
        for way in ways
    }


def _answer(folder: Path, number: int, way: str) -> Result:
    said = folder / f"{number:06d}.{way}.txt"
    if said.exists():
        return ValueError(said.read_text())
    with np.load(said.with_suffix(".npz")) as stored:
        return np.asarray(stored["0"])


WAYS: dict[str, Way] = {
    "onnx": _in_numpy(lambda n: expected(n.case.proto, n.case.inputs)),
    "reader": _in_numpy(lambda n: evaluate(n.graph, n.inputs).outputs),
    "passes": _in_numpy(lambda n: evaluate(n.ready, n.inputs).outputs),
    "host": _compiled("host", "llvm"),
    "C": _compiled("host", "c"),
    "pi3": _compiled("pi3", "llvm"),
    "pi3_64": _compiled("pi3_64", "llvm"),
}
IN_NUMPY = ("onnx", "reader", "passes")
QUICK_WAYS = (*IN_NUMPY, "C")  # tests/ops/test_random_onnx.py compiles with LLVM
COMPILED = ("host", "C", "pi3_64", "pi3")
"""Compiled ways, which take nearly all of the time, since networks share no kernels. The campaign
`graphs-in-turns` uses one of them per batch, and tests four times as many networks in this time."""
APPROXIMATE = "onnxruntime fused"
"""The fused 8-bit kernels of ONNX Runtime use other tables and scales. If only their results
differ, also from its unfused kernels, this is counted, but is no finding."""
_EMULATED = ("pi3", "pi3_64")


def files(case: Case) -> dict[str, bytes]:
    """The files of a case: a model and its inputs."""
    stored = io.BytesIO()
    np.savez(stored, **case.inputs)  # type: ignore[arg-type]
    return {"graph.onnx": case.proto.SerializeToString(), "graph.npz": stored.getvalue()}


@dataclass(frozen=True)
class Graphs:
    """The campaign of random networks."""

    name: str = "graphs"
    batch: int = 100
    quick_count: int = 8
    quick: bool = False
    in_turns: bool = False
    """Whether a batch uses only one compiled way, which depends on its seed."""

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Make `count` random networks, compute them in all ways, and check the results."""
        findings = Findings()
        networks, numbers = [], []
        for number in range(count):
            again = f"--only {self.name} --seed {seed} --number {number}"
            case = self.case(seed, number)
            try:
                networks.append(network(case))
                numbers.append(number)
            except Exception as error:
                findings.outcomes["REFUSED"] += 1
                place = f"refused: {type(error).__name__} {_words(str(error))}"
                findings.add(Finding(place, str(error), again, files(case)))
        results = self._results(seed, networks, folder)
        for i, (each, number) in enumerate(zip(networks, numbers, strict=True)):
            of_one = {way: given[i] for way, given in results.items()}
            findings.outcomes[self._judged(each, of_one, findings, seed, number, folder)] += 1
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The files of network `number` of the batch."""
        return files(self.case(seed, number))

    def case(self, seed: int, number: int) -> Case:
        """The case with this number."""
        drawn = RandomOnnx(seed * SEEDS_OF_A_BATCH + number)
        return Case.of(drawn.proto, {"x": drawn.input}, drawn.outputs[0])

    def _ways(self, seed: int) -> tuple[str, ...]:
        """The ways of a batch, without those of ONNX Runtime."""
        if self.quick:
            return QUICK_WAYS
        usable = [w for w in COMPILED if w not in _EMULATED or emulate.can_run(resolve(w))]
        for way in sorted({*COMPILED} - {*usable}):
            print(f"  {self.name}: this machine cannot run {way}", flush=True)
        return (*IN_NUMPY, *([usable[seed % len(usable)]] if self.in_turns else usable))

    def _results(
        self, seed: int, networks: Sequence[Network], folder: Path
    ) -> dict[str, list[Result]]:
        found = {way: WAYS[way](networks, folder) for way in self._ways(seed)}
        if not self.quick:
            found |= _onnxruntime(networks, folder)
            if APPROXIMATE not in found:
                print(f"  {self.name}: no {APPROXIMATE}: ELLC_ONNXRUNTIME is not set", flush=True)
        return found

    def _judged(
        self,
        each: Network,
        results: dict[str, Result],
        findings: Findings,
        seed: int,
        number: int,
        folder: Path,
    ) -> str:
        """The outcome of a network, a word; wrong results become findings."""
        said = {way: text for way, got in results.items() if (text := judged(each, got))}
        if list(said) == [APPROXIMATE]:
            return f"equal but for {APPROXIMATE}"
        if said:
            way = next(iter(said))
            least = minimised(each.case, lambda case: self._fails(case, way, folder))
            kinds = " ".join(node.op_type for node in least.nodes)
            wrong = ", ".join(said)
            again = f"--only {self.name} --seed {seed} --number {number}"
            place = f"{wrong}: {kinds}"
            findings.add(Finding(place, said[way], again, files(least)))
            return "WRONG"
        arrays = [got for got in results.values() if isinstance(got, np.ndarray)]
        if each.bounds.is_loose:
            return "loosely bounded"
        return "undecided" if any(map(each.bounds.is_undecided, arrays)) else "equal"

    def _fails(self, case: Case, way: str, folder: Path) -> bool:
        try:
            one = network(case)
            ways = WAYS[way]([one], folder) if way in WAYS else _onnxruntime([one], folder)[way]
        except Exception:  # the smaller case fails in another way
            return False
        return bool(judged(one, ways[0]))


def judged(each: Network, got: Result) -> str:
    """A description of what is wrong with a result; empty if it is correct."""
    if isinstance(got, Exception):
        return f"{type(got).__name__}: {got}"
    return each.bounds.disagreement(got)


def _words(text: str) -> str:
    return " ".join(text.split()[:_FIRST_WORDS])


CAMPAIGNS = (Graphs(), Graphs("graphs-in-turns", quick_count=0, in_turns=True))
