"""Parses the bytes of a file into an `OnnxModel`, and reads its ports and definitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ellc.frontends.onnx.external import ExternalFiles
from ellc.frontends.onnx.model import (
    STANDARD_DOMAIN,
    Attribute,
    AttributeReference,
    OnnxFunction,
    OnnxGraph,
    OnnxInput,
    OnnxModel,
    OnnxNode,
    UnreadableAttribute,
)
from ellc.frontends.onnx.tensors import ELEMENT_TYPES, MAX_RANK, StoredTensor
from ellc.ir.errors import EllcError
from ellc.ir.file_interface import FileInterface, FilePort
from ellc.ir.installing import extra_hint
from ellc.ir.limits import DEFAULT_LIMITS, Limits
from ellc.ir.reading import read_file

if TYPE_CHECKING:
    from onnx import ModelProto

_ATTRIBUTE_KINDS = ("undefined", "float", "int", "string", "tensor", "graph", "floats", "ints",
                    "strings", "tensors", "graphs", "sparse tensor", "sparse tensors", "type",
                    "types")  # fmt: skip


_NO_VERSION = 2**63 - 1  # the version that the runtime reports for a file without one


def load_model(source: Path, limits: Limits) -> OnnxModel:
    """Read an ONNX file.

    Raises `EllcError`: E203 if the model exceeds the limits, E210 if the file is damaged, E211 if
    the package `onnx` is missing.
    """
    where = str(source)
    data = read_file(source, limits, code="E210")
    proto = _parse(data, where)
    reader = _Reader(ExternalFiles(source.parent, limits), limits, where)
    try:
        return reader.model(proto, source.stem)
    except UnicodeDecodeError:
        raise EllcError("a name in the file is not UTF-8", code="E210", where=where) from None
    except RecursionError:
        raise EllcError("graphs are nested too deeply", code="E203", where=where) from None


def read_interface(source: Path, limits: Limits) -> FileInterface:
    """Read the declarations of a file's ports. Raises `EllcError` like `load_model`."""
    data = read_file(source, limits, code="E210")
    proto = _parse(data, str(source))
    reader = _Reader(ExternalFiles(None, limits), limits, str(source))
    stored = {str(tensor.name) for tensor in proto.graph.initializer}
    inputs = [known for known in map(reader.input, proto.graph.input) if known.name not in stored]
    outputs = list(map(reader.input, proto.graph.output))
    ports = [
        FilePort(known.name, known.name, number, known.shape, _is_float16(known))
        for number, known in enumerate([*inputs, *outputs])
    ]
    about = {
        "description": str(proto.doc_string),
        "domain": str(proto.domain),
        "graph_name": str(proto.graph.name),
        "graph_description": str(proto.graph.doc_string),
        "producer_name": str(proto.producer_name),
        "version": str(proto.model_version if proto.HasField("model_version") else _NO_VERSION),
    }
    return FileInterface(
        "onnxruntime",
        hashlib.sha256(data).hexdigest(),
        tuple(ports[: len(inputs)]),
        tuple(ports[len(inputs) :]),
        about=tuple(about.items()),
        metadata=tuple((str(e.key), str(e.value)) for e in proto.metadata_props),
    )


def _is_float16(port: OnnxInput) -> bool:
    kind = ELEMENT_TYPES.get(port.element_type)
    return kind is not None and kind.name == "float16"


def _parse(data: bytes, where: str) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise EllcError(
            f"the package '{error.name}' is needed to read ONNX files",
            code="E211",
            where=where,
            hint=extra_hint("onnx", "onnx"),
        ) from None
    try:
        proto: ModelProto = onnx.ModelProto.FromString(data)
    except Exception:  # the class of protobuf's error depends on protobuf's implementation
        raise EllcError(
            "the file is damaged, or not an ONNX model", code="E210", where=where
        ) from None
    if not proto.HasField("graph") or not proto.opset_import:
        raise EllcError("the file does not hold an ONNX model", code="E210", where=where)
    return proto


def read_definition(
    data: bytes, defaults: Iterable[Any], opsets: Mapping[str, int], where: str
) -> OnnxFunction:
    """Read the function by which ONNX's specification defines an operator.

    `data` is a serialised FunctionProto, and `defaults` holds the operator's attributes that have
    defaults. `opsets` maps operator sets to the versions that apply if the function names none.
    """
    import onnx

    reader = _Reader(ExternalFiles(None, DEFAULT_LIMITS), DEFAULT_LIMITS, where)
    function = reader.function(onnx.FunctionProto.FromString(data), opsets)
    formal = dict(function.attributes)
    formal.update((str(a.name), reader.attribute(a, opsets)) for a in defaults)
    return replace(function, attributes=MappingProxyType(formal))


