/* Runs compiled cases in one process: reads requests from stdin, and writes answers to stdout.
 *
 * Request: u32 case, u32 flags (bits 8 and up: the kind of junk), the bytes of all inputs.
 * Answer:  i32 status and, if the status is 0, the bytes of all outputs.
 *
 * Every buffer lies between guard pages, which must not be accessed, and is as close to the upper (or
 * lower) page as its alignment allows. It has only the promised alignment, not a larger one. There are
 * also guard pages around constants. All new memory (arena, instance, outputs, padding) is filled with
 * junk, so that tests find code that relies on its contents.
 */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    KEEP_STATE = 1,
    RESET = 2,
    JUNK_SHIFT = 8,
    INSTANCE_BYTES = 1024,
    INSTANCE_ALIGN = 16,
    ARENA_ALIGN = 64,
    GUARD_PAGES = 16, /* on either side of a buffer; they take no memory */
    STATUS_INPUT_CHANGED = -1001,
    STATUS_WROTE_OUTSIDE = -1002
};

/* A byte of junk. The kinds: 0xFF, which makes NaN and -1; 0x7F, which makes NaN and large numbers; 0;
 * irregular bytes. */
static unsigned char junk(unsigned kind, size_t place)
{
    switch (kind) {
    case 0: return 0xFF;
    case 1: return 0x7F;
    case 2: return 0x00;
    default: return (unsigned char)(((uint32_t)place * 2654435761u) >> 24);
    }
}

static void fill(unsigned char *data, size_t bytes, unsigned kind)
{
    size_t i;
    if (kind < runner.junk_kinds - 1)
        memset(data, junk(kind, 0), bytes);
    else
        for (i = 0; i < bytes; i++)
            data[i] = junk(kind, i);
}

typedef struct {
    unsigned char *map, *begin, *end; /* begin..end may be accessed; guard pages before and after */
    unsigned char *data;
    extent size;
    unsigned kind; /* of the junk around the data */
} buffer;

static void fail(const char *what)
{
    fputs(what, stderr);
    fputc('\n', stderr);
    exit(3);
}

static size_t page_bytes; /* the page size of the system that runs this program */

