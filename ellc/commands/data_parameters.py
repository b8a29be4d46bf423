"""The options of commands that read a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ellc.commands.parameters import FILE_PATH, Between

if TYPE_CHECKING:
    from ellc.evaluate.samples import Data

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--data",
        "data_path",
        type=FILE_PATH,
        required=True,
        metavar="PATH",
        help="Labelled data: a folder of class folders, a flat folder with --truth, CIFAR-10, "
        "MNIST (idx), FER2013 (.csv), or .npz with x and y.",
    ),
    click.option(
        "--truth",
        type=FILE_PATH,
        metavar="FILE",
        help="File with the classes of the pictures in a flat folder: a table or a list.",
    ),
    click.option(
        "--truth-column",
        default="",
        metavar="NAME",
        help="Column of the --truth table that has the classes.",
    ),
    click.option(
        "--split",
        type=click.Choice(["test", "train"]),
        default="test",
        show_default=True,
        help="Which part of the data set to use, if it has parts.",
    ),
    click.option(
        "--limit", type=click.IntRange(1), metavar="N", help="Use only the first N samples."
    ),
    click.option(
        "--crop",
        type=Between(0.01, 1),
        default=1.0,
        show_default=True,
        help="Keep only the middle of each picture: this fraction of its sides, such as 0.875.",
    ),
    click.option(
        "--background",
        is_flag=True,
        help="Class 0 of the network is the background: class N of the data is class N + 1 of the "
        "network.",
    ),
)


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Which samples a command uses, and how they become inputs of the network."""

    path: Path
    truth: Path | None
    truth_column: str
    split: str
    limit: int | None
    crop: float
    background: bool

    def open(self, *, labelled: bool = True) -> Data:
        """Open the data set; raises `EllcError` as `open_data`."""
        from ellc.evaluate.layouts import open_data
        from ellc.evaluate.layouts.options import DataOptions

        options = DataOptions(self.truth, self.truth_column, self.split, labelled)
        return open_data(self.path, options)

    def indices(self, data: Data) -> range:
        """The indices of the samples to use."""
        return range(min(self.limit or len(data), len(data)))


def data_options(command: Command) -> Callable[..., Any]:
    """Decorator that adds options for reading a data set, passed as `chosen: DataChoice`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        names = ("data_path", "truth", "truth_column", "split", "limit", "crop", "background")
        chosen = DataChoice(*(values.pop(name) for name in names))
        return command(*args, chosen=chosen, **values)

    decorated: Callable[..., Any] = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
