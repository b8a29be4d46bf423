"""`ellc gallery`: make a web site of accuracies and speeds from result files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ellc.commands.output import echo_files, echo_json, json_option, table
from ellc.commands.parameters import FILE_PATH


@click.group("gallery", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Make a web site that compares models by accuracy and speed.

    The site is made from result files. A result file is JSON and has the figures of one model, in
    one precision, on one board, as computed by one engine. Each figure is measured, modelled or
    published, and the pages show which.
    """


@command.command("build")
@click.argument("results", type=FILE_PATH, nargs=-1, metavar="[RESULTS]...")
@click.option(
    "-o", "--output", type=FILE_PATH, required=True, metavar="FOLDER", help="Folder for the site."
)
@click.option(
    "--published/--no-published",
    "with_published",
    default=True,
    show_default=True,
    help="Whether to add the published figures of the zoo's networks.",
)
@click.option(
    "--try-limit",
    "try_mebibytes",
    type=click.FloatRange(min=0, max=1024),
    default=8,
    show_default=True,
    metavar="MIB",
    help="Largest weights of a network that visitors can try in the browser; 0: none.",
)
@json_option
def build(
    results: tuple[Path, ...],
    output: Path,
    with_published: bool,
    try_mebibytes: float,
    as_json: bool,
) -> None:
    """Write a site that needs no web server: open index.html in its folder.

    RESULTS are result files, or folders with result files. All their problems are reported at once.
    The same results give the same bytes.

    For a network with trained weights that classifies pictures, the site has a page that runs the
    network in the browser, compiled for WebAssembly: visitors drop a picture there or draw a digit.
    """
    from ellc.gallery.site import build_site
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        built = build_site(
            results,
            output,
            report,
            with_published=with_published,
            most_trial_bytes=int(try_mebibytes * (1 << 20)),
        )
    if as_json:
        echo_json({"folder": str(output), **asdict(built)})
    else:
        echo_files(
            f"{output}: {built.models:,} models, {built.results:,} results, "
            f"{built.figures:,} figures, {built.trials:,} to try in the browser"
        )


@command.command("measure")
@click.argument("results", type=FILE_PATH, nargs=-1, required=True, metavar="RESULTS...")
@json_option
def measure(results: tuple[Path, ...], as_json: bool) -> None:
    """Run the commands recorded in result files, and write the values into them.

    The commands are run in the folder of the result file. Only `ellc evaluate`, `bench`, `inspect`,
    `zoo inspect` and `explain` are allowed. Before them, the commands in `prepare` are run, of
    which only `ellc zoo build` and `ellc import` are allowed. Times that were measured on another
    machine are kept, and so are figures of other programs. A new result file may leave out all
    values.
    """
    from ellc.gallery.measure import measure as measure_results
    from ellc.gallery.measure import summary
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        changes = measure_results(results, report)
    if as_json:
        echo_json([asdict(change) for change in changes])
    else:
        echo_files(table(("file", "figure", "before", "now"), summary(changes), "  rr"))
