"""`--emit zephyr|arduino|platformio|espidf`: documented layouts, built without their tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from digits_data import LABELS

from ellc.driver import CompileOptions, compile_model
from ellc.ir.errors import EllcError

MODEL = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits8.tflite"
KINDS = ("zephyr", "arduino", "platformio", "espidf")

needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
needs_gcc = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)
needs_pio = pytest.mark.skipif(
    not shutil.which("pio"), reason="pio (PlatformIO, from PyPI) is not installed"
)

# The functions of Zephyr's build that the module calls, as Zephyr's cmake/modules/extensions.cmake
# documents them, for libraries of plain CMake.
ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(application C)
function(zephyr_include_directories)
    foreach(folder ${ARGN})
        include_directories("${CMAKE_CURRENT_SOURCE_DIR}/${folder}")
    endforeach()
endfunction()
macro(zephyr_library_named name)
    set(ZEPHYR_CURRENT_LIBRARY ${name})
    add_library(${name} STATIC "")
endmacro()
function(zephyr_library_sources)
    target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
    target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
add_subdirectory("${MODULE}" module)
"""

# What ESP-IDF's build does with a component of a library, for plain CMake ("Build System", "CMake
# Component Functions").
ESPIDF = """
cmake_minimum_required(VERSION 3.16)
project(application C)
macro(idf_component_register)
    cmake_parse_arguments(_ "" "" "SRCS;SRC_DIRS;INCLUDE_DIRS;REQUIRES" ${ARGN})
    if(__UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "idf_component_register: ${__UNPARSED_ARGUMENTS}")
    endif()
    set(COMPONENT_LIB __idf_component)
    file(GLOB __sources "${CMAKE_CURRENT_SOURCE_DIR}/${__SRC_DIRS}/*.c")
    add_library(${COMPONENT_LIB} STATIC ${__sources})
    target_include_directories(${COMPONENT_LIB} PUBLIC ${__INCLUDE_DIRS})
endmacro()
add_subdirectory("${COMPONENT}" component)
"""

ARDUINO = """
#include <stddef.h>
struct Port {
    void begin(long) {}
    operator bool() const { return true; }
    void print(const char *) {}
    void print(double) {}
    void print(char) {}
    void print(unsigned long) {}
    void println(const char *) {}
    void println() {}
};
static Port Serial;
static unsigned long millis() { return 0; }
static unsigned long micros() { return 0; }
static void delay(unsigned long) {}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("libraries")
    options = CompileOptions(emit=KINDS, labels=LABELS, name="digits8")
    made = compile_model(MODEL, "imxrt1050", options, out)
    listed = made.manifest["files"]
    assert isinstance(listed, dict)
    assert {"zephyr/digits8/zephyr/module.yml", "arduino/digits8/library.properties"} <= {*listed}
    return out


def call(*words: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed. Returns what it prints."""
    ran = subprocess.run(
        [str(w) for w in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
@needs_cmake
@pytest.mark.parametrize("is_on", [False, True])
def test_zephyr_adds_the_network_if_its_option_is_set(
    is_on: bool, folder: Path, tmp_path: Path
) -> None:
    module = folder / "zephyr" / "digits8"
    lines = (module / "zephyr" / "module.yml").read_text().splitlines()
    assert lines[1:] == ["name: digits8", "build:", "  cmake: .", "  kconfig: Kconfig"]
    assert "config ELLC_DIGITS8\n\tbool " in (module / "Kconfig").read_text()
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR)
    option = f"-DCONFIG_ELLC_DIGITS8={'y' if is_on else ''}"
    call("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DMODULE={module}", option)
    call("cmake", "--build", tmp_path / "build")
    assert bool(list((tmp_path / "build").rglob("libdigits8.a"))) is is_on


@pytest.mark.slow
@needs_cmake
def test_esp_idf_builds_the_component(folder: Path, tmp_path: Path) -> None:
    component = folder / "espidf" / "digits8"
    lines = (component / "idf_component.yml").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["version", "description"]
    (tmp_path / "CMakeLists.txt").write_text(ESPIDF)
    call("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCOMPONENT={component}")
    call("cmake", "--build", tmp_path / "build")
    assert list((tmp_path / "build").rglob("lib__idf_component.a"))


@pytest.mark.slow
def test_arduino_has_the_documented_properties_and_a_sketch(folder: Path, tmp_path: Path) -> None:
    library = folder / "arduino" / "digits8"
    lines = (library / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category"}
    assert {*properties} >= required | {"architectures", "includes"}
    assert all(properties.values())
    assert properties["category"] in {"Data Processing", "Sensors", "Other"}
    assert (library / "src" / properties["includes"]).is_file()
    (sketch,) = (library / "examples").rglob("*.ino")
    assert sketch.stem == sketch.parent.name
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    include = ("-I", library / "src", "-I", tmp_path, "-include", "Arduino.h")
    warnings = ("-Wall", "-Werror", "-Wno-unused-function")
    call("c++", "-x", "c++", "-c", *warnings, *include, sketch, "-o", tmp_path / "sketch.o")


@pytest.mark.slow
@needs_gcc
@pytest.mark.parametrize("kind", KINDS)
def test_the_sources_compile_for_the_microcontroller(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    library = folder / kind / "digits8"
    include = library / ("src" if kind == "arduino" else "include")
    assert {p.name for p in include.glob("*.h")} == {"digits8.h", "digits8_labels.h"}
    assert [p.name for p in (library / "src").glob("*.c")] == ["digits8.c"]
    core = ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16")
    words = ("-std=gnu11", "-Os", "-Wall", "-Werror", "-I", include)
    source = library / "src" / "digits8.c"
    call("arm-none-eabi-gcc", *core, *words, "-c", source, "-o", tmp_path / "out.o")


@pytest.mark.slow
def test_the_description_for_platformio(folder: Path) -> None:
    document = json.loads((folder / "platformio" / "digits8" / "library.json").read_text())
    assert {"name", "version", "description", "frameworks", "platforms"} <= {*document}
    library = folder / "platformio" / "digits8"
    assert (library / document["build"]["includeDir"] / document["headers"]).is_file()
    assert list((library / document["build"]["srcDir"]).glob("*.c"))


@pytest.mark.slow
@needs_pio
def test_platformio_packs_it(folder: Path, tmp_path: Path) -> None:
    library = folder / "platformio" / "digits8"
    call("pio", "pkg", "pack", "-o", tmp_path / "digits8.tar.gz", cwd=library)
    assert (tmp_path / "digits8.tar.gz").is_file()


def test_a_computer_gets_no_library_folder(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="has an operating system") as caught:
        compile_model(MODEL, "pi3", CompileOptions(emit=("zephyr",)), tmp_path / "out")
    assert caught.value.code == "E323"
