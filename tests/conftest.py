"""Fixtures for all tests: real models, emulators, golden files, the command line.

Environment variables without a default name optional programs and data. If one is not set, a line
in the header of the report says which tests are skipped.
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# This must be set before numpy is imported, here and in every process that a test starts. pytest
# already runs a worker per core, and waiting BLAS threads would keep cores busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from browser import find_browser
from bytecode_cache import BytecodeCache
from cpu_times import CpuTimes
from local_sshd import why_not
from node import find_node
from parts import WHOLE
from shared_schedules import SharedSchedules
from warm_start import WarmEllc, warm_ellc
from wine import find_wine

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"
DEFAULT_EMULATORS = ("qemu-arm", "qemu-aarch64")
BOARD_EMULATOR = "qemu-system-arm"

_OUTSIDE = {
    "ELLC_TEST_DATA": ("needs_data", "tests on real models"),
    "ELLC_CYCLE_TOOL": ("needs_cycle_tool", "modelled Cortex-A53 cycles"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the files in tests/golden with what the tests see; review the diff",
    )
    parser.addoption(
        "--whole",
        action="store_true",
        help="run all cases of tests that otherwise run a part of them (tests/support/parts.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--whole"):  # test modules choose their cases when they are imported
        os.environ[WHOLE] = "1"
    config.pluginmanager.register(BytecodeCache())
    config.pluginmanager.register(CpuTimes())
    if not hasattr(config, "workerinput"):  # workers of xdist inherit the folder
        config.pluginmanager.register(SharedSchedules())


def pytest_collection_finish() -> None:
    """Reduce the work of the garbage collector.

    Collected tests stay in memory until the end, so it need not visit them again. It also runs less
    often than by default: visiting the plans of thousands of kernels that some tests keep takes 3
    to 8 % of their Python time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_report_header() -> list[str]:
    lines = [
        f"{variable} is not set: {what} are skipped"
        for variable, (_, what) in _OUTSIDE.items()
        if not os.environ.get(variable)
    ]
    if find_browser() is None:
        lines.append("no Chromium found: the page of `ellc explain` is not opened in one")
    if find_node() is None:
        lines.append("no Node found: the modules for WebAssembly are not run in it")
    if find_wine() is None:
        lines.append("no Wine found: libraries for Windows are linked, but not loaded")
    if reason := why_not():
        lines.append(f"{reason}: nothing is deployed by ssh")
    missing = [e for e in (*DEFAULT_EMULATORS, BOARD_EMULATOR) if shutil.which(e) is None]
    if missing:
        lines.append(f"{' and '.join(missing)} not found: tests of foreign code are skipped")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        # In a worker of xdist, run long tests first, so that none is still running alone at the
        # end.
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        for variable, (marker, _) in _OUTSIDE.items():
            if item.get_closest_marker(marker) and not os.environ.get(variable):
                item.add_marker(pytest.mark.skip(reason=f"{variable} is not set"))
        emulated = item.get_closest_marker("emulated")
        if emulated:
            missing = [e for e in emulated.args or DEFAULT_EMULATORS if shutil.which(e) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(missing)} not installed"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from shared_scopes import SharedScopes

    return SharedScopes(config, log)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real models; a test that uses it needs the marker `needs_data`."""
    return Path(os.environ["ELLC_TEST_DATA"])


@pytest.fixture(scope="session")
def cycle_tool() -> Path:
    """The cycle model of a Cortex-A53; a test that uses it needs the marker `needs_cycle_tool`."""
    return Path(os.environ["ELLC_CYCLE_TOOL"])


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built once for all processes of a run."""
    from fresh_environment import build_wheel

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = list((shared / "wheel" / "dist").glob("*.whl"))
        return found[0] if found else build_wheel(shared / "wheel")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function `golden(name, text)` that compares a text with the file tests/golden/NAME."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmEllc]:
    """A launcher of command lines of the checkout, in processes that need not import ellc."""
    with warm_ellc(Path(sys.executable), {**os.environ, "PYTHONPATH": str(ROOT)}) as warm:
        yield warm


@pytest.fixture
def ellc_command(tmp_path: Path, warm: WarmEllc) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `python -m ellc ARGS...` in a new process, in an empty folder.

    `env` sets environment variables, or removes those that are None. `cwd` is another folder.
    `prepared` is Python code that the process runs first. Unless one of these concerns Python, the
    process is forked from one that has imported ellc (`support/warm_start.py`).
    """

    def run(
        *args: str | Path,
        cwd: Path | None = None,
        env: dict[str, str | None] | None = None,
        prepared: str = "",
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        variables: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        given = {k: v for k, v in variables.items() if v is not None}
        program: list[str | Path] = [sys.executable, "-m", "ellc"]
        if prepared:
            program = [sys.executable, "-c", f"{prepared}\nfrom ellc.cli import main; main()"]
        elif warm.suits(given):
            program = [warm.launcher]
        return subprocess.run(
            [*program, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            env=given,
            timeout=timeout_s,
            check=False,
        )

    return run
