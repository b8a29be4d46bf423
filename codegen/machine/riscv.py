"""RISC-V: the extensions that LLVM's features switch on, and the ABI that follows from them."""

from __future__ import annotations

from ellc.codegen.machine.features import words_of

_EF_FLOAT_ABI = {"": 0x0, "f": 0x2, "d": 0x4}
"""The bits of `e_flags` by the last letter of an ABI, which names the floats that calls pass in
registers (RISC-V ELF psABI). A linker refuses to merge objects that differ in these bits."""


def extensions(llvm_features: str) -> frozenset[str]:
    """The names of the extensions, such as `m` or `zba`. `d` implies `f`, and `v` implies `d`."""
    words = words_of(llvm_features)
    named = {word[1:] for word in words if word[0] == "+"}
    implied = {"v": {"d", "f"}, "d": {"f"}}
    for name in tuple(named):
        named |= implied.get(name, set())
    return frozenset(named - {word[1:] for word in words if word[0] == "-"})


def abi_name(word_bits: int, has: frozenset[str]) -> str:
    """The ABI that compilers choose for these extensions, by LLVM's and GCC's name."""
    floats = "d" if "d" in has else "f" if "f" in has else ""
    return ("lp64" if word_bits == 64 else "ilp32") + floats


def elf_flags(abi: str) -> int:
    """The bits of `e_flags` that name an ABI of `abi_name`; 0 for an empty string."""
    return _EF_FLOAT_ABI[abi[-1:] if abi[-1:] in "fd" else ""]


def zig_cpu(core: str, has: frozenset[str]) -> str:
    """Zig's name for a core of LLVM with these extensions."""
    return "+".join((core.replace("-", "_"), *sorted(has)))
