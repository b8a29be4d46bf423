"""`import ellc` names a stranger's `ir` or `codegen` instead of failing somewhere deep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def import_ellc(*search: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """Import ellc with these folders first on the path."""
    program = f"import sys; sys.path[:0] = {[str(p) for p in search]!r}\n{code}\nimport ellc"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=False
    )


def test_own_siblings_are_accepted() -> None:
    assert import_ellc(ROOT).returncode == 0


@pytest.mark.parametrize("name", ["ir", "codegen"])
@pytest.mark.parametrize("form", ["package", "module", "already imported"])
def test_a_stranger_in_the_way_is_named(tmp_path: Path, name: str, form: str) -> None:
    if form == "module":
        (tmp_path / f"{name}.py").write_text("")
        stranger = tmp_path / f"{name}.py"
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        stranger = tmp_path / name
    code = f"import {name}" if form == "already imported" else ""
    done = import_ellc(tmp_path, ROOT, code=code)
    assert done.returncode == 1
    assert f"ImportError: ellc needs its own package '{name}'" in done.stderr
    assert str(stranger) in done.stderr
    assert "pipx install ellc" in done.stderr


def test_a_missing_sibling_is_named(tmp_path: Path) -> None:
    (tmp_path / "ellc").mkdir()
    (tmp_path / "ellc" / "__init__.py").write_text((ROOT / "ellc" / "__init__.py").read_text())
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ellc"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert "ImportError: ellc needs its own package 'ir'" in done.stderr
    assert "reinstall" in done.stderr
