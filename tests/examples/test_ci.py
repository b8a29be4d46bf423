"""The files for continuous integration fit GitHub's schemas, and their steps work."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from readme import fenced_blocks
from warm_start import WarmEllc
from workflow_steps import Runner, read

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci"
PACKAGES = {"qemu-user", "libc6-arm64-cross", "libc6-armhf-cross"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with a model, and the files that the README's commands copy there."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    blocks = list(fenced_blocks((EXAMPLE / "README.md").read_text(encoding="utf-8")))
    subprocess.run(["bash", "-euc", blocks[0].text], cwd=folder, check=True)
    (folder / "examples").unlink()
    shutil.copy(ROOT / "examples/digits/digits.onnx", folder / "model.onnx")
    shutil.copy(ROOT / "examples/digits/images/labels.txt", folder)
    return folder


@pytest.fixture
def runner(repository: Path, warm: WarmEllc) -> Runner:
    """Runs steps with ellc of this checkout. A fake `sudo` only records its arguments."""
    tools = repository.parent / "bin"
    tools.mkdir()
    sudo = tools / "sudo"
    sudo.write_text(f'#!/bin/sh\necho "$*" >> "{repository.parent}/sudo"\n')
    ellc = tools / "ellc"
    ellc.write_text(f'#!/bin/sh\nexec "{warm.launcher}" "$@"\n')
    python = tools / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for tool in (sudo, ellc, python):
        tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    # pip must not download anything; the requested packages are installed here.
    variables = {**os.environ, "PATH": path, "PIP_NO_INDEX": "1", "PYTHONPATH": str(ROOT)}
    return Runner(repository, variables)


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", EXAMPLE / "network.yml"),
        ("github-workflows", ROOT / ".github/workflows/ci.yml"),
        ("github-actions", EXAMPLE / "action.yml"),
    ],
)
def test_github_would_take_it(schema: str, file: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    ran = subprocess.run([*words, file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(re.sub(r"(?m)^( +)steps:", r"\1stepz:", file.read_text(encoding="utf-8")))
    ran = subprocess.run([*words, wrong], capture_output=True, text=True, check=False)
    assert ran.returncode == 1


def test_the_copy_of_the_readme_is_where_the_workflow_looks(repository: Path) -> None:
    workflow = read(repository / ".github/workflows/network.yml")
    used = [s["uses"] for s in workflow["jobs"]["compile"]["steps"] if "uses" in s]
    assert [u for u in used if u.startswith("./")] == ["./.github/actions/ellc-compile"]
    assert (repository / used[1] / "action.yml").is_file()


@pytest.mark.slow
@pytest.mark.emulated
def test_the_workflow_compiles_checks_and_uploads(runner: Runner, repository: Path) -> None:
    workflow = read(repository / ".github/workflows/network.yml")
    assert workflow["permissions"] == {"contents": "read"}
    runner.run(workflow["jobs"]["compile"]["steps"], {})
    asked = (repository.parent / "sudo").read_text().split()
    assert {word for word in asked if word.startswith(("qemu", "lib"))} == PACKAGES
    names = [name.split("@")[0] for name, _ in runner.used]
    assert names == ["actions/checkout", "actions/setup-python", "actions/upload-artifact"]
    uploaded = repository / runner.used[-1][1]["path"]
    for target in ("pi3", "pi3_64"):
        files = {f.name for f in (uploaded / target).iterdir()}
        assert {"libmodel.so", "model.h", "model.py", "model_labels.h"} <= files
    lines = runner.summary.splitlines()
    assert [re.match(r"model for (\w+) in .*flash [\d,]+ bytes", x)[1] for x in lines] == [  # type: ignore[index]
        "pi3",
        "pi3_64",
    ]
    left = {f.name for f in repository.iterdir()}
    assert left == {".github", "labels.txt", "model.onnx", "networks"}


@pytest.mark.slow
def test_the_action_without_options(runner: Runner, repository: Path) -> None:
    given = {"model": "model.onnx", "check": "false", "artifact": "mine"}
    step = {"uses": "./.github/actions/ellc-compile", "id": "ellc", "with": given}
    outputs = runner.run([step], {})
    assert (repository / outputs["ellc"]["folder"] / "pi3_64" / "libmodel.so").is_file()
    assert runner.used[-1][1]["name"] == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", [{"model": "nothing.onnx"}, {"model": "model.onnx", "targets": "toaster"}]
)
def test_a_failure_of_ellc_fails_the_step(runner: Runner, wrong: dict[str, str]) -> None:
    step = {"uses": "./.github/actions/ellc-compile", "with": wrong}
    with pytest.raises(AssertionError, match="error\\[E"):
        runner.run([step], {})


def test_inputs_are_no_part_of_a_shells_program() -> None:
    steps = read(EXAMPLE / "action.yml")["runs"]["steps"]
    assert not [s for s in steps if "${{" in s.get("run", "")]
    assert all(s["shell"] == "bash" for s in steps if "run" in s)


def test_the_readme_has_the_actions_inputs() -> None:
    rows = re.findall(
        r"(?m)^\| `([\w-]+)` \| (?:`([^`]+)`)? ?\|", (EXAMPLE / "README.md").read_text()
    )
    inputs = read(EXAMPLE / "action.yml")["inputs"]
    wanted = {name: str(row.get("default", "")) for name, row in inputs.items()}
    assert {name: default for name, default in rows if name in wanted} == wanted


def docker_instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in order, with continuation lines joined."""
    text = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(" ", 1) for line in joined.splitlines() if line]
    return [(name, rest.strip()) for name, rest in found]


@pytest.mark.slow
def test_the_dockerfile_installs_what_is_needed(runner: Runner, tmp_path: Path) -> None:
    """Run the Dockerfile's RUN lines here; fake `apt-get` and `rm` only record their arguments."""
    instructions = docker_instructions()
    assert [name for name, _ in instructions] == (
        ["FROM", "RUN", "ARG", "RUN", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"]
    )
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/apt"\n')
    remove = tmp_path / "bin" / "rm"
    remove.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/removed"\n')
    for tool in (apt, remove):
        tool.chmod(0o755)
    variables = dict(runner.variables)
    for name, rest in instructions:
        if name == "ARG":
            key, value = rest.split("=", 1)
            variables[key] = shlex.split(value)[0]
        if name == "RUN":
            subprocess.run(["sh", "-ec", rest], cwd=tmp_path, env=variables, check=True)
    assert set((tmp_path / "apt").read_text().split()[-3:]) == PACKAGES
    assert (tmp_path / "removed").read_text().split()[-1].startswith("/var/lib/apt/lists")


def test_what_it_installs_is_what_the_tests_of_ellc_install() -> None:
    text = (ROOT / ".ci" / "system-packages").read_text(encoding="utf-8")
    assert set(text.split()) >= PACKAGES


def test_the_container_starts_ellc() -> None:
    instructions = dict(docker_instructions())
    words = [*yaml.safe_load(instructions["ENTRYPOINT"]), *yaml.safe_load(instructions["CMD"])]
    assert words == ["ellc", "--help"]
    ran = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.startswith("Usage: ")


@pytest.mark.parametrize("tool", ["actionlint", "hadolint"])
def test_a_linter_finds_nothing(tool: str, repository: Path) -> None:
    installed = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which(tool, path=installed)
    if program is None:
        pytest.skip(f"{tool} is not installed")
    file = ".github/workflows/network.yml" if tool == "actionlint" else EXAMPLE / "Dockerfile"
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    ran = subprocess.run(
        [program, file], cwd=repository, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