@dataclass(slots=True)
class _Reader:
    """Converts protobuf messages to plain values. `nodes` counts the nodes of all graphs so far."""

    files: ExternalFiles
    limits: Limits
    where: str
    nodes: int = 0

    def model(self, proto: Any, name: str) -> OnnxModel:
        opsets = _opsets(proto.opset_import, self.where)
        functions = {
            (_domain(f.domain), str(f.name), str(f.overload)): self.function(f, opsets)
            for f in proto.functions
        }
        metadata = {str(e.key): str(e.value) for e in proto.metadata_props}
        graph = self.graph(proto.graph, opsets)
        return OnnxModel(name, graph, MappingProxyType(functions), MappingProxyType(metadata))

    def graph(self, proto: Any, opsets: Mapping[str, int]) -> OnnxGraph:
        constants = {str(t.name): self.tensor(t) for t in proto.initializer}
        if len(constants) != len(proto.initializer):
            raise self.damaged("two initializers have one name")
        for sparse in proto.sparse_initializer:
            constants[str(sparse.values.name)] = self.tensor(sparse.values, sparse=True)
        return OnnxGraph(
            tuple(self.input(v) for v in proto.input),
            tuple(str(v.name) for v in proto.output),
            self.node_list(proto.node, opsets),
            MappingProxyType(constants),
        )

    def function(self, proto: Any, outer: Mapping[str, int]) -> OnnxFunction:
        opsets = _opsets(proto.opset_import, self.where) or outer
        formal: dict[str, Attribute | None] = {str(name): None for name in proto.attribute}
        formal.update((str(a.name), self.attribute(a, opsets)) for a in proto.attribute_proto)
        return OnnxFunction(
            tuple(map(str, proto.input)),
            tuple(map(str, proto.output)),
            self.node_list(proto.node, opsets),
            MappingProxyType(formal),
        )

    def node_list(self, protos: Any, opsets: Mapping[str, int]) -> tuple[OnnxNode, ...]:
        self.nodes += len(protos)
        if self.nodes > self.limits.graph_nodes:
            raise EllcError(
                f"the model has more than {self.limits.graph_nodes} nodes",
                code="E203",
                where=self.where,
            )
        return tuple(self.node(p, opsets) for p in protos)

    def node(self, proto: Any, opsets: Mapping[str, int]) -> OnnxNode:
        domain = _domain(proto.domain)
        attributes = {str(a.name): self.attribute(a, opsets) for a in proto.attribute}
        inputs = tuple(map(str, proto.input))
        graphs = [a for a in attributes.values() if isinstance(a, OnnxGraph)]
        captured = tuple(dict.fromkeys(name for g in graphs for name in free_names(g)))
        return OnnxNode(
            operator=str(proto.op_type),
            inputs=(*inputs, *captured),
            outputs=tuple(map(str, proto.output)),
            domain=domain,
            version=self.version(domain, opsets),
            name=str(proto.name),
            overload=str(proto.overload),
            attributes=MappingProxyType(attributes),
            captured=captured,
        )

    def version(self, domain: str, opsets: Mapping[str, int]) -> int:
        """The version of a domain's operator set; 1 if the file does not state it.

        Files often leave out versions of other domains; the version of ONNX's own domain must be
        there (E210).
        """
        if domain in opsets:
            return opsets[domain]
        if domain == STANDARD_DOMAIN:
            raise self.damaged("the file does not say which version of ONNX's operators it uses")
        return 1

    def attribute(self, proto: Any, opsets: Mapping[str, int]) -> Attribute:
        if proto.ref_attr_name:
            return AttributeReference(str(proto.ref_attr_name))
        match int(proto.type):
            case 1:
                return float(proto.f)
            case 2:
                return int(proto.i)
            case 3:
                return _text(proto.s)
            case 4:
                return self.tensor(proto.t)
            case 5:
                return self.graph(proto.g, opsets)
            case 6:
                return tuple(map(float, proto.floats))
            case 7:
                return tuple(map(int, proto.ints))
            case 8:
                return tuple(map(_text, proto.strings))
            case kind:
                known = 0 < kind < len(_ATTRIBUTE_KINDS)
                return UnreadableAttribute(_ATTRIBUTE_KINDS[kind] if known else f"kind {kind}")

    def tensor(self, proto: Any, sparse: bool = False) -> StoredTensor:
        return StoredTensor(proto, self.files, self.limits, sparse)

    def input(self, proto: Any) -> OnnxInput:
        name = str(proto.name)
        if proto.type.WhichOneof("value") not in (None, "tensor_type"):
            return OnnxInput(name, 0, None)
        tensor = proto.type.tensor_type
        if not tensor.HasField("shape"):
            return OnnxInput(name, int(tensor.elem_type), None)
        if len(tensor.shape.dim) > MAX_RANK:
            raise self.damaged(f"the input '{name}' has {len(tensor.shape.dim)} dimensions")
        return OnnxInput(name, int(tensor.elem_type), tuple(map(_dimension, tensor.shape.dim)))

    def damaged(self, what: str) -> EllcError:
        return EllcError(what, code="E210", where=self.where)


def free_names(graph: OnnxGraph) -> list[str]:
    """The names that a graph reads but does not define, in the order in which it reads them."""
    own = {i.name for i in graph.inputs} | set(graph.constants)
    own.update(name for node in graph.nodes for name in node.outputs)
    read = [name for node in graph.nodes for name in node.inputs] + list(graph.outputs)
    return [name for name in dict.fromkeys(read) if name and name not in own]


def _opsets(imports: Iterable[Any], where: str) -> dict[str, int]:
    """Map domains to operator set versions; raise `EllcError` E210 for a version below 1."""
    opsets = {_domain(entry.domain): int(entry.version) for entry in imports}
    for domain, version in opsets.items():
        if version < 1:
            raise EllcError(
                f"the file asks for version {version} of the operator set '{domain or 'ai.onnx'}'",
                code="E210",
                where=where,
            )
    return opsets


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else str(domain)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _dimension(proto: Any) -> int | str | None:
    match proto.WhichOneof("value"):
        case "dim_value":
            return int(proto.dim_value)
        case "dim_param" if proto.dim_param:
            return str(proto.dim_param)
    return None
