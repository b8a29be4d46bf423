"""Turns a whole archive into a graph: selects the nodes, calls their handlers, adds the outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ellc.frontends.ell.archive import Archive, Node
from ellc.frontends.ell.lower import (
    convolution,
    elementwise,
    layers,
    linear,
    plumbing,
    recurrent,
    stateful,
)
from ellc.frontends.ell.lower.buffers import tensor_shape
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Poisoned, Refused
from ellc.frontends.ell.lower.names import metadata_of, port_name, unique_name
from ellc.frontends.ell.options import EllOptions
from ellc.frontends.ell.ports import PortReference, parse_port_reference, whole_port
from ellc.frontends.ell.view import View
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError, ShapeError
from ellc.ir.graph import Graph
from ellc.ir.passes.canonicalise.eliminate_dead import EliminateDead

HANDLERS: dict[str, Handler] = {
    **convolution.HANDLERS,
    **elementwise.HANDLERS,
    **layers.HANDLERS,
    **linear.HANDLERS,
    **plumbing.HANDLERS,
    **recurrent.HANDLERS,
    **stateful.HANDLERS,
}

_SIGNAL = frozenset(
    {
        "FFTNode", "HammingWindowNode", "HannWindowNode", "IIRFilterNode", "LinearFilterBankNode",
        "MelFilterBankNode", "DCTNode", "VoiceActivityDetectorNode",
    }
)  # fmt: skip
_CLASSICAL = frozenset(
    {
        "LinearPredictorNode", "ProtoNNPredictorNode", "ForestPredictorNode", "SimpleForestNode",
        "SingleElementThresholdNode",
    }
)  # fmt: skip
_REASONS = {
    "ClockNode": "an output depends on a clock, and compiled networks have no callbacks",
    "DTWDistanceNode": "dynamic time warping is not implemented",
    "IRNode": "it holds LLVM code for ELL's own compiler",
}


def lower_archive(archive: Archive, options: EllOptions) -> Graph:
    """Lower an archive; raise `EllcError` E205 for unsupported nodes, E204 for damage."""
    return _Driver(archive, options).run()


@dataclass(frozen=True, slots=True)
class _Output:
    """A public output: its name, and a reference to the ports that it reads."""

    name: str
    reference: PortReference


class _Driver:
    """Lowers one archive."""

    def __init__(self, archive: Archive, options: EllOptions) -> None:
        self.archive = archive
        self.options = options
        self.nodes = {node.id: node for node in archive.map.model.nodes}
        stem = archive.name.split(".")[0] if archive.name else ""
        self.builder = GraphBuilder(options.name or stem or "model")
        self.lowering = Lowering(archive, options, self.builder)
        self.output_names: list[str] = []

    def run(self) -> Graph:
        outputs = self.outputs()
        needed = self.needed(outputs)
        self.refuse_unsupported(needed)
        # The graph's inputs must have the order of the map, so their nodes are lowered first.
        for index, name in enumerate(self.archive.map.input_ids):
            if name not in self.nodes:
                self.lowering.problems.add(f"inputIds[{index}]", f"there is no node '{name}'")
        listed = [self.nodes[i] for i in self.archive.map.input_ids if i in self.nodes]
        inputs = [node for node in listed if node.type.base == "InputNode"]
        done = {node.id for node in inputs}
        others = [n for n in self.archive.map.model.nodes if n.id not in done]
        for node in [*inputs, *others]:
            if node.id in needed:
                self.lower(node)
        self.fail_if_problems()
        for output in outputs:
            self.write_output(output)
        self.fail_if_problems()
        self.builder.metadata(metadata_of(self.archive, self.lowering.notes))
        # Handlers may add reshapes that are replaced later, and operators for unused ports.
        return EliminateDead().run(self.builder.build())

    # ---- which nodes ----------------------------------------------------------------------------

    def outputs(self) -> list[_Output]:
        """The public outputs.

        These are the outputs in the options; without these, the outputs of the map; without a map,
        all output and sink nodes.
        """
        archive_map = self.archive.map
        if self.options.outputs:
            return [_Output(text, self.parse(text)) for text in self.options.outputs]
        if archive_map.outputs:
            names = [*archive_map.output_names, *[""] * len(archive_map.outputs)]
            return [
                _Output(port_name(self.nodes, ref, name), ref)
                for name, ref in zip(names, archive_map.outputs, strict=False)
            ]
        nodes = [n for n in archive_map.model.nodes if n.type.base in ("OutputNode", "SinkNode")]
        if not nodes:
            raise EllcError(
                "the model has no output node",
                code="E204",
                where=self.archive.name,
                hint="choose ports as outputs (EllOptions.outputs, --outputs ID.output)",
            )
        refs = [whole_port(node.id) for node in nodes]
        return [_Output(port_name(self.nodes, ref, ""), ref) for ref in refs]

    def parse(self, text: str) -> PortReference:
        try:
            return parse_port_reference(text)
        except ValueError as error:
            raise EllcError(str(error), code="E204", where=self.archive.name) from None

    def needed(self, outputs: Iterable[_Output]) -> set[str]:
        """The ids of all nodes on which the outputs depend, and of the map's inputs.

        If one of the nodes is a source node, the map's inputs are left out: they are only the clock
        of the source node.
        """
        pending = [part.node for output in outputs for part in output.reference.ranges]
        needed: set[str] = set()
        while pending:
            node = self.nodes.get(pending.pop())
            if node is None or node.id in needed:
                continue
            needed.add(node.id)
            # A source node becomes a public input, so the clock that it reads is not needed.
            if node.type.base != "SourceNode":
                references = [port.reference for port in node.inputs.values()]
                pending += [part.node for ref in references for part in ref.ranges]
        if not any(self.nodes[name].type.base == "SourceNode" for name in needed):
            needed |= set(self.archive.map.input_ids) & set(self.nodes)
        return needed

    def refuse_unsupported(self, needed: set[str]) -> None:
        """Raise `EllcError` E205 with all needed nodes that have no handler."""
        lines = [
            f"{node.path}: {node.label} of type {node.type}: {_why(node.type.base)}"
            for node in self.archive.map.model.nodes
            if node.id in needed and node.type.base not in HANDLERS
        ]
        if lines:
            is_single = len(lines) == 1
            raise EllcError(
                f"{len(lines)} node{'' if is_single else 's'} of this model "
                f"{'is' if is_single else 'are'} not supported",
                code="E205",
                where=self.archive.name,
                problems=lines,
                hint="compile only the part of the model before these nodes: choose its last ports "
                "as outputs (EllOptions.outputs, --outputs ID.output)",
            )

    # ---- nodes ----------------------------------------------------------------------------------

    def lower(self, node: Node) -> None:
        """Lower one node; its problems are recorded."""
        lowering = self.lowering
        view = View(node.object, node.path, lowering.problems, self.options.limits)
        lowering.source = (node.metadata.text("name") or node.id,)
        try:
            HANDLERS[node.type.base](lowering, Job(node, view))
            if not view.sound:
                raise Poisoned
        except Poisoned:
            lowering.poisoned.add(node.id)
        except Refused as refused:
            self.add_problem(node, refused)
        except ShapeError as error:
            self.add_problem(node, Refused(error.reason))
        except EllcError as error:
            self.add_problem(node, Refused(error.message))

    def add_problem(self, node: Node, refused: Refused) -> None:
        path = refused.path if isinstance(refused, layers.LayerRefused) else node.path
        key = f".{refused.key}" if refused.key else ""
        self.lowering.problems.add(f"{path}{key}", f"{refused.text} ({node.label}, {node.type})")
        self.lowering.poisoned.add(node.id)

    # ---- outputs --------------------------------------------------------------------------------

    def write_output(self, output: _Output) -> None:
        try:
            buffer = self.lowering.resolve(output.reference)
        except Refused as refused:
            self.lowering.problems.add(f"output '{output.name}'", refused.text)
            return
        except Poisoned:
            return
        if buffer.layout.has_padding:
            shape = tensor_shape(buffer.layout.extent)
            ref = self.lowering.reshape(self.lowering.flat(buffer), shape)
        else:
            ref = buffer.ref
        name = unique_name(output.name, self.output_names)
        self.output_names.append(name)
        self.builder.output(name, ref)

    def fail_if_problems(self) -> None:
        self.lowering.problems.raise_if_any(
            "the model cannot be read", code="E204", where=self.archive.name
        )


def _why(base: str) -> str:
    if base in _SIGNAL:
        return "signal processing is not implemented"
    if base in _CLASSICAL:
        return "classical predictors are not implemented"
    return _REASONS.get(base, "this node type is unknown")
