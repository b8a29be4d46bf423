/* Runs compiled cases in one process: reads requests from stdin, and writes answers to stdout.
 *
 * Request: u32 case, u32 flags (bits 8 and up: the kind of junk), the bytes of all inputs.
 * Answer:  i32 status and, if the status is 0, the bytes of all outputs.
 *
 * On Linux, every buffer lies between guard pages, which must not be accessed, and is as close to the
 * upper (or lower) page as its alignment allows; there are also guard pages around constants. Without an
 * operating system, there are margins full of junk instead. A buffer has only the promised alignment, not a
 * larger one. All new memory (arena, instance, outputs, padding) is filled with junk, so that tests find
 * code that relies on its contents. The program checks after a call that the junk around buffers is intact.
 */
#include "runner.h"

enum {
    KEEP_STATE = 1,
    RESET = 2,
    JUNK_SHIFT = 8,
    INSTANCE_BYTES = 1024,
    INSTANCE_ALIGN = 16,
    ARENA_ALIGN = 64,
    STATUS_INPUT_CHANGED = -1001,
    STATUS_WROTE_OUTSIDE = -1002
};

/* Memory from the system: between two guards, or with nothing around it. */
typedef struct {
    unsigned char *begin, *end;
} room;
typedef enum { ONE_CALL, ONE_MODEL } lifetime;

#if __STDC_HOSTED__
#include "runner_linux.h"
#else
#include "runner_bare.h"
#endif

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
    room around; /* which may be accessed */
    lifetime lasts;
    unsigned char *data;
    extent size;
    unsigned kind; /* of the junk around the data */
} buffer;

static buffer allocate(extent size, unsigned kind, lifetime lasts)
{
    buffer result;
    room around = take(size.bytes + 2 * size.align + 2 * MARGIN, lasts);
    uintptr_t at;
    fill(around.begin, (size_t)(around.end - around.begin), kind);
    at = (uintptr_t)(runner.at_start ? around.begin + MARGIN : around.end - MARGIN - size.bytes);
    at &= ~(uintptr_t)(size.align - 1);
    if ((at & size.align) == 0) /* align to `align`, but not to twice as much */
        at = runner.at_start ? at + size.align : at - size.align;
    result.around = around;
    result.lasts = lasts;
    result.data = (unsigned char *)at;
    result.size = size;
    result.kind = kind;
    return result;
}

static void release(buffer *old)
{
    if (old->around.begin)
        give_back(old->around, old->lasts);
    old->around.begin = 0;
}

static int intact(const buffer *b)
{
    const unsigned char *p;
    for (p = b->around.begin; p < b->data; p++)
        if (*p != junk(b->kind, (size_t)(p - b->around.begin)))
            return 0;
    for (p = b->data + b->size.bytes; p < b->around.end; p++)
        if (*p != junk(b->kind, (size_t)(p - b->around.begin)))
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
    now->arena = allocate(arena, kind, ONE_MODEL);
    now->instance = allocate(instance, kind, ONE_MODEL);
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
    unsigned kind = flags >> JUNK_SHIFT;
    room copies[MAX_BUFFERS];
    for (i = 0; i < test->n_in; i++) {
        in[i] = allocate(test->in[i], kind, ONE_CALL);
        copies[i] = take(test->in[i].bytes, ONE_CALL);
        if (read_bytes(in[i].data, test->in[i].bytes) != test->in[i].bytes)
            fail("runner: request ends early");
        memcpy(copies[i].begin, in[i].data, test->in[i].bytes);
    }
    for (i = 0; i < test->n_out; i++)
        out[i] = allocate(test->out[i], kind, ONE_CALL);
    if (now->test != test || !(flags & KEEP_STATE))
        status = start(now, test, kind);
    if (!status && flags & RESET && test->reset)
        test->reset(now->instance.data);
    if (!status)
        status = call(now, in, out);
    for (i = 0; i < test->n_in; i++) {
        if (!status && memcmp(copies[i].begin, in[i].data, test->in[i].bytes))
            status = STATUS_INPUT_CHANGED;
        give_back(copies[i], ONE_CALL);
    }
    return status;
}

int main(void)
{
    static buffer in[MAX_BUFFERS], out[MAX_BUFFERS];
    live now = { 0 };
    uint32_t request[2];
    begin_run();
    while (read_bytes(request, sizeof request) == sizeof request) {
        const test_case *test;
        int32_t status;
        size_t i;
        if (request[0] >= runner.n_cases)
            fail("runner: no such case");
        test = &runner.cases[request[0]];
        if (test->n_in > MAX_BUFFERS || test->n_out > MAX_BUFFERS)
            fail("runner: too many buffers");
        status = answer(&now, test, request[1], in, out);
        write_bytes(&status, sizeof status);
        for (i = 0; !status && i < test->n_out; i++)
            write_bytes(out[i].data, test->out[i].bytes);
        for (i = 0; i < test->n_in; i++)
            release(&in[i]);
        for (i = 0; i < test->n_out; i++)
            release(&out[i]);
    }
    retire(&now);
    return 0;
}
