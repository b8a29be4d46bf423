"""The text form of a graph, printed and parsed: `parse(print_graph(g), g.weights) == g`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ellc.ir.attributes import build, field_types
from ellc.ir.errors import EllcError
from ellc.ir.graph import Constant, Graph, Node, Port, State
from ellc.ir.limits import DEFAULT_LIMITS, MOST_AXES, Limits
from ellc.ir.op import Op, attribute_class, attribute_name
from ellc.ir.types import DType, Padding, Quant, TensorType
from ellc.ir.weights import WeightPool


def print_graph(graph: Graph) -> str:
    """The graph as text; weights appear as hashes."""
    lines = [f"graph {json.dumps(graph.name)} {{"]
    lines += [f"  meta {json.dumps(k)} = {json.dumps(v)}" for k, v in graph.metadata.items()]
    lines += [f"  input {_decl(graph, p.value)} {json.dumps(p.name)}" for p in graph.inputs]
    lines += [f"  const {_decl(graph, c.value)} @{c.key}" for c in graph.constants]
    lines += [
        f"  state {_decl(graph, s.current)} -> %{s.next} @{s.key} {json.dumps(s.name)}"
        for s in graph.states
    ]
    lines += [f"  {print_node(graph, node)}" for node in graph.nodes]
    lines += [f"  output %{p.value} {json.dumps(p.name)}" for p in graph.outputs]
    return "\n".join([*lines, "}", ""])


def print_type(type_: TensorType) -> str:
    """`f32[1,28,28,3]`, followed by `border(..)` and `quant(..)` if the type has them."""
    text = f"{type_.dtype.value}[{','.join(map(str, type_.shape))}]"
    if type_.border is not None:
        text += f" border{_print_padding(type_.border)}"
    if type_.quant is not None:
        text += f" {_print_quant(type_.quant)}"
    return text


def print_op(op: Op) -> str:
    """The operator with its attributes, as in the text of a node."""
    return _print_attr(op)


def _decl(graph: Graph, value: str) -> str:
    return f"%{value} : {print_type(graph.types[value])}"


def print_node(graph: Graph, node: Node) -> str:
    """The line of the graph's text for one node."""
    results = ", ".join(f"%{v}" for v in node.outputs)
    operands = ", ".join(f"%{v}" for v in node.inputs)
    types = ", ".join(print_type(graph.types[v]) for v in node.outputs)
    source = f" from {', '.join(json.dumps(s) for s in node.source)}" if node.source else ""
    return f"{results} = {print_op(node.op)} ({operands}) : {types}{source}"


def _print_padding(padding: Padding) -> str:
    return f"({','.join(map(str, padding.amounts))},{_print_attr(padding.values)})"


def _print_quant(quant: Quant) -> str:
    parts = (quant.scale, quant.zero_point, quant.axis)
    return f"quant({','.join(_print_attr(p) for p in parts)})"


def _print_attr(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return repr(value)
        case float():
            return float.__repr__(value)  # numpy's float64 is a float with another repr
        case str():
            return json.dumps(value)
        case tuple():
            return f"[{', '.join(_print_attr(v) for v in value)}]"
        case Padding():
            return f"pad{_print_padding(value)}"
        case Quant():
            return _print_quant(value)
        case DType():
            return f"dtype({value.value})"
        case Graph():
            return print_graph(value).rstrip().replace("\n", "\n  ")
    name = attribute_name(value)
    if name is None or not dataclasses.is_dataclass(value):
        raise TypeError(f"{value!r} cannot be an attribute")
    fields = [f"{f.name}={_print_attr(getattr(value, f.name))}" for f in dataclasses.fields(value)]
    return f"{name}{{{', '.join(fields)}}}"


_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]++|\\.)*+") |
    (?P<value>%[A-Za-z0-9_.]+) |
    (?P<key>@[0-9a-f]{32}) |
    (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![A-Za-z0-9_])) |
    (?P<name>[A-Za-z_][A-Za-z0-9_]*) |
    (?P<mark>->|[{}()\[\],=:])
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(text: str, limits: Limits) -> Iterator[_Token]:
    position, line = 0, 1
    end = len(text.rstrip())
    left = limits.words
    while position < end:
        left -= 1
        if left < 0:
            raise EllcError(
                f"the graph's text has more than {limits.words} words",
                code="E203",
                where=f"graph text, line {line}",
                hint="the file is damaged, or raise Limits.words",
            )
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _syntax(line, f"unexpected {text[position : position + 12]!r}")
        line += text.count("\n", position, match.start(match.lastgroup))
        yield _Token(match.lastgroup, match.group(match.lastgroup), line)
        position = match.end()
    yield _Token("end", "", line)


