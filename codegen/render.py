"""Text from the templates in `codegen/templates`."""

from __future__ import annotations

import functools

import jinja2


@functools.cache
def environment() -> jinja2.Environment:
    """How templates are read: blocks leave no blank lines, an unknown name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("codegen"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, /, **values: object) -> str:
    """Fill a template."""
    return environment().get_template(template).render(**values)
