"""`ellc gallery`: a web site of accuracies and speeds, from result files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ellc.commands.output import echo_files, echo_json, json_option, table
from ellc.commands.parameters import FILE_PATH


@click.group("gallery", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Show models by accuracy and speed: a web site made from result files.

    A result file is JSON. It has the figures of one model in one precision, on one board, by one
    engine. Each figure is measured, modelled or published, and the pages show which.
    """


@command.command("build")
@click.argument("results", type=FILE_PATH, nargs=-1, metavar="[RESULTS]...")
@click.option(
    "-o", "--output", type=FILE_PATH, required=True, metavar="FOLDER", help="Folder to write."
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
    """Write a site that needs only a browser: open index.html in its folder.

    RESULTS are result files, or folders of them. All problems in them are reported at once. The
    same results give the same bytes.

    A network with trained weights that classifies pictures gets a page that runs it in the browser,
    compiled for WebAssembly: a visitor drops a picture there, or draws a digit.
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

    Only `ellc evaluate`, `bench`, `inspect` and `explain` are run, in the folder of the result; its
    `prepare` commands (`ellc zoo build`, `ellc import`) are run first. Times that were measured on
    another machine are kept, and so are figures of other programs. A new result file needs no
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
