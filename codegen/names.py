"""Names of models and ports as C, C++ and Python identifiers: one rule for all of them.

Every character that is not an ASCII letter, digit or underscore becomes `_`; a leading digit gets a
`_` before it, an empty name becomes `model`; a keyword of C, C++ or Python gets a `_` behind it.
Where several names must differ, later ones that fall together get `_2`, `_3`, ...
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence

_C_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue decltype default delete do double dynamic_cast else enum explicit export
extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this
thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
virtual void volatile wchar_t while xor xor_eq
size_t ptrdiff_t int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t
"""


def valid_name(text: str) -> str:
    """The identifier for a name, by the rule above.

    >>> valid_name("mobilenet-v1 1.0"), valid_name("3d"), valid_name("class")
    ('mobilenet_v1_1_0', '_3d', 'class_')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) or "model"
    if name[0].isdigit():
        name = f"_{name}"
    is_word = name in _C_WORDS.split() or keyword.iskeyword(name) or keyword.issoftkeyword(name)
    return f"{name}_" if is_word else name


def distinct_names(texts: Sequence[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Identifiers for several names, all different from each other and from those `taken`.

    >>> distinct_names(["x", "x", "m"], taken=("m",))
    ('x', 'x_2', 'm_2')
    """
    used = set(taken)
    names: list[str] = []
    for text in texts:
        first = valid_name(text)
        name, count = first, 1
        while name in used:
            count += 1
            name = f"{first}_{count}"
        used.add(name)
        names.append(name)
    return tuple(names)