static buffer allocate(extent size, unsigned kind)
{
    buffer result;
    size_t inside = (size.bytes + 2 * size.align + page_bytes) / page_bytes * page_bytes;
    size_t guard = GUARD_PAGES * page_bytes;
    void *map = mmap(0, inside + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        fail("runner: no memory");
    result.map = map;
    result.begin = result.map + guard;
    result.end = result.begin + inside;
    result.size = size;
    result.kind = kind;
    if (mprotect(result.begin, inside, PROT_READ | PROT_WRITE))
        fail("runner: mprotect");
    fill(result.begin, inside, kind);
    uintptr_t at = (uintptr_t)(runner.at_start ? result.begin : result.end - size.bytes) / size.align * size.align;
    if (at / size.align % 2 == 0) /* align to `align`, but not to twice as much */
        at = runner.at_start ? at + size.align : at - size.align;
    result.data = (unsigned char *)at;
    return result;
}

static void release(buffer *old)
{
    if (old->map)
        munmap(old->map, (size_t)(old->end - old->begin) + 2 * GUARD_PAGES * page_bytes);
    old->map = 0;
}

static int intact(const buffer *b)
{
    const unsigned char *p;
    for (p = b->begin; p < b->data; p++)
        if (*p != junk(b->kind, (size_t)(p - b->begin)))
            return 0;
    for (p = b->data + b->size.bytes; p < b->end; p++)
        if (*p != junk(b->kind, (size_t)(p - b->begin)))
            return 0;
    return 1;
}

enum { MAX_BUFFERS = 64 };

typedef struct {
    const test_case *test;
    buffer instance, arena;
} live;

static void retire(live *now)
{
    if (!now->test)
        return;
    if (now->test->destroy)
        now->test->destroy(now->instance.data);
    release(&now->instance);
    release(&now->arena);
    now->test = 0;
}

static int start(live *now, const test_case *test, unsigned kind)
{
    extent arena = { test->arena_bytes, ARENA_ALIGN }, instance = { INSTANCE_BYTES, INSTANCE_ALIGN };
    int status = 0;
    retire(now);
    now->arena = allocate(arena, kind);
    now->instance = allocate(instance, kind);
    if (test->init) {
        status = test->init(now->instance.data, now->arena.data, test->arena_bytes);
        if (!status && test->set_threads)
            status = test->set_threads(now->instance.data, test->threads);
    }
    if (status) {
        release(&now->instance);
        release(&now->arena);
    } else {
        now->test = test;
    }
    return status;
}

static int call(live *now, buffer *in, buffer *out)
{
    const test_case *test = now->test;
    const void *in_pointers[MAX_BUFFERS];
    void *out_pointers[MAX_BUFFERS];
    size_t i;
    int status;
    for (i = 0; i < test->n_in; i++)
        in_pointers[i] = in[i].data;
    for (i = 0; i < test->n_out; i++)
        out_pointers[i] = out[i].data;
    status = test->function ? test->function(now->arena.data, in_pointers, out_pointers)
                            : test->predict(now->instance.data, in_pointers, out_pointers);
    if (status)
        return status;
    for (i = 0; i < test->n_in; i++)
        if (!intact(&in[i]))
            return STATUS_WROTE_OUTSIDE;
    for (i = 0; i < test->n_out; i++)
        if (!intact(&out[i]))
            return STATUS_WROTE_OUTSIDE;
    if (!intact(&now->arena) || !intact(&now->instance))
        return STATUS_WROTE_OUTSIDE;
    return 0;
}

static int32_t answer(live *now, const test_case *test, uint32_t flags, buffer *in, buffer *out)
{
    int32_t status = 0;
    size_t i;
    unsigned kind = (flags >> JUNK_SHIFT) % runner.junk_kinds;
    unsigned char *copies[MAX_BUFFERS];
    for (i = 0; i < test->n_in; i++) {
        in[i] = allocate(test->in[i], kind);
        copies[i] = malloc(test->in[i].bytes + 1);
        if (!copies[i])
            fail("runner: no memory");
        if (fread(in[i].data, 1, test->in[i].bytes, stdin) != test->in[i].bytes)
            fail("runner: request ends early");
        memcpy(copies[i], in[i].data, test->in[i].bytes);
    }
    for (i = 0; i < test->n_out; i++)
        out[i] = allocate(test->out[i], kind);
    if (now->test != test || !(flags & KEEP_STATE))
        status = start(now, test, kind);
    if (!status && flags & RESET && test->reset)
        test->reset(now->instance.data);
    if (!status)
        status = call(now, in, out);
    for (i = 0; i < test->n_in; i++) {
        if (!status && memcmp(copies[i], in[i].data, test->in[i].bytes))
            status = STATUS_INPUT_CHANGED;
        free(copies[i]);
    }
    return status;
}

static void guard_constants(void)
{
    size_t i;
    if (page_bytes != runner.guard_bytes)
        return;
    for (i = 0; runner.guards[i]; i++)
        if (mprotect((void *)runner.guards[i], runner.guard_bytes, PROT_NONE))
            fail("runner: mprotect of constants");
}

int main(void)
{
    static buffer in[MAX_BUFFERS], out[MAX_BUFFERS];
    live now = { 0 };
    uint32_t request[2];
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    guard_constants();
    while (fread(request, sizeof request, 1, stdin) == 1) {
        const test_case *test;
        int32_t status;
        size_t i;
        if (request[0] >= runner.n_cases)
            fail("runner: no such case");
        test = &runner.cases[request[0]];
        if (test->n_in > MAX_BUFFERS || test->n_out > MAX_BUFFERS)
            fail("runner: too many buffers");
        status = answer(&now, test, request[1], in, out);
        fwrite(&status, sizeof status, 1, stdout);
        for (i = 0; !status && i < test->n_out; i++)
            fwrite(out[i].data, 1, test->out[i].bytes, stdout);
        fflush(stdout);
        for (i = 0; i < test->n_in; i++)
            release(&in[i]);
        for (i = 0; i < test->n_out; i++)
            release(&out[i]);
    }
    retire(&now);
    return 0;
}
