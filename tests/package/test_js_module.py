"""The generated NAME.mjs in Node and in a browser: results, errors, instances, sources."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from agreement import disagreement
from browser import browser_tab, find_browser
from hostile_texts import TEXTS, many_ports
from node import find_node, run_module
from small_networks import convolution_network, inputs_of, reference_of, two_way_network

from ellc.cli import run
from ellc.driver import CompileOptions, compile_model
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Add
from ellc.ir.types import Array, DType, TensorType

TYPES = (DType.F32, DType.F64, DType.I64, DType.U64, DType.I32, DType.U32)
needs_node = pytest.mark.skipif(find_node() is None, reason="no Node")


def typed_network() -> Graph:
    """A network with an input and an output of every element type that can be added."""
    b = GraphBuilder("typed")
    for number, dtype in enumerate(TYPES):
        x = b.input(f"x{number}", TensorType(dtype, (2,)))
        b.output(f"y{number}", b.add(Add(), x, x))
    return b.build()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the modules of all networks of this file."""
    made = tmp_path_factory.mktemp("modules")
    hostile = many_ports(TEXTS)
    for graph in (convolution_network(), two_way_network(), typed_network(), hostile):
        compile_model(graph, "wasm", CompileOptions(name=graph.name), made)
    return made


def listed(array: Array) -> str:
    return json.dumps(array.ravel().tolist())


@needs_node
@pytest.mark.slow
def test_copies_and_views_have_the_results_of_the_reference(folder: Path) -> None:
    graph = convolution_network()
    inputs = inputs_of(graph)
    program = f"""
        import {{ load, labels, inputs }} from "./small.mjs";
        const network = await load();
        const image = new Float32Array({listed(inputs[0])});
        const {{ scores }} = network.predict({{ image }});
        network.inputs.image.set(image);
        network.run();
        const same = network.outputs.scores.every((score, index) => score === scores[index]);
        const apart = scores.buffer !== network.outputs.scores.buffer;
        console.log(JSON.stringify([[...scores], same, apart, labels, inputs[0].shape]));
    """
    scores, same, apart, labels, shape = json.loads(run_module(folder, program))
    assert same and apart and tuple(shape) == graph.input_types()[0].shape
    assert labels == []  # the scores are no list of classes
    wanted = reference_of(graph, inputs)[0]
    made = np.array(scores, np.float32).reshape(wanted.shape)
    assert not disagreement(made, wanted)


@needs_node
def test_instances_have_states_of_their_own(folder: Path) -> None:
    """One module, two instances; names that are keywords; a reset."""
    ports = json.loads((folder / "two.json").read_text("utf-8"))
    (x, y), (total, _) = ([p["c_name"] for p in ports[side]] for side in ("inputs", "outputs"))
    program = f"""
        import {{ load, compile }} from "./two.mjs";
        const module = await compile();
        const [first, second] = [await load(module), await load(module)];
        const call = (network) => [...network.predict({{ {x}: ones, {y}: ones }}).{total}];
        const ones = new Float32Array(3).fill(1);
        const seen = [call(first), call(first), call(second)];
        first.reset();
        console.log(JSON.stringify([...seen, call(first)]));
    """
    assert json.loads(run_module(folder, program)) == [[2, 3, 4], [3, 4, 5], [2, 3, 4], [2, 3, 4]]


@needs_node
def test_every_element_type_has_its_array(folder: Path) -> None:
    program = """
        import { load } from "./typed.mjs";
        const network = await load();
        const inputs = Object.fromEntries(Object.entries(network.inputs).map(([key, view]) => {
          const big = view instanceof BigInt64Array || view instanceof BigUint64Array;
          return [key, view.constructor.from(big ? [3n, 5n] : [3, 5])];
        }));
        const outputs = network.predict(inputs);
        const numbers = (values) => Array.from(values, Number);
        const shown = ([key, values]) => [key, values.constructor.name, ...numbers(values)];
        console.log(JSON.stringify(Object.entries(outputs).map(shown)));
    """
    names = ["Float32", "Float64", "BigInt64", "BigUint64", "Int32", "Uint32"]
    wanted = [[f"y{n}", f"{name}Array", 6, 10] for n, name in enumerate(names)]
    assert json.loads(run_module(folder, program)) == wanted
    types = (folder / "typed.d.mts").read_text("utf-8")
    assert all(f"readonly y{n}: {name}Array;" in types for n, name in enumerate(names))


