"""`ellc evaluate`: measure the accuracy of a network on labelled data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_files, echo_json, json_option
from ellc.commands.parameters import FILE_PATH, Between, model_options, target_option
from ellc.ir.errors import EllcError
from ellc.models import ModelOptions
from ellc.pictures.images import load_labels

if TYPE_CHECKING:
    from ellc.evaluate.answers import Answer
    from ellc.evaluate.judging import Task
    from ellc.evaluate.samples import Data
    from ellc.evaluate.subject import Subject
    from ellc.progress import Progress

MOST_PROBLEMS = 20


@click.command("evaluate")
@click.argument("models", type=FILE_PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    "data_path",
    type=FILE_PATH,
    required=True,
    metavar="PATH",
    help="Labelled data: a folder of class folders, a flat folder with --truth, CIFAR-10, "
    "MNIST (idx), FER2013 (.csv), or .npz with x and y.",
)
@click.option(
    "--truth",
    type=FILE_PATH,
    metavar="FILE",
    help="File with the classes of the pictures in a flat folder: a table or a list.",
)
@click.option(
    "--truth-column",
    default="",
    metavar="NAME",
    help="Column of the --truth table that has the classes.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="Which part of the data set to use, if it has parts.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Use only the first N samples.")
@click.option(
    "--crop",
    type=Between(0.01, 1),
    default=1.0,
    show_default=True,
    help="Keep only the middle of each picture: this fraction of its sides, such as 0.875.",
)
@click.option(
    "--background",
    is_flag=True,
    help="Class 0 of the network is the background: class N of the data is class N + 1 of the "
    "network.",
)
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
    data_path: Path,
    truth: Path | None,
    truth_column: str,
    split: str,
    limit: int | None,
    crop: float,
    background: bool,
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
    from ellc.evaluate.layouts import open_data
    from ellc.evaluate.layouts.options import DataOptions
    from ellc.evaluate.report import Evaluation, document, text
    from ellc.evaluate.subject import Subject, check_options, other_subject
    from ellc.progress import progress

    if workers and scheduler:
        raise click.UsageError("--workers and --scheduler cannot be combined: give one of them")
    data = open_data(data_path, DataOptions(truth, truth_column, split))
    judged = Subject(models, "compiled", options, target)
    check_options(judged)
    subjects = (judged, *([other_subject(other, judged)] if other else []))
    with progress(quiet=as_json) as report, _task(subjects, data, crop, background, report) as task:
        indices = range(min(limit or len(data), len(data)))
        cluster = scheduler or workers
        answers = _answers(task, subjects, indices, journal, cluster, jobs, report)
    names = load_labels(labels) if labels else _class_names(data, background)
    shown = tuple(subject.name for subject in subjects)
    evaluation = Evaluation(data_path.name, shown, answers, names)
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


@contextmanager
def _task(
    subjects: tuple[Subject, ...], data: Data, crop: float, background: bool, report: Progress
) -> Iterator[Task]:
    """Compile the subjects; the libraries are removed when the block ends."""
    from ellc.evaluate.judging import Task
    from ellc.evaluate.subject import compiled, interface
    from ellc.ir.work_folders import temporary_folder

    with temporary_folder("evaluate") as folder:
        ready = tuple(
            compiled(subject, folder / f"subject{number}", report)
            for number, subject in enumerate(subjects)
        )
        interfaces = tuple(interface(subject, crop) for subject in ready)
        yield Task(data, ready, interfaces, int(background))


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
