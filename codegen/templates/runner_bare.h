/* What a runner (runner.c) needs without an operating system: memory from a pool, and two files of the host, by
 * semihosting (emulated boards) or by WASI (WebAssembly).
 *
 * Memory of one model is taken from the beginning of the pool, and memory of one call from its end. */
#ifdef __wasm__
#include "wasi/host.h"
#else
#include "bare/semihosting.h"
#endif

enum {
#ifdef __wasm__
    MARGIN = 1024,
#else
    MARGIN = 512, /* bytes of junk before and after a buffer, which must be intact after a call */
#endif
    POOL_ALIGN = 64
};

extern void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
extern void *memset(void *to, int value, size_t bytes);
extern int memcmp(const void *a, const void *b, size_t bytes);

static unsigned char *low, *high; /* what lies between them is free */
static intptr_t requests, answers;

static void fail(const char *what)
{
    host_print(what);
    host_print("\n");
    host_exit(3);
}

static room take(size_t bytes, lifetime lasts)
{
    room made;
    bytes = (bytes + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
    if (bytes > (size_t)(high - low))
        fail("runner: no memory");
    made.begin = lasts == ONE_MODEL ? low : high - bytes;
    made.end = made.begin + bytes;
    if (lasts == ONE_MODEL)
        low = made.end;
    else
        high = made.begin;
    return made;
}

/* All memory with the same lifetime is given back together, so that the first or last one counts. */
static void give_back(room old, lifetime lasted)
{
    if (lasted == ONE_MODEL && old.begin < low)
        low = old.begin;
    if (lasted == ONE_CALL && old.end > high)
        high = old.end;
}

static size_t read_bytes(void *data, size_t bytes) { return bytes ? host_read(requests, data, bytes) : 0; }

static void write_bytes(const void *data, size_t bytes)
{
    if (bytes && !host_write(answers, data, bytes))
        fail("runner: cannot write an answer");
}

static void find_pool(void)
{
#ifdef __wasm__
    enum { PAGE_BYTES = 65536, POOL_PAGES = 16384 }; /* pages that nothing touches take no memory */
    size_t first = __builtin_wasm_memory_grow(0, POOL_PAGES);
    if (first == (size_t)-1)
        fail("runner: no memory");
    low = (unsigned char *)(first * PAGE_BYTES);
    high = low + (size_t)POOL_PAGES * PAGE_BYTES;
#else
    extern unsigned char pool_begin[], pool_end[];
    low = pool_begin;
    high = pool_end;
#endif
}

static void begin_run(void)
{
    find_pool();
    requests = host_open("stdin", HOST_MODE_READ);
    answers = host_open("stdout", HOST_MODE_WRITE);
    if (requests < 0 || answers < 0)
        fail("runner: cannot open the files of requests and answers");
}