@needs_node
def test_wrong_inputs_are_exceptions_and_change_nothing(folder: Path) -> None:
    program = """
        import { load } from "./typed.mjs";
        const network = await load();
        const copied = ([key, view]) => [key, view.slice()];
        const good = () => Object.fromEntries(Object.entries(network.inputs).map(copied));
        const attempts = [undefined, null, 3, {}, { ...good(), x9: 1 }, { ...good(), x0: [1, 2] },
          { ...good(), x0: new Float64Array(2) }, { ...good(), x5: new Uint32Array(3) },
          { ...good(), x5: new Uint32Array(0) }, Object.create({ x0: new Float32Array(2) })];
        for (const inputs of attempts) {
          if (inputs && inputs.x0) inputs.x0[0] = 77;
          try { network.predict(inputs); console.log("no exception"); }
          catch (problem) { console.log(`${problem.name}: ${problem.message}`); }
        }
        console.log(network.inputs.x0[0]);
    """
    lines = run_module(folder, program).splitlines()
    assert lines == [
        "TypeError: typed: predict takes an object of arrays, not undefined",
        "TypeError: typed: predict takes an object of arrays, not null",
        "TypeError: typed: predict takes an object of arrays, not Number",
        "TypeError: typed: input x0 must be a Float32Array of 2 elements, not undefined",
        "TypeError: typed: there is no input x9; inputs: x0, x1, x2, x3, x4, x5",
        "TypeError: typed: input x0 must be a Float32Array of 2 elements, not Array",
        "TypeError: typed: input x0 must be a Float32Array of 2 elements, not Float64Array",
        "RangeError: typed: input x5 must have 2 elements, not 3",
        "RangeError: typed: input x5 must have 2 elements, not 0",
        "TypeError: typed: input x1 must be a Float64Array of 2 elements, not undefined",
        "0",
    ]


@needs_node
def test_an_input_that_calls_the_network_while_it_is_read(folder: Path) -> None:
    """All inputs are read before the first is copied."""
    program = """
        import { load } from "./typed.mjs";
        const network = await load();
        const copied = ([key, view]) => [key, view.slice()];
        const good = Object.fromEntries(Object.entries(network.inputs).map(copied));
        const inner = { ...good, x0: new Float32Array([9, 9]) };
        const outer = {
          ...good,
          x0: new Float32Array([1, 2]),
          get x5() { network.predict(inner); return good.x5; },
        };
        console.log(String(network.predict(outer).y0));
    """
    assert run_module(folder, program) == "2,4\n"


@needs_node
def test_sources_that_are_not_the_module(folder: Path) -> None:
    program = """
        import { readFileSync } from "node:fs";
        import { load } from "./small.mjs";
        const bytes = readFileSync("small.wasm");
        const sources = [bytes, new Uint8Array(bytes).buffer, new WebAssembly.Module(bytes),
          new URL("small.wasm", `file://${process.cwd()}/`), new Response(bytes),
          Promise.resolve(bytes), readFileSync("two.wasm"), bytes.subarray(0, 50),
          new Response("", { status: 404, statusText: "not found" }), "file:///no/such.wasm"];
        for (const source of sources) {
          try { await load(source); console.log("loaded"); }
          catch (problem) { console.log(`${problem.name}: ${problem.message}`); }
        }
    """
    *loaded, other, cut, missing, absent = run_module(folder, program).splitlines()
    assert loaded == ["loaded"] * 6
    assert "Error: small: script and module are not from the same run of ellc" in other
    assert "Error: small: this is not a module that this engine can compile" in cut
    assert missing == "Error: : 404 not found" and "no such file" in absent


@needs_node
def test_a_network_with_hostile_texts(folder: Path) -> None:
    program = """
        import { load, inputs } from "./net.mjs";
        const network = await load();
        const copied = ([key, view]) => [key, view.slice()];
        network.predict(Object.fromEntries(Object.entries(network.inputs).map(copied)));
        console.log(JSON.stringify(inputs.map((port) => port.name)));
    """
    names = json.loads(run_module(folder, program))
    assert [name for name in names if name in TEXTS] == list(TEXTS)


@pytest.mark.slow
def test_other_targets_and_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = convolution_network()
    for target, kinds in (("host", ("so", "mjs")), ("wasm", ("mjs",))):
        with pytest.raises(EllcError, match="E322"):
            compile_model(graph, target, CompileOptions(emit=kinds), tmp_path / "out")
    save(graph, tmp_path / "small.eir")
    words = ["compile", str(tmp_path / "small.eir"), "--target", "wasm", "-o", str(tmp_path / "o")]
    assert run(words) == 0
    size = (tmp_path / "o" / "small.wasm").stat().st_size
    assert f"module {size:,} bytes" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["module_bytes"] == size


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of this folder."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar[dict[str, str]] = {".mjs": "text/javascript", "": "text/html"}

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium")
def test_a_browser_loads_the_module_without_a_bundler(folder: Path, tmp_path: Path) -> None:
    browser = find_browser()
    assert browser is not None
    graph = convolution_network()
    inputs = inputs_of(graph)
    for name in ("small.mjs", "small.wasm"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "page.html").write_text(
        "<!DOCTYPE html><title>page</title><link rel=icon href=data:,>"
    )
    program = f"""
        import("./small.mjs").then(async ({{ load }}) => {{
          const network = await load();
          return [...network.predict({{ image: new Float32Array({listed(inputs[0])}) }}).scores];
        }})
    """
    with served(tmp_path) as address, browser_tab(browser, tmp_path / "profile") as tab:
        tab.open(f"{address}/page.html", 800, 600)
        scores = tab.evaluate(program)
        assert tab.errors == []
    wanted = reference_of(graph, inputs)[0]
    assert not disagreement(np.array(scores, np.float32).reshape(wanted.shape), wanted)
