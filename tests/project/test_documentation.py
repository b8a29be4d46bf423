"""Test the documentation: generated pages are complete, links are valid, the site can be built."""

from __future__ import annotations

import importlib.util
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from ellc.cli import cli
from ellc.error_codes import ERROR_CODES
from ellc.support import FORMATS, supported

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generator: ModuleType) -> dict[str, str]:
    """All pages of the site by name: those in docs/ and generated ones."""
    written = {p.relative_to(DOCS).as_posix(): p.read_text("utf-8") for p in DOCS.rglob("*.md")}
    made = generator.pages()
    assert not written.keys() & made.keys()
    return {**written, **made}


def test_every_page_is_in_the_navigation(pages: dict[str, str]) -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(pages)


def test_links_lead_to_pages(pages: dict[str, str]) -> None:
    lost = []
    for name, text in pages.items():
        for target in LINK.findall(text):
            # Like mkdocs, accept no path that leaves docs/, even if it returns.
            found = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if found not in pages and (found.startswith("..") or not (DOCS / found).is_file()):
                lost.append(f"{name}: {target}")
    assert not lost


def test_links_of_the_readme_lead_to_files() -> None:
    links = LINK.findall((ROOT / "README.md").read_text("utf-8"))
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_every_command_and_option_is_described(pages: dict[str, str]) -> None:
    page, readme = pages["reference/commands.md"], (ROOT / "README.md").read_text("utf-8")
    context = click.Context(cli, info_name="ellc")
    for name in cli.list_commands(context):
        assert f"## ellc {name}\n" in page
        assert f"`ellc {name}" in readme
        command = cli.get_command(context, name)
        assert command is not None
        for option in (o for p in command.params for o in p.opts if o.startswith("--")):
            assert option in page, f"{name} {option}"


def test_every_error_code_has_its_heading(pages: dict[str, str]) -> None:
    headings = re.findall(r"^### (E\d+): ", pages["reference/error-codes.md"], re.MULTILINE)
    assert headings == list(ERROR_CODES)


@pytest.mark.parametrize("form", FORMATS)
def test_every_operator_that_is_read_is_listed(pages: dict[str, str], form: str) -> None:
    page = pages[f"reference/operators-{form}.md"]
    missing = [r for r in supported(form) if f"`{r.operator}`" not in page or r.limits not in page]
    assert not missing


def test_tables_keep_their_columns(generator: ModuleType) -> None:
    assert generator.table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed (make docs)")
    pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed (make docs)")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    api = (tmp_path / "site" / "reference" / "api.html").read_text("utf-8")
    assert "compile_model" in api
