"""Fills the templates in `codegen/templates`, and the HTML templates of other packages.

A template may write integers and texts of its own language (`foreign_text.py`). Writing anything
else, such as a plain string, is an error. Most filters of a template are the functions of
`foreign_text.py` for its language.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
from collections.abc import Callable

import jinja2

from ellc.codegen.languages.foreign_text import (
    CCode,
    CMakeCode,
    HtmlCode,
    Identifier,
    JsCode,
    Language,
    PythonCode,
    c_double,
    c_string,
    checked,
    cmake_file,
    comment,
    html_text,
    joined,
    js_literal,
    python_literal,
)
from ellc.codegen.languages.names import wrapper_name
from ellc.ir.printable import visible
from ellc.ir.types import DType


def render(template: str, /, **values: object) -> str:
    """Fill a template of C."""
    return environment(CCode).get_template(template).render(**values)


def render_python(template: str, /, **values: object) -> str:
    """Fill a template of Python."""
    return environment(PythonCode).get_template(template).render(**values)


def render_js(template: str, /, **values: object) -> str:
    """Fill a template of JavaScript or TypeScript."""
    return environment(JsCode).get_template(template).render(**values)


def render_html(template: str, /, package: str, **values: object) -> str:
    """Fill a template of HTML in the folder `templates` of a package."""
    return environment(HtmlCode, package).get_template(template).render(**values)


def render_cmake(template: str, /, **values: object) -> str:
    """Fill a template of CMake."""
    return environment(CMakeCode).get_template(template).render(**values)


def template_text(template: str) -> str:
    """The text of a file in `codegen/templates`, unchanged."""
    files = importlib.resources.files("ellc.codegen")
    return files.joinpath("templates", template).read_text(encoding="utf-8")


@functools.cache
def environment(language: Language, package: str = "ellc.codegen") -> jinja2.Environment:
    """The environment for the templates of a language.

    Undefined names and foreign text in a template raise errors.
    """
    jinja = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: checked(value, language),
    )
    jinja.filters |= _COMMON_FILTERS | _FILTERS[language]
    return jinja


def _hex(value: int, digits: int) -> CCode:
    return CCode(f"0x{value:0{digits}x}u")


def _numpy_name(dtype: DType) -> PythonCode:
    return PythonCode(f"np.{'bool_' if dtype in (DType.BIT, DType.BOOL) else dtype.numpy.name}")


_JS_ARRAYS: dict[DType, str] = {
    DType.F64: "Float64Array",
    DType.F32: "Float32Array",
    DType.I64: "BigInt64Array",
    DType.U64: "BigUint64Array",
    DType.I32: "Int32Array",
    DType.U32: "Uint32Array",
    DType.I16: "Int16Array",
    DType.U16: "Uint16Array",
    DType.I8: "Int8Array",
    DType.U8: "Uint8Array",
    DType.BOOL: "Uint8Array",
    DType.BIT: "Uint8Array",
}


def _js_array(dtype: DType) -> JsCode:
    return JsCode(_JS_ARRAYS[dtype])


_COMMON_FILTERS: dict[str, Callable[..., object]] = {
    "comment": comment,
    "identifier": Identifier,
    "visible": visible,
    "product": math.prod,
}
_FILTERS: dict[type, dict[str, Callable[..., object]]] = {
    CCode: {"text": c_string, "number": c_double, "hex": _hex, "joined": joined},
    PythonCode: {"py": python_literal, "numpy": _numpy_name, "wrapper": wrapper_name},
    CMakeCode: {"file": cmake_file},
    JsCode: {"js": js_literal, "array": _js_array},
    HtmlCode: {"text": html_text},
}
