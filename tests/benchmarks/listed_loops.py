"""Reads the loops of a listing in AArch64 assembly, for ellc's model of pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_REGISTER = re.compile(r"\b([xwvqdshb])(\d+)\b|\bsp\b")
_BRANCH = re.compile(r"(?:b\.\w+|b|cbnz|cbz|tbnz|tbz)$")
_INTEGER = re.compile(
    r"(?:add|sub|subs|adds|cmp|cmn|mov|movz|movk|movn|and|orr|eor|lsl|lsr|asr|neg|tst|ubfiz|sxtw"
    r"|adrp|ands|bic|sbfiz|ubfx|sbfx|madd|sxth)$"
)
_KINDS = {
    "nop": "nop",
    "prfm": "prefetch",
    "mul": "multiply",
    "madd": "multiply",
    "msub": "multiply",
    "smulh": "multiply",
    "umulh": "multiply",
    "sdiv": "divide",
    "udiv": "divide",
    "csel": "integer",
    "cset": "integer",
    "cinc": "integer",
}
_VECTOR_KINDS = {
    "fmla": "multiply_add",
    "fmls": "multiply_add",
    "fmul": "vector_multiply",
    "ins": "insert",
    "add": "vector_logic",
    "cnt": "vector_logic",
    "eor": "vector_logic",
    "addp": "vector_pairs",
    "uaddlp": "vector_pairs",
}
_MOVES = ("mov", "movi", "dup", "orr", "ext", "zip1", "zip2", "uzp1", "uzp2", "bif", "bit", "bsl")
_HALVES = {"multiply_add": "half_multiply_add", "vector_multiply": "half_multiply"}


@dataclass(frozen=True)
class Listed:
    """An instruction, as the model of pipelines sees it."""

    kind: str
    reads: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def innermost_loops(listing: str) -> Iterator[list[Listed]]:
    """The bodies of all loops without a loop inside, each with its branch."""
    lines = [line.split("//")[0].strip() for line in listing.splitlines()]
    lines = [line for line in lines if line and not line.startswith((".cfi", ".p2align", "#"))]
    labels = {line[:-1]: at for at, line in enumerate(lines) if line.endswith(":")}
    ends = [(labels[t], at) for at, line in enumerate(lines) if (t := _target(line)) in labels]
    loops = sorted((start, end) for start, end in ends if start < end)
    for start, end in loops:
        if not any(start <= a and b <= end for a, b in loops if (a, b) != (start, end)):
            body = [line for line in lines[start : end + 1] if not line.endswith(":")]
            yield [op for line in body for op in listed(line)]


def _target(line: str) -> str:
    mnemonic, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
    return rest.split(",")[-1].strip() if _BRANCH.match(mnemonic) else ""


def listed(line: str) -> Iterator[Listed]:
    """An instruction as one that the model knows; several if it loads or stores several registers.

    Raises `ValueError` for unknown instructions.
    """
    mnemonic, _, rest = line.replace("\t", " ").partition(" ")
    inside = re.search(r"\[(.*?)\](.*)", rest) if mnemonic[:2] in ("ld", "st", "pr") else None
    if _BRANCH.match(mnemonic):
        yield Listed("branch", _registers(rest))
    elif inside is not None:
        yield from _access(mnemonic, rest[: inside.start()], inside)
    elif "." in rest or re.match(r"[qdsv]\d", rest.strip()):
        yield _vector(mnemonic, rest)
    else:
        kind = _KINDS.get(mnemonic) or ("integer" if _INTEGER.match(mnemonic) else "")
        if not kind:
            raise ValueError(line)
        first, others = _first_and_others(rest)
        yield (
            Listed(kind, others)
            if mnemonic in ("cmp", "cmn", "tst")
            else Listed(kind, others, writes=first)
        )


def _access(mnemonic: str, before: str, inside: re.Match[str]) -> Iterator[Listed]:
    """Loads, stores and prefetches. If they also change their base, that counts as an addition."""
    base = _registers(inside[1])
    if mnemonic == "prfm":
        yield Listed("prefetch", base)
        return
    for found in _REGISTER.finditer(before):
        register, wide = _named(found), found[1] in ("q", "v")
        if mnemonic.startswith("st"):
            kind = "store" if found[1] in "xw" else "vector_store" if wide else "half_store"
            yield Listed(kind, base, late=(register,))
        else:
            whole = wide and mnemonic != "ld1r" and "}[" not in before + "}"
            kind = "load" if found[1] in "xw" else "vector_load" if whole else "half_load"
            yield Listed(kind, base, writes=(register,))
    if inside[2].startswith("!") or inside[2].strip(" ,"):
        yield Listed("nop", base, writes=base[:1])


def _vector(mnemonic: str, rest: str) -> Listed:
    first, others = _first_and_others(rest)
    from_core = bool(re.search(r"\b[xw]\d", rest))
    to_core = bool(re.match(r"\s*[xw]\d", rest))
    into_lane = bool(re.match(r"\s*v\d+\.[bhsd]\[", rest))
    half = bool(re.match(r"\s*(?:v\d+\.(?:2s|4h|8b)|[ds]\d)", rest))
    if into_lane:
        return Listed("insert" if from_core else "vector_move", others, updates=first)
    if mnemonic in ("dup", "fmov") and from_core and not to_core:
        return Listed("vector_splat", others, writes=first)
    kind = _VECTOR_KINDS.get(mnemonic, "vector_move" if mnemonic in _MOVES else "")
    if mnemonic in ("fmadd", "fmsub"):
        return Listed("half_multiply_add", others, writes=first)
    if not kind and mnemonic.startswith(("f", "cm", "s", "u", "add", "sub")):
        kind = "vector_add"
    if not kind:
        raise ValueError(f"{mnemonic} {rest}")
    kind = _HALVES.get(kind, "half_add" if kind == "vector_add" else kind) if half else kind
    if mnemonic in ("fmla", "fmls"):
        return Listed(kind, others, updates=first)
    return Listed(kind, others, writes=first)


def _first_and_others(rest: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    first, _, others = rest.partition(",")
    return _registers(first), _registers(others)


def _registers(text: str) -> tuple[str, ...]:
    return tuple(_named(found) for found in _REGISTER.finditer(text))


def _named(found: re.Match[str]) -> str:
    """`v3` for all parts of a vector register, `x3` for a core register."""
    if found[1] is None:
        return "sp"
    return f"{'x' if found[1] in 'xw' else 'v'}{found[2]}"


def products(body: Sequence[Listed]) -> int:
    """The multiply-adds of vectors in a loop."""
    return sum(op.kind == "multiply_add" for op in body)
