"""Generate pages of the documentation from the code, so that they are never out of date.

    python docs/generate.py FOLDER    # write the pages to a folder, to view them without mkdocs

mkdocs loads this file as a hook (`mkdocs.yml`) and adds what `pages` returns to the site.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

COPIES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": ".github/CONTRIBUTING.md",
    "security.md": ".github/SECURITY.md",
    "examples/index.md": "examples/README.md",
    "examples/app-cmake.md": "examples/app_cmake/README.md",
    "examples/camera.md": "examples/camera/README.md",
    "examples/cortex-m.md": "examples/cortex_m/README.md",
    "examples/side-by-side.md": "examples/side_by_side/README.md",
    "examples/keyword-spotter.md": "examples/keyword_spotter/README.md",
    "examples/ci.md": "examples/ci/README.md",
    "examples/digits.md": "examples/digits/README.md",
    "design/graph-ir.md": "ir/README.md",
    "design/passes.md": "ir/passes/README.md",
    "design/code.md": "codegen/README.md",
    "design/kernel-ir.md": "codegen/kir/README.md",
    "design/runtime.md": "runtime_c/README.md",
    "design/command-line.md": "ellc/README.md",
    "design/onnx.md": "ellc/frontends/onnx/README.md",
    "design/tflite.md": "ellc/frontends/tflite/README.md",
    "design/ell.md": "ellc/frontends/ell/README.md",
    "reference/onnx-attributes.md": "ellc/frontends/onnx/ATTRIBUTES.md",
    "reference/tflite-options.md": "ellc/frontends/tflite/OPTIONS.md",
}
"""Pages that are copies of files in the checkout: READMEs of folders are pages of the design."""


def pages() -> dict[str, str]:
    """The Markdown of every generated page, by its path in `docs/`."""
    made = {page: _copied(page, source) for page, source in COPIES.items()}
    made["reference/commands.md"] = commands_page()
    made["reference/error-codes.md"] = error_codes_page()
    made["reference/targets.md"] = targets_page()
    made["reference/graph-operators.md"] = graph_operators_page()
    made["reference/zoo.md"] = zoo_page()
    made.update(format_pages())
    return made


def _copied(page: str, source: str) -> str:
    """The text of a file in the checkout, with links to files replaced by links to their pages."""
    folder = (ROOT / source).parent
    places = {path.resolve(): path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    places |= {(ROOT / file).resolve(): name for name, file in COPIES.items()}
    up = "../" * page.count("/")

    def link(match: re.Match[str]) -> str:
        name = places.get((folder / match[2]).resolve())
        return f"[{match[1]}]({up}{name})" if name else match[0]

    text = (ROOT / source).read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#]+)\)", link, text)


# ---- the command line ----------------------------------------------------------------------------


def commands_page() -> str:
    """The page of commands, with the help and options that click has."""
    import click

    from ellc.cli import cli

    context = click.Context(cli, info_name="ellc")
    parts = ["# Commands", _help(cli), "```text\n" + (cli.epilog or "").strip("\b\n") + "\n```"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, f"ellc {name}", context, level=2)
    return "\n\n".join(parts) + "\n"


def _command(command: click.Command, title: str, parent: Any, level: int) -> Iterator[str]:
    import click

    context = click.Context(command, info_name=title.split()[-1], parent=parent)
    yield f"{'#' * level} {title}"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    yield _help(command)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{title} {name}", context, level + 1)
        return
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    rows = [option.get_help_record(context) for option in options]
    cells = [(f"`{names}`", _literal(" ".join(said.split()))) for names, said in filter(None, rows)]
    yield table(("option", "meaning"), cells)


def _help(command: click.Command) -> str:
    """A help text as Markdown, in which `a * b` and `<b>` must not become markup."""
    text = (command.help or "").replace("\f", "").replace("\b\n", "")
    return _literal("\n".join(map(str.strip, text.splitlines())))


def _literal(text: str) -> str:
    """Text with escaped *, < and [; text between backticks is unchanged."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<>\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


# ---- tables from registries ----------------------------------------------------------------------


def error_codes_page() -> str:
    """The page of error codes, with the cause and the remedy of each."""
    from ellc.error_codes import ERROR_CODES, group_of

    parts = [
        "# Error codes",
        "If a model, a picture or an option has problems, the command prints `error[CODE]` with "
        "the location, all problems that it found, and a hint, and ends with exit code 2. "
        "Codes are stable, so scripts may test for them (`EllcError.code`). "
        "Exit code 3 means an internal error, which is a bug in ellc.",
    ]
    group = ""
    for row in ERROR_CODES.values():
        if group_of(row.code) != group:
            group = group_of(row.code)
            parts.append(f"## {group}")
        parts += [f"### {row.code}: {row.title}", f"**Cause.** {row.cause}"]
        parts.append(f"**Remedy.** {row.remedy}")
    return "\n\n".join(parts) + "\n"


def targets_page() -> str:
    """The page of targets."""
    from ellc.codegen.machine.resolve import fixed_targets

    cells = [
        (
            f"`{t.name}`",
            t.description,
            f"`{t.cpu}`",
            str(t.cores),
            f"{t.vector_bytes * 8} bit" if t.vector_bytes > 4 else "none",
            f"`{t.shared_suffix}`",
        )
        for t in fixed_targets()
    ]
    return (
        "# Targets\n\n`--target host`, the default, is the machine that runs the compiler. "
        "`--target custom` is another machine, which `--triple`, `--cpu` and `--features` describe "
        "with LLVM's names. `ellc targets` prints this table.\n\n"
        + table(("name", "machine", "CPU", "cores", "vectors", "makes"), cells)
        + "\n"
    )


def graph_operators_page() -> str:
    """The page of operators of the graph IR."""
    from ellc.commands.ops import kind, summary
    from ellc.ir.op import all_ops

    cells = [(f"`{name}`", kind(cls), _literal(summary(cls))) for name, cls in all_ops().items()]
    return (
        "# Operators of the graph IR\n\nImporters translate a network to these operators. "
        "*Pointwise* operators can be computed in the epilogue of the kernel before them. "
        "*Composite* operators are replaced by others. `ellc ops` prints this table.\n\n"
        + table(("operator", "kind", "meaning"), cells)
        + "\n"
    )


def format_pages() -> dict[str, str]:
    """A page for each format of model files: the supported operators, with their limits."""
    from ellc.support import FORMATS, NAMES, supported

    made = {}
    for form in FORMATS:
        rows = supported(form)
        whole = ", ".join(f"`{r.operator}`" for r in rows if not r.limits)
        limited: dict[str, list[str]] = {}
        for row in rows:
            if row.limits:
                limited.setdefault(row.limits, []).append(f"`{row.operator}`")
        parts = [
            f"# {NAMES[form]}: {len(rows)} operators",
            "This table is generated from the tables of the importer. `ellc ops --format "
            f"{form}` prints the same table.",
            "## Without limits",
            whole,
        ]
        if limited:
            cells = [(", ".join(names), limits) for limits, names in limited.items()]
            parts += ["## With limits", table(("operators", "what is supported"), cells)]
        made[f"reference/operators-{form}.md"] = "\n\n".join(parts) + "\n"
    return made


# ---- the zoo -------------------------------------------------------------------------------------


def zoo_page() -> str:
    """The page of the zoo: its networks with published figures, and all pages of ELL's gallery."""
    from ellc.zoo.catalogue import patterns
    from ellc.zoo.facts import facts

    _, sources = facts()
    parts = [
        "# The zoo",
        "`ellc zoo build`, `compile` and `inspect` make these published networks with random "
        "weights from a seed. Parameters and MACs are counted in these networks, after batch "
        "normalisation is folded. **Accuracies and times are published by others**; "
        "`ellc zoo show NAME` prints all of them with their sources. Networks of other widths and "
        "sizes have these names: " + ", ".join(f"`{pattern}`" for pattern in patterns()) + ".",
        "`--weights FILE` gives a network of this first table, except AlexNet and CaffeNet, "
        "trained weights from a PyTorch state dict, safetensors, `.npz`, Keras (`.h5`), ONNX or "
        "TensorFlow Lite file. `ellc zoo fetch` downloads published weights of "
        + ", ".join(_fetched())
        + ".",
        table(
            ("network", "input", "data", "parameters", "MACs", "top-1 %, published", "origin"),
            [_network_cells(name) for name in _own_facts()],
        ),
        "## Published times",
        table(("network", "ms", "board", "threads", "precision", "engine", "source"), [*_times()]),
        "## Published sizes that differ",
        "A test compares every published size with the network, in all published digits. These "
        "sizes differ, for the given reasons.",
        table(("network", "size", "published", "here", "reason", "source"), [*_differences()]),
        *_gallery_parts(),
        "## Sources",
        "\n".join(f"* {name}: [{row.title}]({row.url})" for name, row in sources.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _fetched() -> list[str]:
    """The networks with trained weights that `ellc zoo fetch` can download."""
    from ellc.zoo.facts import facts

    return [f"`{name}`" for name, row in facts()[0].items() if row.weights]


def _own_facts() -> list[str]:
    """The names of the networks that are not from ELL's gallery."""
    from ellc.zoo import networks

    return [network.name for network in networks() if network.origin != "ELL gallery"]


def _network_cells(name: str) -> tuple[str, ...]:
    from ellc.zoo import find
    from ellc.zoo.facts import PRECISIONS, facts
    from ellc.zoo.measured import NetworkSizes

    network, row, sizes = find(name), facts()[0][name], NetworkSizes(name).folded
    shares: dict[str, str] = {}
    for accuracy in row.accuracies:
        shares.setdefault(accuracy.precision, f"{accuracy.top1:g} ({accuracy.precision})")
    return (
        f"`{name}`",
        "x".join(map(str, network.input)),
        row.dataset,
        f"{sizes.parameters:,}",
        f"{sizes.macs:,}",
        ", ".join(shares[precision] for precision in PRECISIONS if precision in shares),
        network.origin,
    )


def _times() -> Iterator[tuple[str, ...]]:
    from ellc.zoo.facts import facts

    for name in _own_facts():
        for row in facts()[0][name].speeds:
            threads = str(row.threads or "")
            yield (
                *(f"`{name}`", f"{row.ms:g}", row.board, threads, row.precision, row.engine),
                row.source,
            )


def _differences() -> Iterator[tuple[str, ...]]:
    from ellc.zoo.facts import facts
    from ellc.zoo.measured import NetworkSizes

    for name in _own_facts():
        for row in facts()[0][name].sizes:
            if row.difference:
                ours = f"{NetworkSizes(name).of(row):,.0f}"
                yield f"`{name}`", row.of, row.published, ours, row.difference, row.source


def _gallery_parts() -> Iterator[str]:
    """The table of all pages of ELL's gallery: how a network is built from a page, or why not."""
    from ellc.zoo.facts import facts
    from ellc.zoo.gallery import pages
    from ellc.zoo.plots import missing, plots, twice

    built = {page.name: ("list of layers", page.inferred()) for page in pages()}
    for plot in plots():
        kind = "plot of the graph" if plot.inferred["layers"] == "plot" else "summary table"
        inferred = {key: said for key, said in plot.inferred.items() if key != "layers"}
        built[plot.name] = (kind, inferred)
    names = sorted({*built, *missing()})
    yield "## ELL's gallery, page by page"
    yield (
        f"Over the years, the gallery had {len(names) + len(twice())} pages of {len(names)} "
        f"networks: {', '.join(f'`{name}`' for name in twice())} have two pages each. ellc builds "
        f"{len(built)} of the networks from the facts on their pages. If a page lacks facts, the "
        "last column says where they come from (`ellc.zoo.gallery` explains its terms). Times are "
        "those of the last revision of the page, on a Raspberry Pi 3 at 700 MHz with Raspbian."
    )
    rows = []
    for name in names:
        row = facts()[0][name]
        share = f"{row.accuracies[0].top1:g}" if row.accuracies else ""
        ms = next((f"{x.ms:g}" for x in row.speeds if "Raspbian" in x.board), "")
        kind, inferred = built.get(name, ("", {}))
        said = ", ".join(f"{key}: {origin}" for key, origin in inferred.items())
        made = f"built from its {kind}" if kind else f"not built: {missing()[name]}"
        rows.append((f"`{name}`", share, ms, made, said))
    yield table(("page", "top-1 %", "ms", "in the zoo", "inferred"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a | in a cell is escaped."""
    lines = [head, ["---"] * len(head), *([c.replace("|", "\\|") for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- mkdocs --------------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site (a hook of mkdocs)."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    target = Path(sys.argv[1])
    for name, text in pages().items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, encoding="utf-8")