def _syntax(line: int, message: str) -> EllcError:
    return EllcError(message, code="E130", where=f"graph text, line {line}")


def _expected(what: str, found: _Token) -> EllcError:
    shown = "the end" if found.kind == "end" else repr(found.text[:40])
    return _syntax(found.line, f"expected {what}, found {shown}")


def parse(text: str, weights: WeightPool, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The graph of this text, with its arrays in the pool `weights`.

    Raises `EllcError`: E130 with the line if the text is malformed, E203 beyond the limits.
    """
    return _Parser(_tokens(text, limits), weights).graph()


class _Parser:
    """A recursive-descent parser. The nesting depth of attributes, including bodies, is bounded."""

    MAX_DEPTH = 40

    def __init__(self, tokens: Iterator[_Token], weights: WeightPool) -> None:
        self._tokens = tokens
        self._token = next(tokens)
        self._depth = 0
        self._weights = weights
        self._types: dict[str, TensorType] = {}

    def graph(self) -> Graph:
        self._expect("graph")
        graph = self._graph()
        if self._peek().kind != "end":
            raise _expected("the end", self._peek())
        return graph

    def _body(self) -> Graph:
        """A graph in an attribute; names of its values are independent of those outside."""
        outer, self._types = self._types, {}
        try:
            return self._graph()
        finally:
            self._types = outer

    def _graph(self) -> Graph:
        name = self._string()
        self._expect("{")
        inputs: list[Port] = []
        outputs: list[Port] = []
        constants: list[Constant] = []
        states: list[State] = []
        nodes: list[Node] = []
        metadata: dict[str, str] = {}
        while not self._accept("}"):
            match self._peek().text:
                case "meta":
                    self._next()
                    key = self._string()
                    self._expect("=")
                    metadata[key] = self._string()
                case "input":
                    value = self._declaration()
                    inputs.append(Port(self._string(), value))
                case "const":
                    value = self._declaration()
                    constants.append(Constant(value, self._key()))
                case "state":
                    states.append(self._state())
                case "output":
                    self._next()
                    value = self._value()
                    outputs.append(Port(self._string(), value))
                case _:
                    nodes.append(self._node())
        return Graph(
            name,
            tuple(inputs),
            tuple(outputs),
            tuple(nodes),
            self._types,
            tuple(constants),
            tuple(states),
            metadata,
            self._weights,
        )

    def _state(self) -> State:
        current = self._declaration()
        self._expect("->")
        following = self._value()
        key = self._key()
        return State(self._string(), current, following, key)

    def _declaration(self) -> str:
        self._next()
        value = self._value()
        self._expect(":")
        self._types[value] = self._type()
        return value

    def _node(self) -> Node:
        results = [self._value()]
        while self._accept(","):
            results.append(self._value())
        self._expect("=")
        token = self._peek()
        op = self._attribute()
        if not isinstance(op, Op):
            raise _expected("an operator", token)
        self._expect("(")
        operands: list[str] = []
        while not self._accept(")"):
            operands.append(self._value())
            self._accept(",")
        self._expect(":")
        for index, result in enumerate(results):
            if index:
                self._expect(",")
            self._types[result] = self._type()
        source: list[str] = []
        if self._accept("from"):
            source.append(self._string())
            while self._accept(","):
                source.append(self._string())
        return Node(op, tuple(operands), tuple(results), tuple(source))

    def _type(self) -> TensorType:
        dtype = self._dtype()
        token = self._peek()
        shape = self._list()
        if len(shape) > 2 * MOST_AXES:  # importers split axes, so the bound of files is doubled
            raise _syntax(token.line, f"a shape has {len(shape)} axes, more than {2 * MOST_AXES}")
        border = self._positional(Padding) if self._accept("border") else None
        quant = self._positional(Quant) if self._accept("quant") else None
        fields = {"dtype": dtype, "shape": shape, "border": border, "quant": quant}
        built: TensorType = self._built(TensorType, fields, token)
        return built

    def _positional(self, cls: type) -> Any:
        """Parse `(a,b,..)`, the values of all fields of `cls` in order."""
        token = self._peek()
        self._expect("(")
        parts: list[Any] = [self._attribute()]
        while self._accept(","):
            parts.append(self._attribute())
        self._expect(")")
        names = list(field_types(cls))
        if len(parts) != len(names):
            found = f"expected values for {', '.join(names)}, found {len(parts)}"
            raise _syntax(token.line, found)
        return self._built(cls, dict(zip(names, parts, strict=True)), token)

    def _built(self, cls: type, fields: dict[str, Any], token: _Token) -> Any:
        try:
            return build(cls, fields)
        except TypeError as error:
            raise _syntax(token.line, f"{cls.__name__} {error}") from None

    def _list(self) -> tuple[Any, ...]:
        self._expect("[")
        items: list[Any] = []
        while not self._accept("]"):
            items.append(self._attribute())
            self._accept(",")
        return tuple(items)

    def _attribute(self) -> Any:
        self._depth += 1
        if self._depth > self.MAX_DEPTH:
            line = self._token.line
            raise _syntax(line, f"attributes are nested more than {self.MAX_DEPTH} deep")
        try:
            return self._attribute_here()
        finally:
            self._depth -= 1

    def _attribute_here(self) -> Any:
        token = self._peek()
        match token.kind, token.text:
            case "string", _:
                return self._string()
            case "number", text:
                self._next()
                return self._number(text, token)
            case "mark", "[":
                return self._list()
        self._next()
        match token.text:
            case "none":
                return None
            case "true" | "false":
                return token.text == "true"
            case "graph":
                return self._body()
            case "pad" if self._peek().text == "(":  # `pad{` is the operator `Pad`
                return self._positional(Padding)
            case "quant":
                return self._positional(Quant)
            case "dtype":
                self._expect("(")
                dtype = self._dtype()
                self._expect(")")
                return dtype
        return self._object(token)

    def _number(self, text: str, token: _Token) -> int | float:
        try:
            return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        except ValueError:  # Python refuses integers of thousands of digits
            raise _syntax(token.line, "a number has too many digits") from None

    def _dtype(self) -> DType:
        token = self._next()
        try:
            return DType(token.text)
        except ValueError:
            raise _expected("an element type", token) from None

    def _object(self, token: _Token) -> Any:
        cls = attribute_class(token.text)
        if cls is None:
            raise _syntax(token.line, f"unknown operator or attribute '{token.text}'")
        fields: dict[str, Any] = {}
        self._expect("{")
        while not self._accept("}"):
            name = self._next().text
            self._expect("=")
            fields[name] = self._attribute()
            self._accept(",")
        return self._built(cls, fields, token)

    def _peek(self) -> _Token:
        return self._token

    def _next(self) -> _Token:
        token = self._token
        if token.kind == "end":
            raise _expected("more text", token)
        self._token = next(self._tokens)
        return token

    def _accept(self, text: str) -> bool:
        if self._token.text == text and self._token.kind in ("mark", "name"):
            self._next()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise _expected(f"'{text}'", self._peek())

    def _string(self) -> str:
        token = self._next()
        if token.kind != "string":
            raise _expected("a string", token)
        try:
            return str(json.loads(token.text))
        except ValueError:
            raise _syntax(token.line, f"not a JSON string: {token.text[:40]}") from None

    def _value(self) -> str:
        token = self._next()
        if token.kind != "value":
            raise _expected("a value such as %v1", token)
        return token.text[1:]

    def _key(self) -> str:
        token = self._next()
        if token.kind != "key":
            raise _expected("a weight hash", token)
        return token.text[1:]
