"""Options that several commands have."""

from __future__ import annotations

import click


def _complete_target(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from codegen.targets import target_names

    return [name for name in target_names() if name.startswith(incomplete)]


# Not a `Choice`: a wrong name is reported by `resolve`, which says what may have been meant.
target_option = click.option(
    "-t",
    "--target",
    default="host",
    show_default=True,
    metavar="TARGET",
    shell_complete=_complete_target,
    help="Machine to make code for: see `ellc targets`.",
)
