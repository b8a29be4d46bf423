"""Portable C code of networks with GCC's sanitizers: addresses, undefined behaviour, threads."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from agreement import disagreement
from operator_graphs import Sample, samples
from sanitizers import ADDRESS, THREAD, sanitized
from small_networks import convolution_network

from ellc.check.calls import plausible_inputs
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import all_ops
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


def network(graph: Graph) -> Sample:
    """A network with the operands and results of a call."""
    inputs = plausible_inputs(graph, 0)
    ready, _ = run_pipeline(graph)
    return Sample(graph.name, Trial(ready, (inputs,)), evaluate(graph, inputs).outputs)


@pytest.mark.slow
def test_no_address_and_no_undefined_behaviour() -> None:
    operators = [*list(all_ops().values())[::12], Conv2D, IntConv2D]
    assert sanitized([next(samples(op)) for op in operators], ADDRESS) == []


@pytest.mark.slow
def test_no_race() -> None:
    chosen = [network(convolution_network())]
    results = run_trials(
        [sample.trial for sample in chosen], resolve("host"), "c", Options(threads=3), cc=THREAD
    )
    for sample, result in zip(chosen, results, strict=True):
        assert not isinstance(result, Exception), result
        for got, want in zip(result[0], sample.want, strict=True):
            assert not disagreement(got, np.asarray(want))
