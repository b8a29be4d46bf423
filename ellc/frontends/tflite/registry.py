"""The operators of TensorFlow Lite that can be imported, and what of their options is declined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ellc.frontends.graph_import.handlers import Function, Handler, Registry
from ellc.frontends.tflite.model import TfliteNode


@dataclass(frozen=True, slots=True)
class Declined:
    """An option of which some values are not taken, by the schema's name.

    `reason` is what the report says. Of an option that no handler reads every value is declined
    that is not 0, false or empty.
    """

    option: str
    reason: str


ACTIVATION = "FusedActivationFunction"
NOT_ON_INTEGERS = Declined(ACTIVATION, "a fused activation that numbers of this type do not have")


class TfliteRegistry(Registry[TfliteNode]):
    """A registry that also knows what of each operator is declined."""

    def __init__(self, handlers: dict[str, Handler[TfliteNode]] | None = None) -> None:
        super().__init__("tflite", handlers or {})
        self.declined: dict[str, tuple[Declined, ...]] = {}

    def imports(
        self, *kinds: str, limits: str = "", declines: Sequence[Declined] = ()
    ) -> Callable[[Function[TfliteNode]], Function[TfliteNode]]:
        """Decorator: this function imports these operators."""
        self.declined.update(dict.fromkeys(kinds, tuple(declines)))
        return super().imports(*kinds, limits=limits)


TFLITE = TfliteRegistry()
