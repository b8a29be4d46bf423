"""Run the shell commands in the steps of a GitHub workflow on this machine.

If a step uses an action of the checkout (`./.github/actions/NAME`), the steps of that action are
run. If it uses another repository's action, the action is only recorded. The supported expressions
are `inputs.NAME` and `steps.ID.outputs.NAME`; any other is an error.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{ *([^}]+?) *\}\}")
_CONDITION = re.compile(r"([\w.-]+) == '([^']*)'")


def read(file: Path) -> dict[str, Any]:
    """The content of a YAML file. The key `on`, which YAML reads as true, stays a string."""
    loaded: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in loaded.items()}


@dataclass
class Runner:
    """Runs steps in a checkout, with given environment variables, and records their effects."""

    folder: Path
    variables: Mapping[str, str]
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The actions of other repositories that steps use, each with its inputs."""
    summary: str = ""

    def run(self, steps: list[dict[str, Any]], inputs: Mapping[str, str]) -> dict[str, Any]:
        """Run steps in order. Returns their outputs by the steps' `id`."""
        outputs: dict[str, Any] = {}
        for step in steps:
            if "if" in step and not self._holds(step["if"], inputs, outputs):
                continue
            made = self._action(step, inputs, outputs) if "uses" in step else None
            if "run" in step:
                made = self._shell(step, inputs, outputs)
            outputs[step.get("id", "")] = made
        return outputs

    def _action(
        self, step: dict[str, Any], inputs: Mapping[str, str], outputs: dict[str, Any]
    ) -> dict[str, str]:
        given = {
            name: _filled(str(value), inputs, outputs)
            for name, value in step.get("with", {}).items()
        }
        if not step["uses"].startswith("./"):
            self.used.append((step["uses"], given))
            return {}
        action = read(self.folder / step["uses"] / "action.yml")
        known = action["inputs"]
        assert set(given) <= set(known)
        assert not [n for n, row in known.items() if row.get("required") and n not in given]
        filled = {name: given.get(name, row.get("default", "")) for name, row in known.items()}
        inner = self.run(action["runs"]["steps"], filled)
        return {
            name: _filled(row["value"], filled, inner)
            for name, row in action.get("outputs", {}).items()
        }

    def _shell(
        self, step: dict[str, Any], inputs: Mapping[str, str], outputs: dict[str, Any]
    ) -> dict[str, str]:
        """Run a step like GitHub: bash ends at the first failure. Returns the outputs."""
        assert not _EXPRESSION.search(step["run"]), "a value is inserted into the shell's program"
        files = {
            n: self.folder.parent / n.lower() for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
        }
        for file in files.values():
            file.write_text("")
        env = {n: _filled(v, inputs, outputs) for n, v in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={**self.variables, **{n: str(f) for n, f in files.items()}, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step['run']}\n{done.stdout}{done.stderr}"
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def _holds(self, condition: str, inputs: Mapping[str, str], outputs: dict[str, Any]) -> bool:
        found = _CONDITION.fullmatch(condition)
        assert found, condition
        return _value(found[1], inputs, outputs) == found[2]


def _filled(text: str, inputs: Mapping[str, str], outputs: dict[str, Any]) -> str:
    return _EXPRESSION.sub(lambda m: _value(m[1], inputs, outputs), text)


def _value(name: str, inputs: Mapping[str, str], outputs: dict[str, Any]) -> str:
    match name.split("."):
        case ["inputs", key]:
            return inputs[key]
        case ["steps", step, "outputs", key]:
            return str(outputs[step][key])
    raise AssertionError(f"unsupported expression: {name}")
