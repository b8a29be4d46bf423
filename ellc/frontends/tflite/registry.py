"""Holds the table of TensorFlow Lite's operators, and the options that are declined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ellc.frontends.graph_import.handlers import Function, Handler, Registry
from ellc.frontends.tflite.model import TfliteNode


@dataclass(frozen=True, slots=True)
class DeclinedOption:
    """An option that has unsupported values.

    `option` is its name in the schema, and `reason` is the text in the report. If the handler does
    not read the option, every value is declined except 0, false and an empty list or text.
    """

    option: str
    reason: str


ACTIVATION = "FusedActivationFunction"
NOT_ON_INTEGERS = DeclinedOption(
    ACTIVATION, "a fused activation that this element type does not support"
)


class TfliteRegistry(Registry[TfliteNode]):
    """A registry that also lists the declined options of each operator."""

    def __init__(self, handlers: dict[str, Handler[TfliteNode]] | None = None) -> None:
        super().__init__("tflite", handlers or {})
        self.declined: dict[str, tuple[DeclinedOption, ...]] = {}

    def imports(
        self, *kinds: str, limits: str = "", declines: Sequence[DeclinedOption] = ()
    ) -> Callable[[Function[TfliteNode]], Function[TfliteNode]]:
        """Register the decorated function as the handler of these operators."""
        self.declined.update(dict.fromkeys(kinds, tuple(declines)))
        return super().imports(*kinds, limits=limits)


TFLITE = TfliteRegistry()
