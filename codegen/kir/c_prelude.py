"""Types and helper functions of kernels in C. Only those that a kernel uses are defined.

A vector is a struct that contains its lanes: as an array, which every C99 compiler accepts, or as a
GNU vector, which gcc keeps in registers (ten times faster). Both are subscripted in the same way.
Helpers work lane by lane in either case, so that both give the same bits.

No helper calls a library. Signed arithmetic wraps because it is done in unsigned types. Unions
reinterpret bits. Memory is accessed only as the element type.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

from ellc.codegen.kir.types import Elem, VType

_Method = TypeVar("_Method", bound=Callable[..., str])

C_TYPES = {
    Elem.F32: "float",
    Elem.F64: "double",
    Elem.I8: "int8_t",
    Elem.U8: "uint8_t",
    Elem.I16: "int16_t",
    Elem.U16: "uint16_t",
    Elem.I32: "int32_t",
    Elem.U32: "uint32_t",
    Elem.I64: "int64_t",
    Elem.U64: "uint64_t",
    Elem.INDEX: "ptrdiff_t",
    Elem.MASK: "uint8_t",
}

HEAD = """\
#include <stddef.h>
#include <stdint.h>

/* What every compiler for today's machines does, although C99 leaves it open. */
typedef char ellc_shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];
typedef char ellc_integers_wrap[(int32_t)0xffffffffu == -1 && (int8_t)0x180 == -128 ? 1 : -1];
"""

_LANES = """\
/* The lanes of a vector: an array, or a GNU vector, which such compilers keep in registers. On x86
 * how a vector is passed depends on compiler flags; those that would not fit stay arrays there.
 * ELLC_PLAIN_C is for compilers that only claim to have GNU extensions. */
#define ELLC_ARRAY(type, count) type l[count]
#define ELLC_LANES_16 ELLC_ARRAY
#define ELLC_LANES_32 ELLC_ARRAY
#define ELLC_LANES_64 ELLC_ARRAY
#define ELLC_INLINE inline
#if defined(__GNUC__) && !defined(ELLC_PLAIN_C)
#define ELLC_VECTOR(type, count) \\
    type l __attribute__((vector_size(sizeof(type) * (count)), aligned(sizeof(type))))
#undef ELLC_INLINE
#define ELLC_INLINE inline __attribute__((always_inline))
#undef ELLC_LANES_16
#define ELLC_LANES_16 ELLC_VECTOR
#if defined(__AVX__) || !(defined(__x86_64__) || defined(__i386__))
#undef ELLC_LANES_32
#define ELLC_LANES_32 ELLC_VECTOR
#endif
#if defined(__AVX512F__) || !(defined(__x86_64__) || defined(__i386__))
#undef ELLC_LANES_64
#define ELLC_LANES_64 ELLC_VECTOR
#endif
#endif
"""

_PREFETCH = """\
#if defined(__GNUC__) && !defined(ELLC_PLAIN_C)
#define ELLC_PREFETCH(pointer, bytes) \\
    __builtin_prefetch((const void *)((uintptr_t)(pointer) + (uintptr_t)(bytes)))
#else
#define ELLC_PREFETCH(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif
"""

_POPCOUNT = """\
static inline {t} u{n}_popcount({t} bits)
{{
    bits = ({t})(bits - ((bits >> 1) & {m1}));
    bits = ({t})((bits & {m2}) + ((bits >> 2) & {m2}));
    bits = ({t})((bits + (bits >> 4)) & {m4});
    return ({t})(({t})(bits * {sum}) >> {last});
}}
"""

_ABS = """\
static inline {float} {f}_abs({float} a)
{{
    return {f}_of_bits_{u}({u}_of_bits_{f}(a) & {mask});
}}
"""

_MUL_HIGH = """\
static inline int32_t i32_mul_high(int32_t a, int32_t b)
{
    const int32_t high = (int32_t)(((int64_t)a * b + 0x40000000) >> 31);
    return high == -2147483647 - 1 ? 2147483647 : high;
}
"""

# The multiplication corrects the exponent, and is exact.
_AS_HALF = """\
static inline float u16_as_half(uint16_t a)
{
    const uint32_t size = (uint32_t)(a & 0x7fffu) << 13, sign = (uint32_t)(a & 0x8000u) << 16;
    const float number = f32_of_bits_u32(size) * f32_of_bits_u32(0x77800000u);
    return f32_of_bits_u32((size < 0x0f800000u ? u32_of_bits_f32(number) : size | 0x7f800000u)
                           | sign);
}
"""

_SATURATED_16 = """\
static inline int16_t i16_saturated(int32_t a)
{
    return (int16_t)(a > 32767 ? 32767 : a < -32768 ? -32768 : a);
}
"""

# With -fno-math-errno, the compiler's builtin is one instruction. Without this option, the builtin
# calls libm for negative arguments, and the integer algorithm is used instead. Both round as
# IEEE 754 prescribes.
_SQRT = """\
#if defined(__NO_MATH_ERRNO__) && !defined(ELLC_PLAIN_C) && (defined(__SSE2__) || \\
    defined(__aarch64__) || defined(__wasm__) || (defined(__ARM_FP) && (__ARM_FP & {arm_fp})))
