"""`ellc evaluate`: measure the accuracy of a network on labelled data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.data_parameters import data_options
from ellc.commands.output import echo, echo_files, echo_json, json_option
from ellc.commands.parameters import FILE_PATH, model_options, target_option
from ellc.ir.errors import EllcError
from ellc.models import ModelOptions
from ellc.pictures.images import load_labels

if TYPE_CHECKING:
    from ellc.commands.data_parameters import DataChoice
    from ellc.evaluate.answers import Answer
    from ellc.evaluate.judging import Task
    from ellc.evaluate.samples import Data
    from ellc.evaluate.subject import Subject
    from ellc.progress import Progress

MOST_PROBLEMS = 20


@click.command("evaluate")
@click.argument("models", type=FILE_PATH, nargs=-1, required=True, metavar="MODEL...")
@data_options
@click.option(
    "--labels",
    type=FILE_PATH,
    metavar="FILE",
    help="File with the names of the network's classes, one per line.",
)
@click.option(
    "--vs",
    "other",
    metavar="OTHER",
    help="Compare with another model or library, or with another engine for the same file: "
    "reference, onnxruntime or litert. FILE=ENGINE compares with another file and engine.",
)
@target_option
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes; default: one for each core.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Start a local Dask cluster with N workers.",
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler, tcp://HOST:PORT."
)
@click.option(
    "--journal",
    type=FILE_PATH,
    metavar="FILE",
    help="Store the answers in this file; after an interruption, the same command continues "
    "from them.",
)
@click.option(
    "--html", type=FILE_PATH, metavar="FILE", help="Also write an HTML page with pictures."
)
@model_options
@json_option
def command(
    models: tuple[Path, ...],
    chosen: DataChoice,
    labels: Path | None,
    other: str | None,
    target: str,
    jobs: int | None,
    workers: int | None,
    scheduler: str | None,
    journal: Path | None,
    html: Path | None,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure the accuracy of MODEL, or of a compiled library, on labelled data.

    The report has top-1 and top-5 accuracy, the accuracy of each class and the worst mistakes.
    Several models form a chain: the outputs of each model are the inputs of the next. A library for
    a foreign target runs in qemu. Pictures are cropped, scaled and turned into numbers as in `ellc
    run`. The states of a network are reset before every sample.

    A sample that cannot be read is not counted; the command reports it and exits with code 2.
    """
    from ellc.evaluate.report import Evaluation, document, text
    from ellc.evaluate.running import opened_task
    from ellc.evaluate.subject import Subject, check_options, other_subject
    from ellc.progress import progress

    if workers and scheduler:
        raise click.UsageError("--workers and --scheduler cannot be combined: give one of them")
    data = chosen.open()
    judged = Subject(models, "compiled", options, target)
    check_options(judged)
    subjects = (judged, *([other_subject(other, judged)] if other else []))
    first_class, indices = int(chosen.background), chosen.indices(data)
    with (
        progress(quiet=as_json) as report,
        opened_task(subjects, data, chosen.crop, first_class, report) as task,
    ):
        cluster = scheduler or workers
        answers = _answers(task, subjects, indices, journal, cluster, jobs, report)
    names = load_labels(labels) if labels else _class_names(data, chosen.background)
    shown = tuple(subject.name for subject in subjects)
    evaluation = Evaluation(chosen.path.name, shown, answers, names)
    if html is not None:
        from ellc.evaluate.page import write_page

        write_page(evaluation, data, html)
    if as_json:
        echo_json(document(evaluation))
    else:
        show = echo if html is None else echo_files
        show(text(evaluation))
    _report_problems(evaluation.problems)


def _class_names(data: Data, background: bool) -> tuple[str, ...]:
    return (*(["background"] if background and data.classes else []), *data.classes)


def _answers(
    task: Task,
    subjects: tuple[Subject, ...],
    indices: range,
    journal: Path | None,
    cluster: str | int | None,
    jobs: int | None,
    report: Progress,
) -> list[Answer]:
    """All answers in the order of the samples.

    Answers in the journal are taken from there; missing answers are computed and added to it.
    """
    from ellc.evaluate.journal import open_journal

    stored = (
        open_journal(journal, _identity(task, subjects), len(subjects))
        if journal
        else nullcontext()
    )
    with stored as opened:
        known = opened.known if opened else {}
        answers = {index: answer for index, answer in known.items() if index in indices}
        missing = [index for index in indices if index not in answers]
        start_s, total = time.monotonic(), len(missing)
        for done, answer in enumerate(_computed_answers(task, missing, cluster, jobs), 1):
            answers[answer.index] = answer
            if opened:
                opened.add(answer)
            left_s = (time.monotonic() - start_s) / done * (total - done)
            report(f"evaluating, {left_s:.0f} s left", len(answers), len(indices))
    return [answers[index] for index in indices]


def _computed_answers(
    task: Task, missing: list[int], cluster: str | int | None, jobs: int | None
) -> Iterator[Answer]:
    from ellc.evaluate.judging import default_jobs, in_processes

    if cluster is None:
        return in_processes(task, missing, min(jobs or default_jobs(), max(1, len(missing))))
    from ellc.evaluate.fleet import in_cluster

    return in_cluster(task, missing, cluster)


def _identity(task: Task, subjects: tuple[Subject, ...]) -> str:
    """A text that identifies an evaluation: evaluations with equal texts have the same answers."""
    from ellc.evaluate.samples import fingerprint

    shares = tuple(interface.preparation.share for interface in task.interfaces)
    which = (fingerprint(task.data), [s.identity() for s in subjects], shares, task.first_class)
    return repr(which)


def _report_problems(problems: tuple[str, ...]) -> None:
    if problems:
        raise EllcError(
            f"samples that cannot be read and are not counted: {len(problems)}",
            code="E771",
            problems=problems[:MOST_PROBLEMS],
        )
