"""Test the symbolic links of the packages, and the error message of a checkout without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = {"ellc/ir": "../ir", "ellc/codegen": "../codegen", "codegen/runtime_c": "../runtime_c"}


@pytest.mark.parametrize("link", LINKS)
def test_a_folder_is_linked_by_a_relative_path(link: str) -> None:
    assert (ROOT / link).readlink() == Path(LINKS[link])


@pytest.mark.parametrize("as_git_writes_it", [True, False])
def test_a_checkout_without_links_says_so(tmp_path: Path, as_git_writes_it: bool) -> None:
    (tmp_path / "ellc").mkdir()
    (tmp_path / "ellc" / "__init__.py").write_bytes((ROOT / "ellc" / "__init__.py").read_bytes())
    if as_git_writes_it:
        for name in ("ir", "codegen"):
            (tmp_path / "ellc" / name).write_text(f"../{name}")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ellc.ir"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    said = done.stderr.splitlines()[-1]
    assert said.startswith("ImportError: ") and "should be symbolic links" in said
    assert "git config core.symlinks true" in said and "pip install ellc-compiler" in said


@pytest.mark.slow
def test_strangers_of_the_same_names_are_never_imported(tmp_path: Path) -> None:
    for name in ("ir", "codegen"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "import ellc.cli, ellc.driver, ellc.ir.pipeline, ellc.codegen.output.build"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
