"""Generate models for every attribute, optional operand and element type of every ONNX operator.

`onnx.defs` lists the versions of an operator. For each version from operator set 7 on, models are
made from its base (`onnx_schema_bases`): with each attribute at its default and at each value in
`VALUES`; without each optional operand; with each element type that the version added.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graph_bases as graphs
import onnx_schema_bases as tensors
from onnx import helper
from onnx_graph_bases import bases_of
from onnx_models import floats, model, node
from onnx_schema_bases import NOT_THE_JUDGE, Base, Operand, X, ints

from ellc.frontends.onnx.registry import all_operators
from ellc.ir.types import Array

OLDEST = 7
_FLOAT = "tensor(float)"
_TYPES: dict[str, Any] = {
    "tensor(bool)": np.bool_, "tensor(double)": np.float64, "tensor(float)": np.float32,
    "tensor(float16)": np.float16, "tensor(bfloat16)": ml_dtypes.bfloat16,
    **{f"tensor({n})": np.dtype(n).type for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor(u{n})": np.dtype(f"u{n}").type for n in ("int8", "int16", "int32", "int64")},
}  # fmt: skip
"""Element types of the cases; ellc declines all other types."""


@dataclass(frozen=True)
class Case:
    """A model; `part` names what it tests, as does the table of unsupported attributes."""

    operator: str
    version: int
    part: str
    value: str
    proto: onnx.ModelProto
    inputs: Mapping[str, Array]

    @property
    def judged(self) -> bool:
        """Whether the results can be compared with those of ONNX's evaluator."""
        return not any(re.match(pattern, str(self)) for pattern in NOT_THE_JUDGE)

    def __str__(self) -> str:
        return f"{self.operator}-{self.version} {self.part} {self.value}".strip()


_KNOWN_X = {
    "Range",
    "Unique",
    "HannWindow",
    "HammingWindow",
    "BlackmanWindow",
    "MelWeightMatrix",
    "NonZero",
    "ConstantOfShape",
}
"""Operators whose operands must be constant."""
BASES = {**tensors.BASES, **graphs.BASES}
VALUES = {**tensors.VALUES, **graphs.VALUES}
WITHOUT = {**tensors.WITHOUT, **graphs.WITHOUT}
_OF_SIZE = {1: 3, 2: 5, 4: 6, 8: 7}  # the code in `TensorProto` of signed integers, by bytes
_RENAMED = {"constant_value": "value", "K": "k"}  # operands that were attributes with other names


