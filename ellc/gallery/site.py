"""Builds the site: reads results, counts the sizes of their networks, writes the pages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.folders import replaced_folder
from ellc.gallery.load import read_results, refuse
from ellc.gallery.models import Counted, Model, counted, counted_figures, models_of
from ellc.gallery.pages import INDEX, Described, download_name, index_page, model_page, page_name
from ellc.gallery.published import published
from ellc.gallery.rows import Figure, Result
from ellc.ir.errors import EllcError
from ellc.ir.files import write_text
from ellc.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Built:
    """How many models, results and figures a build wrote."""

    models: int
    results: int
    figures: int


def build_site(
    paths: Sequence[Path], folder: Path, progress: Progress = silent, *, with_published: bool = True
) -> Built:
    """Write the pages for results, and for the zoo's published figures if `with_published`.

    The pages in the folder are replaced all together, or not at all if there is an error; other
    files in the folder are kept. The same results give the same bytes. Raises `EllcError` E780 with
    all problems of the results, E703 if the folder cannot be written.
    """
    others = published() if with_published else ()
    results = (*read_results(paths, others), *others)
    if not results:
        refuse(["there are no results: name a file or a folder, or include the published figures"])
    models = models_of(results)
    with replaced_folder(folder, INDEX) as new:
        described = []
        problems: list[str] = []
        for number, model in enumerate(models):
            progress(f"pages: {model.name}", number, len(models))
            one, shown = _described(model, problems)
            if not problems:
                write_text(new / page_name(model.name), model_page(one, shown))
                _copy_downloads(model, new)
            described.append(one)
        refuse(problems)
        write_text(new / INDEX, index_page(described))
    figures = sum(len(result.known) for result in results)
    return Built(len(models), len(results), figures)


def _described(model: Model, problems: list[str]) -> tuple[Described, Counted | None]:
    """A model with the sizes of its networks, and the network whose layers its page shows.

    Adds to `problems` each network that cannot be read.
    """
    sizes: dict[str, tuple[Figure, ...]] = {}
    shown: Counted | None = None
    for network, named_by in model.networks().items():
        try:
            found = counted(network)
        except EllcError as error:
            problems.append(f"{named_by.path}: network: {error.where}: {error.message}")
            continue
        shown = shown or found
        for precision in model.precisions:
            if precision not in sizes and _is_of(model.results, network, precision):
                sizes[precision] = counted_figures(network, found, precision)
    return Described(model, sizes), shown


def _is_of(results: Sequence[Result], network: object, precision: str) -> bool:
    return any(x.network == network and x.precision == precision for x in results)


def _copy_downloads(model: Model, folder: Path) -> None:
    for result in model.results:
        for download in result.downloads:
            shutil.copyfile(download.file, folder / download_name(model.name, download.file.name))
