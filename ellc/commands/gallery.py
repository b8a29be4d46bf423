"""`ellc gallery`: measure accuracies and speeds into result files, and make a web site of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo_files, echo_json, json_option, table
from ellc.commands.parameters import FILE_PATH

if TYPE_CHECKING:
    from ellc.gallery.measure import Change


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
    type=click.IntRange(min=0, max=1024),
    default=8,
    show_default=True,
    metavar="MIB",
    help="Largest size of the weights of a network that visitors can try; 0 means no trials.",
)
@click.option(
    "--package",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Offer each model compiled for TARGET, and as .ell.zip. May be repeated.",
)
@json_option
def build(
    results: tuple[Path, ...],
    output: Path,
    with_published: bool,
    try_mebibytes: int,
    targets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a site that needs no web server: open index.html in its folder.

    RESULTS are result files, or folders with result files. All problems in them are reported at
    once. The same results give the same bytes.

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
            most_trial_bytes=try_mebibytes << 20,
            targets=tuple(dict.fromkeys(targets)),
        )
    if as_json:
        echo_json({"folder": str(output), **asdict(built)})
    else:
        echo_files(
            f"{output}: {built.models:,} models, {built.results:,} results, "
            f"{built.figures:,} figures, {built.trials:,} to try in the browser"
        )


@command.command("measure")
@click.argument("results", type=FILE_PATH, nargs=-1, metavar="[RESULTS]...")
@click.option(
    "--models", type=FILE_PATH, metavar="FOLDER", help="Make results for all models in FOLDER."
)
@click.option(
    "--facts",
    type=FILE_PATH,
    metavar="FILE",
    help="TOML file with facts about the files in --models: data for the accuracy, labels, ...",
)
@click.option(
    "--zoo", multiple=True, metavar="NAME", help="Make results for a zoo network, or for `all`."
)
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    default=("host", "pi3_64"),
    show_default="host and pi3_64",
    metavar="TARGET",
    help="Target of the results of --models and --zoo. May be repeated.",
)
@click.option(
    "-o", "--output", type=FILE_PATH, metavar="FOLDER", help="Folder for new results and models."
)
@json_option
def measure(
    results: tuple[Path, ...],
    models: Path | None,
    facts: Path | None,
    zoo: tuple[str, ...],
    targets: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Run the commands recorded in result files, and write the values into them.

    The commands run in the folder of the result file. First run the commands in `prepare`, which
    may be `ellc zoo build` and `ellc import`. Then run the commands of the figures, which may be
    `ellc evaluate`, `bench`, `inspect`, `zoo inspect` and `explain`. Times measured on another
    machine and figures of other programs are kept. A new result file may leave out all values.

    --models and --zoo first write new result files, and copies of the models, into the folder -o.
    Times on this machine are measured. Times for another target are modelled by the tool that
    ELLC_CYCLE_TOOL names. A model that cannot be read is left out, and the output says why.
    """
    from ellc.gallery.measure import measure as measure_results
    from ellc.gallery.measure import summary
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        report("reading models", 0, 0)
        new, left_out = _new_results(models, facts, zoo, targets, output)
        if not results and not new:
            raise click.UsageError("give result files, --models or --zoo")
        changes = (*left_out, *measure_results([*results, *new], report))
    if as_json:
        echo_json([asdict(change) for change in changes])
    else:
        echo_files(table(("file", "figure", "before", "now"), summary(changes), "  rr"))


def _new_results(
    models: Path | None,
    facts: Path | None,
    zoo: tuple[str, ...],
    targets: tuple[str, ...],
    output: Path | None,
) -> tuple[list[Path], list[Change]]:
    """Write the new results. Returns their paths, and a table row for each model left out."""
    from ellc.gallery.drafts import drafts_of_models, drafts_of_zoo, write_drafts
    from ellc.gallery.measure import Change, this_machine
    from ellc.gallery.model_facts import read_facts
    from ellc.zoo import networks

    if facts and not models:
        raise click.UsageError("--facts needs --models")
    if not models and not zoo:
        if output:
            raise click.UsageError(
                "-o needs --models or --zoo: the given result files are changed in place"
            )
        return [], []
    if output is None:
        raise click.UsageError("--models and --zoo need -o, the folder for the new results")
    names = [n.name for n in networks()] if "all" in zoo else list(zoo)
    drafts = [drafts_of_zoo(names, targets, this_machine())]
    if models:
        known = read_facts(facts, models) if facts else {}
        drafts.append(drafts_of_models(models, known, targets, this_machine(), output))
    paths = [path for draft in drafts for path in write_drafts(draft, output)]
    skipped = [
        Change(str(path), "", None, None, f"left out: {reason}")
        for draft in drafts
        for path, reason in draft.skipped.items()
    ]
    return paths, skipped
