"""Builds the site: reads results, counts the sizes of their networks, and writes the pages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ellc.codegen.machine.resolve import resolve
from ellc.folders import replaced_folder
from ellc.gallery.load import read_results, refuse
from ellc.gallery.models import Counted, Model, counted, counted_figures, models_of
from ellc.gallery.names import INDEX, download_name, page_name, trial_name
from ellc.gallery.packages import Package, write_packages
from ellc.gallery.pages import Described, index_page, model_page
from ellc.gallery.published import published
from ellc.gallery.rows import Figure, NetworkName, Result
from ellc.gallery.trial import MOST_BYTES, Trial, trial
from ellc.gallery.trial_page import trial_page
from ellc.ir.errors import EllcError
from ellc.ir.files import write_text
from ellc.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Built:
    """The numbers of models, results, figures and trials that a build wrote."""

    models: int
    results: int
    figures: int
    trials: int


def build_site(
    paths: Sequence[Path],
    folder: Path,
    progress: Progress = silent,
    *,
    with_published: bool = True,
    most_trial_bytes: int = MOST_BYTES,
    targets: Sequence[str] = (),
) -> Built:
    """Write the pages for results, and for the zoo's published figures if `with_published`.

    In the browser, visitors can try networks with at most `most_trial_bytes` of weights. They can
    also download the model files of results, compiled for `targets`. The pages in the folder are
    replaced all together, or not at all if there is an error. Other files in the folder are kept.
    The same results give the same bytes. Raises `EllcError` E780 with all problems of the results,
    E703 if the folder cannot be written, and errors of `resolve` for `targets`.
    """
    for target in targets:
        resolve(target)
    others = published() if with_published else ()
    results = (*read_results(paths, others), *others)
    if not results:
        refuse(["there are no results: name a file or a folder, or include the published figures"])
    models = models_of(results)
    trials = 0
    with replaced_folder(folder, INDEX) as new:
        described = []
        problems: list[str] = []
        for number, model in enumerate(models):
            progress(f"pages: {model.name}", number, len(models))
            described_model, networks = _described(model, problems)
            tried = _trials(model, networks, most_trial_bytes, problems)
            packages = _packages(model, targets, new, problems)
            if not problems:
                shown = next(iter(networks.values()), None)
                write_text(
                    new / page_name(model.name), model_page(described_model, shown, tried, packages)
                )
                for each in tried:
                    page = trial_page(model.name, each)
                    write_text(new / trial_name(model.name, each.precision), page)
                _copy_downloads(model, new)
            trials += len(tried)
            described.append(
                replace(described_model, tried=tuple(each.precision for each in tried))
            )
        refuse(problems)
        write_text(new / INDEX, index_page(described))
    figures = sum(len(result.known) for result in results)
    return Built(len(models), len(results), figures, trials)


def _described(model: Model, problems: list[str]) -> tuple[Described, dict[NetworkName, Counted]]:
    """Count the sizes of a model's networks; also return the networks by name.

    Adds to `problems` each network that cannot be read.
    """
    sizes: dict[str, tuple[Figure, ...]] = {}
    networks: dict[NetworkName, Counted] = {}
    for network, named_by in model.networks().items():
        try:
            found = counted(network)
        except EllcError as error:
            problems.append(f"{named_by.path}: network: {error.where}: {error.message}")
            continue
        networks[network] = found
        for precision in model.precisions:
            if precision not in sizes and _is_of(model.results, network, precision):
                sizes[precision] = counted_figures(network, found, precision)
    return Described(model, sizes), networks


def _trials(
    model: Model, networks: dict[NetworkName, Counted], most_bytes: int, problems: list[str]
) -> list[Trial]:
    """Compile one network for the browser in each precision, if there is one to try."""
    found: dict[str, Trial] = {}
    for network, read in networks.items():
        for precision in model.precisions:
            of = [x for x in model.results if (x.network, x.precision) == (network, precision)]
            if not of or precision in found:
                continue
            result = next((x for x in of if x.trial), of[0])
            try:
                compiled = trial(result, read, most_bytes)
            except EllcError as error:
                problems.append(f"{result.path}: {error.message}")
                continue
            if compiled:
                found[precision] = compiled
    return list(found.values())


def _packages(
    model: Model, targets: Sequence[str], folder: Path, problems: list[str]
) -> list[Package]:
    """Write the packages of a model: for each precision those of the first model file."""
    packages: list[Package] = []
    for precision in model.precisions if targets else ():
        of = [x for x in model.results if x.precision == precision and x.network]
        files = [(x, x.network.file) for x in of if x.network and x.network.file]
        for result, file in files[:1]:
            try:
                packages += write_packages(model.name, precision, file, targets, folder)
            except EllcError as error:
                problems.append(f"{result.path}: package: {error.message}")
    return packages


def _is_of(results: Sequence[Result], network: object, precision: str) -> bool:
    return any(x.network == network and x.precision == precision for x in results)


def _copy_downloads(model: Model, folder: Path) -> None:
    for result in model.results:
        for download in result.downloads:
            shutil.copyfile(download.file, folder / download_name(model.name, download.file.name))
