"""Print the CPU seconds of the tests by folder, including the processes that they start.

Even on a busy machine, CPU seconds show how much time a change of the tests saves; elapsed time
does not. The time that a shared object takes to build counts for the first test that uses it.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections import Counter
from collections.abc import Generator
from pathlib import Path, PurePosixPath

import pytest


def cpu_seconds() -> float:
    """User and system time of this process and its child processes, with their ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) + _running_children_s()


def _running_children_s() -> float:
    """The time of running child processes: most are servers that tests share. 0 without /proc."""
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):  # it has just ended
                # After the program's name in brackets; the 14th to 17th field are times.
                fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class CpuTimes:
    """A pytest plugin that adds `cpu_s` to each report, and prints sums at the end."""

    def __init__(self) -> None:
        self._last_s = cpu_seconds()
        self._by_test: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":  # only once per test, since reading the times is slow
            now_s = cpu_seconds()
            # xdist sends attributes of a report from the worker to the main process.
            report.cpu_s = now_s - self._last_s
            self._last_s = now_s
        # Nothing reads the keywords, which would be a third of the bytes that a worker sends.
        report.keywords = {}
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._by_test[report.nodeid] += report.cpu_s

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        folders: Counter[str] = Counter()
        tests: Counter[str] = Counter()
        for nodeid, cpu_s in self._by_test.items():
            folder = PurePosixPath(nodeid.split("::")[0]).parent.as_posix()
            folders[folder] += cpu_s
            tests[folder] += 1
        total_s = sum(folders.values())
        terminalreporter.section(f"CPU time: {total_s:.0f} s in {sum(tests.values())} tests")
        for folder, cpu_s in folders.most_common():
            terminalreporter.line(f"{cpu_s:7.1f} s  {tests[folder]:5}  {folder}")