#define {f}_sqrt(a) __builtin_sqrt{suffix}(a)
#else
static inline {float} {f}_sqrt({float} a)
{{
    {word} bits = {u}_of_bits_{f}(a);
    int exponent = (int)(bits >> {fraction}) - {bias};
    {word} digits = bits & {fraction_mask};
    {word} root = 0, rest = 0;
    int i;

    if (!(a > 0)) /* zeros and NaN stay, negative numbers have no root */
        return a < 0 ? {f}_of_bits_{u}({nan}) : a;
    if (exponent == {bias} + 1) /* infinity */
        return a;
    if (exponent == -{bias}) {{ /* a denormal number */
        for (exponent++; !(digits >> {fraction}); exponent--)
            digits <<= 1;
    }} else {{
        digits |= {hidden};
    }}
    if (exponent & 1) {{
        digits <<= 1;
        exponent--;
    }}
    digits <<= {align}; /* two digits before the binary point, at the top of the word */
    for (i = 0; i < {turns}; i++) {{ /* one digit of the root for two of the number */
        {word} trial;
        rest = (rest << 2) | (digits >> {top});
        digits <<= 2;
        trial = (root << 2) | 1;
        root <<= 1;
        if (rest >= trial) {{
            rest -= trial;
            root |= 1;
        }}
    }}
    root = (root << 1) | (rest != 0);
    return ({float})root * {f}_of_bits_{u}(({word})(exponent / 2 + {scale}) << {fraction});
}}
#endif
"""


def _popcount(bits: int) -> str:
    def repeat(byte: int) -> str:
        value = int.from_bytes(bytes([byte]) * (bits // 8), "little")
        return f"UINT64_C(0x{value:x})" if bits == 64 else f"0x{value:x}u"

    return _POPCOUNT.format(
        t=f"uint{bits}_t",
        n=bits,
        m1=repeat(0x55),
        m2=repeat(0x33),
        m4=repeat(0x0F),
        sum=repeat(0x01),
        last=bits - 8,
    )


_F32_TEXT = {
    "f": "f32", "u": "u32", "float": "float", "word": "uint32_t", "mask": "0x7fffffffu",
    "arm_fp": 4, "suffix": "f", "fraction": 23, "bias": 127, "fraction_mask": "0x7fffffu",
    "nan": "0x7fc00000u", "hidden": "0x800000u", "align": 7, "turns": 26, "top": 30,
}  # fmt: skip
_F64_TEXT = {
    "f": "f64", "u": "u64", "float": "double", "word": "uint64_t",
    "mask": "UINT64_C(0x7fffffffffffffff)", "arm_fp": 8, "suffix": "", "fraction": 52,
    "bias": 1023, "fraction_mask": "UINT64_C(0xfffffffffffff)", "align": 10, "top": 62,
    "nan": "UINT64_C(0x7ff8000000000000)", "hidden": "UINT64_C(0x10000000000000)", "turns": 55,
}  # fmt: skip
_FIXED = {
    # The integer `root` has `turns` binary digits, the first of them before the point, and then a
    # sticky bit. Its unit is therefore 2^-turns.
    "f32_sqrt": _SQRT.format(**_F32_TEXT, scale=127 - 26),
    "f64_sqrt": _SQRT.format(**_F64_TEXT, scale=1023 - 55),
    "f32_abs": _ABS.format(**_F32_TEXT),
    "f64_abs": _ABS.format(**_F64_TEXT),
    "i32_mul_high": _MUL_HIGH,
    "i16_saturated": _SATURATED_16,
    "u16_as_half": _AS_HALF,
    "ELLC_PREFETCH": _PREFETCH,
    **{f"u{bits}_popcount": _popcount(bits) for bits in (8, 16, 32, 64)},
}


def _once(method: _Method) -> _Method:
    """Decorator: a method of `Prelude` that runs only once for the same arguments."""
    name = method.__name__

    @functools.wraps(method)
    def written(self: Prelude, *args: Any) -> str:
        return self.once((name, *args), lambda: method(self, *args))

    return written  # type: ignore[return-value]


class Prelude:
    """Collects the types and helpers that are used. `text` defines each of them before its use."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._type_names: dict[VType, str] = {}
        self._written: dict[tuple[Any, ...], str] = {}

    def once(self, what: tuple[Any, ...], write: Callable[[], str]) -> str:
        """The result of `write`, which is slow and therefore called once for each key `what`."""
        text = self._written.get(what)
        if text is None:
            text = self._written[what] = write()
        return text

    def text(self) -> str:
        """All definitions."""
        lanes = [_LANES] if self._types else []
        return "\n".join([HEAD, *lanes, *self._types.values(), *self._functions.values()])

    def type(self, type_: VType) -> str:
        """The C type of a value."""
        name = self._type_names.get(type_)
        if name is None:
            name = C_TYPES[type_.elem]
            if type_.lanes > 1:
                lanes, name = f"{_lanes_macro(type_)}({name}, {type_.lanes})", str(type_)
                self._types[name] = f"typedef struct {{ {lanes}; }} {name};\n"
            self._type_names[type_] = name
        return name

    def need(self, expression: str) -> str:
        """Return the expression, after defining the fixed helpers that it names."""
        for name in re.findall(r"\w+", expression):
            if name in _FIXED and name not in self._functions:
                self._bitcasts_of(_FIXED[name])
                self._functions[name] = _FIXED[name]
        return expression

    def _bitcasts_of(self, text: str) -> None:
        for to, source in re.findall(r"(\w+?)_of_bits_(\w+)", text):
            self.bitcast(VType(Elem(source)), Elem(to))

    def function(self, head: str, name: str, parameters: str, body: str) -> str:
        """The name of a helper. Defines it if there is no helper with this name yet."""
        if name not in self._functions:
            self.need(body)
            lines = "".join(f"    {line}\n" for line in body.splitlines())
            inline = "ELLC_INLINE" if self._types.keys() & {head, *parameters.split()} else "inline"
            self._functions[name] = f"static {inline} {head} {name}({parameters})\n{{\n{lines}}}\n"
        return name

    def lanewise(self, result: VType, name: str, parameters: str, expression: str) -> str:
        """The name of a helper that computes every lane `i` of `result` by an expression."""
        type_ = self.type(result)
        body = f"{type_} r;\nint i;\n"
        body += f"for (i = 0; i < {result.lanes}; i++)\n    r.l[i] = {expression};\nreturn r;"
        return self.function(type_, name, parameters, body)

    @_once
    def load(self, type_: VType) -> str:
        """The name of the helper `(const T *p)` that loads a vector."""
        element = C_TYPES[type_.elem]
        return self.lanewise(type_, f"{type_}_load", f"const {element} *p", "p[i]")

    @_once
    def store(self, type_: VType) -> str:
        """The name of the helper `(T *p, vector v)` that stores a vector."""
        body = f"int i;\nfor (i = 0; i < {type_.lanes}; i++)\n    p[i] = v.l[i];"
        parameters = f"{C_TYPES[type_.elem]} *p, {self.type(type_)} v"
        return self.function("void", f"{type_}_store", parameters, body)

    @_once
    def splat(self, type_: VType) -> str:
        """The name of the helper `(T a)` that broadcasts a scalar."""
        return self.lanewise(type_, f"{type_}_splat", f"{C_TYPES[type_.elem]} a", "a")

    @_once
    def repeat(self, result: VType, source: VType) -> str:
        """The name of the helper `(vector a)` that repeats all lanes."""
        name, parameters = f"{result}_repeat_{source}", f"{self.type(source)} a"
        return self.lanewise(result, name, parameters, f"a.l[i % {source.lanes}]")

    @_once
    def part(self, result: VType, source: VType) -> str:
        """The name of the helper `(vector a, int start)` that takes consecutive lanes."""
        parameters = f"{self.type(source)} a, int start"
        return self.lanewise(result, f"{result}_part_{source}", parameters, "a.l[start + i]")

    @_once
    def join(self, first: VType, second: VType) -> str:
        """The name of the helper `(a, b)` that concatenates two vectors or scalars."""
        result = first.with_lanes(first.lanes + second.lanes)
        type_ = self.type(result)
        # There are two loops: gcc 12 -O3 miscompiles one loop that chooses between two masks.
        body = f"{type_} r;\nint i;\n"
        for name, part, start in (("a", first, ""), ("b", second, f"{first.lanes} + ")):
            lane = name if part.lanes == 1 else f"{name}.l[i]"
            body += f"for (i = 0; i < {part.lanes}; i++)\n    r.l[{start}i] = {lane};\n"
        name = f"{result}_join_{first}_{second}"
        parameters = f"{self.type(first)} a, {self.type(second)} b"
        return self.function(type_, name, parameters, body + "return r;")

    @_once
    def pick(self, indices: VType, table: VType) -> str:
        """The name of the helper `(indices, table)` that selects lanes of the table.

        For an index beyond the table it gives 0.
        """
        index = "a" if indices.lanes == 1 else "a.l[i]"
        lane = "b" if table.lanes == 1 else f"b.l[{index}]"
        if table.lanes < 256:
            lane = f"({C_TYPES[indices.elem]})({index} < {table.lanes} ? {lane} : 0)"
        type_ = self.type(indices)
        name, parameters = f"{indices}_pick_{table}", f"{type_} a, {self.type(table)} b"
        if indices.lanes == 1:
            return self.function(type_, name, parameters, f"return {lane};")
        return self.lanewise(indices, name, parameters, lane)

    @_once
    def pack_bits(self, source: VType) -> str:
        """The name of the helper `(mask)` that packs a mask into one or more bytes."""
        result = VType(Elem.U8, source.lanes // 8)
        lane = "r" if result.lanes == 1 else "r.l[i / 8]"
        zero = "0" if result.lanes == 1 else "{{0}}"
        body = f"{self.type(result)} r = {zero};\nint i;\nfor (i = 0; i < {source.lanes}; i++)\n"
        body += f"    {lane} = (uint8_t)({lane} | (a.l[i] << i % 8));\nreturn r;"
        parameters = f"{self.type(source)} a"
        return self.function(self.type(result), f"{source}_pack_bits", parameters, body)

    @_once
    def largest(self, source: VType) -> str:
        """The name of the helper `(a)` that finds the largest lane."""
        element = C_TYPES[source.elem]
        body = f"{element} r = a.l[0];\nint i;\nfor (i = 1; i < {source.lanes}; i++)\n"
        body += "    r = a.l[i] > r ? a.l[i] : r;\nreturn r;"
        return self.function(element, f"{source}_largest", f"{self.type(source)} a", body)

    @_once
    def bitcast(self, source: VType, to: Elem) -> str:
        """The name of the helper `(a)` that reinterprets bits."""
        result = source.with_elem(to)
        name = f"{result}_of_bits_{source}"
        if source.lanes == 1:
            body = f"union {{ {C_TYPES[source.elem]} from; {C_TYPES[to]} to; }} both;\n"
            body += "both.from = a;\nreturn both.to;"
            return self.function(C_TYPES[to], name, f"{C_TYPES[source.elem]} a", body)
        scalar = self.bitcast(source.with_lanes(1), to)
        return self.lanewise(result, name, f"{self.type(source)} a", f"{scalar}(a.l[i])")

    @_once
    def convert(self, source: VType, to: Elem) -> str:
        """The name of the helper `(a)`, or the cast, that converts to another element type.

        Conversions from floats to integers saturate.
        """
        result = source.with_elem(to)
        name = f"{result}_of_{source}"
        saturates = source.elem.is_float and not to.is_float
        if source.lanes > 1:
            scalar = self.convert(source.with_lanes(1), to)
            return self.lanewise(result, name, f"{self.type(source)} a", f"{scalar}(a.l[i])")
        if not saturates:
            return f"({C_TYPES[to]})"
        return self.function(
            C_TYPES[to], name, f"{C_TYPES[source.elem]} a", _saturated(source.elem, to)
        )


def _lanes_macro(type_: VType) -> str:
    """The macro that declares a vector's lanes.

    The number of lanes of a GNU vector must be a power of two. No machine has vectors of more than
    64 bytes.
    """
    size = type_.lanes * (1 if type_.elem is Elem.MASK else 8 if type_.elem is Elem.INDEX else 0)
    size = size or type_.lanes * type_.elem.bytes
    if type_.lanes & (type_.lanes - 1) or size > 64:
        return "ELLC_ARRAY"
    return f"ELLC_LANES_{max(16, size)}"


def _saturated(source: Elem, to: Elem) -> str:
    """C statements that convert the float `a`. They truncate, saturate, and turn NaN into 0."""
    bits, suffix = to.bytes * 8, "f" if source is Elem.F32 else ""
    top = f"{float(1 << (bits - (1 if to.is_signed else 0))):.1f}{suffix}"
    name = "INT" if to.is_signed else "UINT"
    lines = [f"if (a >= {top})", f"    return {name}{bits}_MAX;"]
    if to.is_signed:
        lines += [f"if (a <= -{top})", f"    return INT{bits}_MIN;"]
        lines += [f"return a == a ? ({C_TYPES[to]})a : 0;"]
    else:
        lines += [f"return a > 0 ? ({C_TYPES[to]})a : 0;"]
    return "\n".join(lines)