@cache
def _histories() -> dict[tuple[str, str], list[onnx.defs.OpSchema]]:
    """All schemas of every operator, by name and domain; cached, since listing them is slow."""
    found: dict[tuple[str, str], list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        found.setdefault((schema.name, schema.domain), []).append(schema)
    return found


def versions(name: str, domain: str = "") -> list[onnx.defs.OpSchema]:
    """The schemas of an operator in operator sets from `OLDEST` on, oldest first."""
    every = sorted(_histories().get((name, domain), ()), key=lambda s: s.since_version)
    old = [s for s in every if s.since_version <= OLDEST][-1:]
    return old + [s for s in every if s.since_version > OLDEST]


def specified_operators() -> list[str]:
    """The names of the operators in ONNX's specification that ellc reads."""
    return sorted(k for k in all_operators().handlers if "." not in k and versions(k))


def cases(name: str) -> Iterator[Case]:
    """Every case of an operator."""
    base, seen = BASES.get(name, Base((X,))), set[tuple[str, str]]()
    newest = versions(name)[-1]
    for schema in versions(name):
        there = in_version(base, schema, newest)
        if schema.inputs and not _takes_tensors(schema, schema.inputs[0].type_str):
            there = bases_of(listed=False, optional=True).get(name, there)
        yield case_of(schema, there, "base")
        if there.around:
            yield case_of(schema, replace(there, computed=None), "base", "with known operands")
        yield from _attribute_cases(schema, there)
        for index, formal in enumerate(schema.inputs[: len(there.operands)]):
            if formal.option == onnx.defs.OpSchema.FormalParameterOption.Optional:
                if (name, formal.name) == ("Resize", "scales"):
                    continue  # sizes replace scales
                left = [None if i == index else x for i, x in enumerate(there.operands)]
                said = {**there.attributes, **WITHOUT.get((name, formal.name), {})}
                without = replace(there, operands=tuple(left), attributes=said)
                yield case_of(schema, without, f"input {formal.name}")
        yield from _type_cases(schema, there, seen)


def _takes_tensors(schema: onnx.defs.OpSchema, constraint: str) -> bool:
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    return any(t.startswith("tensor") for t in allowed.get(constraint, ["tensor"]))


def in_version(base: Base, schema: onnx.defs.OpSchema, newest: onnx.defs.OpSchema) -> Base:
    """The base for a version, in which some operands of the newest version are attributes."""
    if old_base := graphs.OLD_BASES.get((schema.name, schema.since_version)):
        return old_base
    names = [i.name.lower() for i in schema.inputs]
    variadic = newest.inputs and str(newest.inputs[0].option).endswith("Variadic")
    operands, attributes = [], dict(base.attributes)
    for index, x in enumerate(base.operands):
        formal = newest.inputs[min(index, len(newest.inputs) - 1)].name
        old = _RENAMED.get(formal, formal)
        if variadic or (index < len(names) and old not in schema.attributes):
            operands.append(x)
        elif old in schema.attributes and isinstance(x, np.ndarray):
            attributes[old] = x.tolist()
    kept = {k: v for k, v in attributes.items() if k in schema.attributes}
    if schema.name == "TopK" and "k" in kept:
        kept["k"] = kept["k"][0]
    if schema.name == "Resize" and schema.since_version == 10:
        operands = [operands[0], base.operands[2]]
    results = base.outputs
    if not str(schema.outputs[0].option).endswith("Variadic"):
        results = min(results, len(schema.outputs))
    return replace(base, operands=tuple(operands), attributes=kept, outputs=results)


def _attribute_cases(schema: onnx.defs.OpSchema, base: Base) -> Iterator[Case]:
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name and name not in base.attributes:
            default = helper.get_attribute_value(attribute.default_value)
            if not (isinstance(default, list) and not default):
                said = replace(base, attributes={**base.attributes, name: default})
                yield case_of(schema, said, f"attribute {name}", "default")
        for value in _values(schema, name, attribute):
            others = {} if schema.name == "Constant" else base.attributes
            others = {**others, **graphs.WITH.get((schema.name, name), {})}
            said = replace(base, attributes={**others, name: value})
            yield case_of(schema, fitting(schema.name, said, name, value), f"attribute {name}",
                        str(value)[:40].replace("\n", " "))  # fmt: skip


def _values(
    schema: onnx.defs.OpSchema, name: str, attribute: onnx.defs.OpSchema.Attribute
) -> Sequence[Any]:
    """Values of an attribute that differ from its default."""
    given = VALUES.get(schema.name, {})
    if name in given:
        return given[name]
    if attribute.default_value.name:
        default = helper.get_attribute_value(attribute.default_value)
        match attribute.type:
            case onnx.defs.OpSchema.AttrType.INT:
                return [0 if default else 1]
            case onnx.defs.OpSchema.AttrType.FLOAT:
                return [default / 2 + 0.25]
    return []


def fitting(operator: str, base: Base, name: str, value: Any) -> Base:
    """The base with operands that fit a value of an attribute."""
    x, *rest = base.operands or (None,)
    if value == "bidirectional":
        return graphs.both_ways(base)
    if name == "layout" and value:
        return graphs.batch_first(base)
    if operator == "SplitToSequence" and name == "keepdims":
        return replace(base, operands=(x,))
    if operator == "Resize" and name == "cubic_coeff_a":
        return replace(base, attributes={**base.attributes, "mode": "cubic"})
    if operator == "Resize" and name == "extrapolation_value":
        return replace(base, attributes={
            **base.attributes, "coordinate_transformation_mode": "tf_crop_and_resize"})  # fmt: skip
    if operator == "Resize" and name == "keep_aspect_ratio_policy":
        return replace(base, operands=(x, None, None, ints(2, 3, 9, 7)))
    if operator == "Resize" and name == "antialias":
        return replace(base, attributes={**base.attributes, "mode": "linear"})
    if operator == "CenterCropPad" and name == "axes":
        return replace(base, operands=(x, ints(4, 7)))
    if operator == "DFT" and name == "inverse" and value:
        return replace(base, operands=(floats(2, 9, 2), *rest))
    return base


_TYPE = re.compile(r"(optional\()?(seq\()?(tensor\(\w+\))\)*")


def _type_cases(
    schema: onnx.defs.OpSchema, base: Base, seen: set[tuple[str, str]]
) -> Iterator[Case]:
    """Cases for the element types that a version added, each for all operands of a constraint."""
    for constraint in schema.type_constraints:
        for type_ in sorted(constraint.allowed_type_strs):
            match = _TYPE.fullmatch(type_)
            if (constraint.type_param_str, type_) in seen or not match or match[3] not in _TYPES:
                continue
            said = _in_type(schema, base, constraint.type_param_str, match)
            if said is not None:
                seen.add((constraint.type_param_str, type_))
                yield case_of(schema, said, f"type {constraint.type_param_str}", type_)


def _in_type(
    schema: onnx.defs.OpSchema, base: Base, constraint: str, type_: re.Match[str]
) -> Base | None:
    """The base with another type of the operands of a constraint; None if it has no operands."""
    if ((type_[1] or type_[2]) and _takes_tensors(schema, constraint)) or type_[1]:
        base = bases_of(listed=bool(type_[2]), optional=bool(type_[1])).get(schema.name, base)
    together = {"S", "T"} if schema.name == "SequenceInsert" else {constraint}
    formal = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(base.operands))]
    which = [
        f.type_str in together and x is not None for f, x in zip(formal, base.operands, strict=True)
    ]
    around = base.around if constraint == "V" else {}
    if not (any(which) or around) or constraint not in together:
        return None
    element, attributes = _TYPES[type_[3]], dict(base.attributes)
    if schema.name == "Mod" and not type_[3].startswith(("tensor(f", "tensor(d", "tensor(b")):
        attributes["fmod"] = 0
    if schema.name == "BitCast":
        attributes["to"] = _OF_SIZE[np.dtype(element).itemsize]
    return replace(
        base,
        operands=tuple(
            _as_type(x, element) if here and x is not None else x
            for x, here in zip(base.operands, which, strict=True)
        ),
        attributes=attributes,
        around={**base.around, **{n: _as_type(x, element) for n, x in around.items()}},
    )


