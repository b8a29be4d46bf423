"""Property bags, in which archives hold the metadata of maps, models, nodes and ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ellc.frontends.ell.values import ArchiveObject, ArchiveValue, same_value
from ellc.frontends.ell.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A value with its type name in the archive. A variant of type `void` has no value."""

    type: str
    value: PropertyBag | ArchiveValue = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Variant) or self.type != other.type:
            return NotImplemented if not isinstance(other, Variant) else False
        if isinstance(self.value, PropertyBag) or isinstance(other.value, PropertyBag):
            return self.value == other.value
        return same_value(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]

    def as_text(self) -> str:
        """The value as text; the numbers of an array are separated by commas."""
        match self.value:
            case bool():
                return "true" if self.value else "false"
            case np.ndarray():
                return ",".join(map(str, self.value.tolist()))
            case tuple():
                return ",".join(map(str, self.value))
            case None | PropertyBag():
                return ""
            case _:
                return str(self.value)


@dataclass(frozen=True, slots=True)
class PropertyBag:
    """Named values, in the order of the file."""

    entries: tuple[tuple[str, Variant], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries)

    def get(self, key: str) -> Variant | None:
        """The first value with this key, or None."""
        return next((value for name, value in self.entries if name == key), None)

    def text(self, key: str, default: str = "") -> str:
        """The first value with this key as text, or the default."""
        variant = self.get(key)
        return default if variant is None else variant.as_text()

    def flat(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """All values as (key, text); a value of a nested bag has the key `outer.inner`."""
        for key, variant in self.entries:
            if isinstance(variant.value, PropertyBag):
                yield from variant.value.flat(f"{prefix}{key}.")
            elif variant.type != "void":
                yield f"{prefix}{key}", variant.as_text()

    @staticmethod
    def of(values: Mapping[str, bool | int | float | str]) -> PropertyBag:
        """A bag of plain values."""
        return PropertyBag(tuple((k, Variant(_type_of(v), v)) for k, v in values.items()))


def _type_of(value: bool | int | float | str) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "double"
        case _:
            return "std::string"


def read_metadata(view: View) -> PropertyBag:
    """Read the optional `metadata` field of an object."""
    if view.value("metadata") is None:
        return PropertyBag()
    child = view.child("metadata")
    return PropertyBag() if child is None else _read_bag(child)


def _read_bag(view: View) -> PropertyBag:
    entries: list[tuple[str, Variant]] = []
    if view.value("data") is None:
        return PropertyBag()
    for pair in view.children("data"):
        key = pair.text("k")
        variant = pair.child("v")
        if variant is not None:
            entries.append((key, _read_variant(variant)))
    return PropertyBag(tuple(entries))


def _read_variant(view: View) -> Variant:
    value = view.value("value")
    if isinstance(value, ArchiveObject):
        return Variant(view.text("type", default="PropertyBag"), _read_bag(view.at(value, "value")))
    return Variant(view.text("type", default="void"), value)


def metadata_object(bag: PropertyBag) -> ArchiveObject:
    """The archive object of a bag."""
    pairs = tuple(
        ArchiveObject("PropertyBag::KeyValue", "0", (("k", key), ("v", _variant_object(variant))))
        for key, variant in bag.entries
    )
    return ArchiveObject("PropertyBag", "0", (("data", pairs),))


def _variant_object(variant: Variant) -> ArchiveObject:
    value = variant.value
    fields: tuple[tuple[str, ArchiveValue], ...] = (("type", variant.type),)
    if variant.type != "void":
        stored = metadata_object(value) if isinstance(value, PropertyBag) else value
        fields += (("value", stored),)
    return ArchiveObject("Variant", "0", fields)
