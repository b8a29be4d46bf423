"""The CPU features that kernels depend on, and the translation of LLVM's feature strings."""

from __future__ import annotations

from collections.abc import Iterable

from ellc.ir.errors import EllcError

_AVX2 = frozenset({"sse2", "avx2", "fma", "f16c"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
AVX512_VECTORS = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
"""The features that vectors of 64 bytes need."""

_FROM_LLVM: dict[str, str] = {
    "avx512vnni": "avx512_vnni",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "fullfp16": "fp16",
}
"""Features that have different names in LLVM and in ellc: LLVM's name, ellc's name."""

_KNOWN: frozenset[str] = frozenset(
    {"neon", "dotprod", "fp16", "i8mm", "simd128", "dsp", "avxvnni"}
    | _AVX512
    | {"avx512_vnni", "avx512_vpopcntdq"}
)
"""Every word that `Target.features` may contain."""

_IMPLIED: tuple[tuple[str, frozenset[str]], ...] = (
    ("avx2", frozenset({"sse2"})),
    ("avx512f", _AVX2),
    ("avx512_vnni", frozenset({"avx512f"}) | _AVX2),
    ("dotprod", frozenset({"neon"})),
)
"""Pairs (feature, features that LLVM switches on with it)."""


def features_of(least: Iterable[str], llvm_features: str) -> frozenset[str]:
    """The features `least`, changed by LLVM's `+name` and `-name` words.

    A feature that is switched on brings the features that it implies, except those that a word
    switches off. Raises `EllcError` (E604) if a word has no sign.
    """
    added, removed = _split(llvm_features)
    features = frozenset(least) | added
    for feature, implied in _IMPLIED:
        if feature in features:
            features |= implied
    return features - removed


def words_of(llvm_features: str) -> list[str]:
    """The words of a feature string, which are separated by commas."""
    return [word.strip() for word in llvm_features.split(",") if word.strip()]


def _split(llvm_features: str) -> tuple[frozenset[str], frozenset[str]]:
    """(kernel features that a feature string switches on, kernel features that it switches off)."""
    words = words_of(llvm_features)
    for word in words:
        if word[0] not in "+-":
            raise EllcError(
                f"feature {word!r} has no sign",
                code="E604",
                hint="write +name or -name, separated by commas",
            )
    named = [(word[0], _FROM_LLVM.get(word[1:], word[1:])) for word in words]
    on = frozenset(name for sign, name in named if sign == "+" and name in _KNOWN)
    off = frozenset(name for sign, name in named if sign == "-" and name in _KNOWN)
    return on, off