def _as_type(x: Operand, type_: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_as_type(item, type_) for item in x)
    assert x is not None
    if type_ is np.bool_:
        return np.asarray(x > 0)
    if np.dtype(type_).kind in "iu" and x.dtype.kind == "f":
        x = np.rint(x * (4 if np.abs(x).max() < 10 else 1))
        x = np.abs(x) if np.dtype(type_).kind == "u" else x
    return np.asarray(x.astype(type_))


def case_of(schema: onnx.defs.OpSchema, base: Base, part: str, value: str = "") -> Case:
    made = _Nodes()
    names = [made.operand(f"x{i}", x) for i, x in enumerate(base.operands)]
    while names and not names[-1]:
        names.pop()
    open_ = set(base.around)
    if base.computed is not None and schema.name not in _KNOWN_X and base.computed < len(names):
        first = names[base.computed]
        open_.add(f"{first}_0" if first not in made.arrays else first)
        if base.optional_in:
            names[base.computed] = made.add("Optional", first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = [f"y{i}" for i in range(base.outputs)]
        made.nodes.append(node(schema.name, names, outputs, "node", **base.attributes))
        shown = [n for i, y in enumerate(outputs) for n in made.shown(y, base, i)]
        known = {**made.arrays, **base.around}
        inputs = {n: x for n, x in known.items() if n in open_}
        constants = {n: x for n, x in known.items() if n not in open_}
        opset = max(schema.since_version, OLDEST)
        proto = model(made.nodes, inputs, shown, constants, opset=opset)
    return Case(schema.name, schema.since_version, part, value, proto, inputs)


class _Nodes:
    """The tested node, and nodes around it that convert between sequences and tensors."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Array] = {}

    def add(self, operator: str, *names: str) -> str:
        result = f"{names[0]}_{operator}"
        self.nodes.append(node(operator, names, [result]))
        return result

    def operand(self, name: str, x: Operand) -> str:
        if x is None:
            return ""
        if isinstance(x, tuple):
            items = [self.operand(f"{name}_{i}", item) for i, item in enumerate(x)]
            self.nodes.append(node("SequenceConstruct", items, [name]))
        else:
            self.arrays[name] = np.asarray(x)
        return name

    def shown(self, name: str, base: Base, index: int) -> Iterator[str]:
        """The tensors that show a result, which may be a sequence."""
        if base.optional_out and index == 0:
            if not self.arrays and not base.around:
                yield self.add("OptionalHasElement", name)
                return
            name = self.add("OptionalGetElement", name)
        if index not in base.listed:
            yield name
            return
        yield self.add("SequenceLength", name)
        for place in (0, -1) if self.arrays or base.around else ():
            self.arrays[f"{name}{place}"] = np.array(place)
            self.nodes.append(node("SequenceAt", [name, f"{name}{place}"], [f"{name}_at{place}"]))
            yield f"{name}_at{place}"
