"""Turns names of models and ports into identifiers of C, C++ and Python, by one rule.

Every character that is not an ASCII letter, digit or underscore becomes `_`. Names are cut to 64
characters. Leading underscores before a capital letter or another underscore are removed, because C
reserves such names. A leading digit gets a `_` before it. A name that is empty or has only
underscores becomes `model`. A `_` is added at the end of

* reserved words (`reserved_words`);
* names of ports that are macros (`linux`) or, having only capitals, may be macros (`INT32_MAX`);
* names of ports that the templates use, or that begin like the model's functions (`NAME_`);
* names of models whose files or functions would hide others (`random.py`, `libm.so`, `sem_init`).

Where names must differ, a name that equals an earlier one gets `_2`, `_3`, ... at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ellc.codegen.languages.foreign_text import Identifier
from ellc.codegen.languages.reserved_words import MACROS, PARAMETERS, WORDS, is_taken_for_models

LONGEST_NAME = 64


def valid_name(text: str) -> Identifier:
    """The identifier for the name of a model, by the rule of this module.

    >>> valid_name("mobilenet-v1 1.0"), valid_name("3d"), valid_name("class")
    ('mobilenet_v1_1_0', '_3d', 'class_')
    """
    name = identifier(text)
    return Identifier(f"{name}_") if name in WORDS or is_taken_for_models(name) else name


def port_names(texts: Sequence[str], model: Identifier) -> tuple[Identifier, ...]:
    """Different identifiers for the ports of a model, by the rule of this module.

    >>> port_names(["x", "x", "m", "NULL", "net_t"], Identifier("net"))
    ('x', 'x_2', 'm_', 'NULL_', 'net_t_')
    """
    return distinct_names([_port_name(text, model) for text in texts])


def distinct_names(texts: Iterable[str]) -> tuple[Identifier, ...]:
    """The texts, which must be identifiers, made different from each other.

    >>> distinct_names(["x", "x", "x_2"])
    ('x', 'x_2', 'x_2_2')
    """
    used: set[str] = set()
    names: list[Identifier] = []
    for text in texts:
        name, count = text, 1
        while name in used:
            count += 1
            name = f"{text}_{count}"
        used.add(name)
        names.append(Identifier(name))
    return tuple(names)


def identifier(text: str) -> Identifier:
    """The identifier for a text that becomes a part of a name; it may be a reserved word.

    >>> identifier("__3d x"), identifier("__x"), identifier("_x")
    ('_3d_x', 'x', '_x')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)[:LONGEST_NAME]
    name = re.sub(r"^(__+|_(?=[A-Z]|$))", "", name)
    name = f"_{name}" if name[:1].isdigit() else name
    return Identifier(name or "model")


def wrapper_name(model: Identifier) -> Identifier:
    """The name of the class in the Python module that has ELL's API."""
    return Identifier(f"{model[:1].upper()}{model[1:]}Wrapper")


def _port_name(text: str, model: Identifier) -> str:
    name = identifier(text)
    is_macro = name in MACROS or (len(name) > 1 and name.isupper())
    is_used_by_templates = name in PARAMETERS or name.startswith(f"{model}_")
    return f"{name}_" if name in WORDS or is_macro or is_used_by_templates else name
