"""Networks of which some layers stay float: by choice, for accuracy, for speed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from quantisable import MIN_MAX, NETWORKS, Drawn, inputs

from ellc import cli
from ellc.check.checking import CheckOptions, check
from ellc.codegen.machine.resolve import resolve
from ellc.ir.container import save
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.activations import Relu
from ellc.ir.ops.arithmetic import Add
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.models import read_model
from ellc.progress import silent
from ellc.quantise.damage import LayerDamage, measured
from ellc.quantise.dropping import fewest, most_noise_first
from ellc.quantise.quantising import Calibration, Samples, assembled, calibrated
from ellc.quantise.speed import predicted
from ellc.quantise.writing import write


def residual() -> Graph:
    """Convolutions around an addition, one with an activation."""
    d = Drawn()
    x = d.add(Relu(), d.conv(d.x, 6))
    return d.built(d.conv(d.add(Relu(), d.add(Add(), d.conv(x, 6), x)), 4, 1))


def calibration(graph: Graph, folder: Path) -> Calibration:
    samples = inputs(6)
    return calibrated(graph, Samples(lambda: samples, 6), folder, silent, MIN_MAX)


def test_any_layer_can_stay_float(tmp_path: Path) -> None:
    graph = residual()
    made = calibration(graph, tmp_path)
    products = [layer for layer in made.layers if layer.kind == "product"]
    assert len(products) == 3
    for number, layer in enumerate(products):
        result = assembled(made, {layer.results[0]: "a reason"})
        assert list(result.left_float.values()) == ["a reason"]
        floats = [node for node in result.graph.nodes if isinstance(node.op, Conv2D)]
        assert len(floats) == 1
        write(result, tmp_path / "mixed.onnx")
        again = read_model(tmp_path / "mixed.onnx")
        for sample in inputs(2):
            outputs = [evaluate(g, (sample,)).outputs[0] for g in (graph, result.graph, again)]
            far = np.abs(outputs[0]).max()
            np.testing.assert_allclose(outputs[1], outputs[0], atol=0.1 * far)
            np.testing.assert_allclose(outputs[2], outputs[1], atol=0.02 * far)
        if number == 1:
            assert check(result.graph, resolve("host"), CheckOptions(seeds=1)).agrees


def test_layers_that_are_slower_stay_float(tmp_path: Path) -> None:
    made = calibration(residual(), tmp_path)
    for target in ("host", "imxrt1050"):
        speed = predicted(made, resolve(target))
        assert min(speed.floats, speed.integers, speed.mixed) > 0
        assert (speed.mixed < speed.integers) == bool(speed.slower)
        assert all(before < after for before, after in speed.slower.values())
        result = assembled(made, speed.reasons)
        assert sorted(result.left_float.values()) == sorted(speed.reasons.values())
        assert all(target in why for why in speed.reasons.values())


def sensitive() -> Graph:
    """A classifier in which one scale cannot fit all channels between two layers."""
    d = Drawn("sensitive")
    sizes = np.geomspace(1, 3000, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    first = d.rng.standard_normal((6, 1, 1, 6)).astype(np.float32) * sizes
    second = d.rng.standard_normal((5, 1, 1, 6)).astype(np.float32) / sizes.reshape(1, 1, 1, -1)
    x = d.add(Conv2D(), d.x, d.builder.constant(first))
    x = d.add(Conv2D(), x, d.builder.constant(second))
    return d.built(d.add(Softmax((1,)), d.add(Reduce("mean", (1, 2)), x)))


@pytest.mark.slow
def test_accuracy_drops_by_no_more_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = sensitive()
    save(graph, tmp_path / "net.eir")
    x = inputs(40)
    classes = [int(evaluate(graph, (sample,)).outputs[0].argmax()) for sample in x]
    np.savez("data.npz", x=np.concatenate(x), y=np.array(classes))
    line = ["quantize", "net.eir", "--data", "data.npz", "--jobs", "1", "--json", "-o", "q.eir"]
    right = {}
    for limit in ("100%", "5", "0%"):
        assert cli.run([*line, "--calibration", "min-max", "--max-drop", limit]) == 0
        document = json.loads(capsys.readouterr().out)
        before, after = document["accuracy"]
        assert before["top1"] == 40
        right[limit] = after["top1"], len(document["float_layers"])
    assert right["100%"][1] == 0 and right["100%"][0] < 38
    # The layer that computes the channels, and the one that reads them.
    assert right["5"][0] >= 38 and right["5"][1] == 2
    assert right["0%"][0] == 40
    assert all("accuracy drops" in why for why in document["float_layers"].values())


def test_accuracy_cannot_be_kept_without_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(NETWORKS["classifier"](), tmp_path / "net.eir")
    np.savez("data.npz", x=np.concatenate(inputs(2)))
    line = ["quantize", "net.eir", "--data", "data.npz"]
    assert cli.run([*line, "--max-drop", "1%"]) == 2
    assert "error[E791]" in capsys.readouterr().err
    for wrong in ("-1", "101%", "nan", "much"):
        assert cli.run([*line, "--max-drop", wrong]) == 2
        assert "is not a percentage" in capsys.readouterr().err
    assert cli.run([*line, "--target", "no-board"]) == 2
    assert "error[E" in capsys.readouterr().err


def test_layers_are_ranked_by_what_they_add(tmp_path: Path) -> None:
    made = calibration(residual(), tmp_path / "calibration")
    result = assembled(made)
    damages = measured(result, inputs(2), 2, tmp_path / "damage", silent)
    order = most_noise_first(result.layers, damages)
    products = {layer.results[0] for layer in result.layers if layer.kind == "product"}
    assert set(order) == products and len(order) == 3
    noisy = order[-1]
    worse = [
        LayerDamage(d.name, d.kind, d.value, "mse", 0, 1, 1, 0, 1.0, 0) if d.value == noisy else d
        for d in damages
    ]
    assert most_noise_first(result.layers, worse)[0] == noisy


def test_the_fewest_layers() -> None:
    for count in range(1, 40):
        for enough in range(1, count + 1):
            tried: list[int] = []

            def is_enough(n: int, tried: list[int] = tried, enough: int = enough) -> bool:
                tried.append(n)
                return n >= enough

            assert fewest(count, is_enough) == enough
            assert len(tried) <= 2 * count.bit_length() and len(set(tried)) == len(tried)
