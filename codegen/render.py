"""Text from the templates in `codegen/templates`."""

from __future__ import annotations

import functools

import jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("codegen"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, /, **values: object) -> str:
    """Fill a template; a name it uses and is not given is an error."""
    return _environment().get_template(template).render(**values)
