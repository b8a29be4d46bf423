"""Measure how much stack a call uses: paint the stack before it, and examine it after it.

On Linux, the call runs on a thread whose stack is filled with a pattern below the caller's frame. A
board without an operating system has one stack, of which the bytes below the frame are filled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.output.build import BuildOptions, build
from ellc.codegen.output.model import Model
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.bare_metal import templates
from ellc.codegen.toolchain.programs import build_program, library_here

_STACK_POINTER = """
#ifdef __x86_64__
#define STACK_POINTER(sp) __asm__ volatile("mov %%rsp, %0" : "=r"(sp))
#elif defined(__riscv)
#define STACK_POINTER(sp) __asm__ volatile("mv %0, sp" : "=r"(sp))
#else
#define STACK_POINTER(sp) __asm__ volatile("mov %0, sp" : "=r"(sp))
#endif
"""

_LINUX = """
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
enum { STACK_BYTES = 1 << 20 };
static unsigned char *stack;
static void *room(size_t bytes) {
    void *made = aligned_alloc(64, (bytes + 127) / 64 * 64);
    unsigned char *p = made;
    for (size_t i = 0; made && i < bytes; i++) p[i] = 0;
    return made;
}
"""

_BARE = """
#include "bare/semihosting.h"
enum { STACK_BYTES = 1 << 16 };
extern unsigned char stack_top[], pool_begin[];
static unsigned char *stack, *next_room = pool_begin;
static void *room(size_t bytes) {
    unsigned char *made = next_room;
    next_room += (bytes + 127) / 64 * 64;
    for (size_t i = 0; i < bytes; i++) made[i] = 0;
    return made;
}
"""

_MEASURE = """
enum { PAINT = 0xA5 };
typedef struct {
    int (*init)(void *, void *, size_t);
    int (*predict)(void *, const void *const *, void *const *);
    size_t arena, n_in, n_out;
    const size_t *in, *out;
    long used;
    int status;
} test;
#define PAINTED(call) do { \
    unsigned char *sp; volatile unsigned char *p; \
    STACK_POINTER(sp); \
    for (p = stack; p < sp; p++) *p = PAINT; \
    t->status |= (call); \
    for (p = stack; p < sp && *p == PAINT; p++) {} \
    if (sp - p > t->used) t->used = sp - p; } while (0)
static void *measured(void *argument) {
    test *t = argument;
    void *in[64], *out[64], *model = room(1024), *arena = room(t->arena);
    for (size_t i = 0; i < t->n_in; i++) in[i] = room(t->in[i]);
    for (size_t i = 0; i < t->n_out; i++) out[i] = room(t->out[i]);
    PAINTED(t->init(model, arena, t->arena));
    PAINTED(t->predict(model, (const void *const *)in, out));
    PAINTED(t->predict(model, (const void *const *)in, out));
    return 0;
}
"""

_RUN_ON_LINUX = """
int main(void) {
    stack = aligned_alloc(65536, STACK_BYTES);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        pthread_attr_t attributes; pthread_t thread;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstack(&attributes, stack, STACK_BYTES)) return 2;
        if (pthread_create(&thread, &attributes, measured, &tests[i])) return 3;
        pthread_join(thread, 0);
        if (tests[i].status) return 4;
        printf("%ld\\n", tests[i].used);
    }
    return 0;
}
"""

_RUN_BARE = """
int main(void) {
    intptr_t said = host_open("stdout", HOST_MODE_WRITE);
    stack = stack_top - STACK_BYTES;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        char digits[12];
        size_t at = sizeof digits;
        next_room = pool_begin;
        measured(&tests[i]);
        if (tests[i].status) return 4;
        digits[--at] = '\\n';
        do digits[--at] = (char)('0' + tests[i].used % 10); while (tests[i].used /= 10);
        if (!host_write(said, digits + at, sizeof digits - at)) return 5;
    }
    return 0;
}
"""


@dataclass(frozen=True)
class StackUse:
    """Bytes of the stack that were declared and used."""

    said: int
    used: int


def measure_stacks(plans: Sequence[Plan], target: Target) -> list[StackUse]:
    """For each plan on one thread: (stack in the manifest, stack that init and two calls use)."""
    with tempfile.TemporaryDirectory(prefix="ellc-stacks-") as folder:
        return _measured(plans, target, Path(folder))


def _measured(plans: Sequence[Plan], target: Target, folder: Path) -> list[StackUse]:
    objects: list[Path] = []
    said: list[int] = []
    text = [_STACK_POINTER, _BARE if target.board else _LINUX, _MEASURE]
    rows: list[str] = []
    for index, plan in enumerate(plans):
        name = f"m{index}"
        built = build(plan, name, ("h", "obj"), folder, BuildOptions("test"))
        objects += built.files["obj"]
        assert built.stack_bytes is not None
        said.append(built.stack_bytes)
        text += _declared(built.model)
        rows.append(_row(built.model))
    text.append(f"static test tests[] = {{ {', '.join(rows)} }};")
    source = folder / "stacks.c"
    text.append(_RUN_BARE if target.board else _RUN_ON_LINUX)
    source.write_text("\n".join(text), encoding="utf-8")
    program = folder / "stacks"
    options, library = ["-std=c11", f"-I{templates()}"], library_here(target)
    build_program(target, [source], objects, program, options=options, library=library)
    used = [int(line) for line in emulate.run(target, [program]).split()]
    return [StackUse(s, u) for s, u in zip(said, used, strict=True)]


def _declared(model: Model) -> list[str]:
    ports = {"in": model.inputs, "out": model.outputs}
    text = [
        f"extern int {model.name}_init(void *, void *, size_t);",
        f"extern int {model.name}_predict_v(void *, const void *const *, void *const *);",
    ]
    for word, of_way in ports.items():
        sizes = "".join(f"{port.bytes}, " for port in of_way)
        text.append(f"static const size_t {model.name}_{word}[] = {{ {sizes}0 }};")
    return text


def _row(model: Model) -> str:
    counts = f"{model.arena_bytes}, {len(model.inputs)}, {len(model.outputs)}"
    name = model.name
    return f"{{ {name}_init, {name}_predict_v, {counts}, {name}_in, {name}_out, 0, 0 }}"
