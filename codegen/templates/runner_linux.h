/* What a runner (runner.c) needs from Linux, or from WASI (wasi/sys/mman.h): memory between guard pages, standard input and output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef RUNNER_MARGIN
#define RUNNER_MARGIN 0
#endif

enum {
    MARGIN = RUNNER_MARGIN, /* the bytes between a buffer and the guard page that it is next to */
    GUARD_PAGES = 16 /* on either side of a buffer; they take no memory */
};

static size_t page_bytes; /* the page size of the system that runs this program */

static void fail(const char *what)
{
    fputs(what, stderr);
    fputc('\n', stderr);
    exit(3);
}

static room take(size_t bytes, lifetime lasts)
{
    room made;
    size_t inside = (bytes + page_bytes) / page_bytes * page_bytes, guard = GUARD_PAGES * page_bytes;
    void *map = mmap(0, inside + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)lasts;
    if (map == MAP_FAILED)
        fail("runner: no memory");
    made.begin = (unsigned char *)map + guard;
    made.end = made.begin + inside;
    if (mprotect(made.begin, inside, PROT_READ | PROT_WRITE))
        fail("runner: mprotect");
    return made;
}

static void give_back(room old, lifetime lasted)
{
    size_t guard = GUARD_PAGES * page_bytes;
    (void)lasted;
    munmap(old.begin - guard, (size_t)(old.end - old.begin) + 2 * guard);
}

static void *take_copy(size_t bytes)
{
    void *made = malloc(bytes + 1);
    if (!made)
        fail("runner: no memory");
    return made;
}

static void give_copy_back(void *old) { free(old); }

static size_t read_bytes(void *data, size_t bytes) { return fread(data, 1, bytes, stdin); }

static void write_bytes(const void *data, size_t bytes) { fwrite(data, 1, bytes, stdout); }

static void finish_answer(void) { fflush(stdout); }

static void begin_run(void)
{
    size_t i;
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (page_bytes != runner.guard_bytes)
        return;
    for (i = 0; runner.guards[i]; i++)
        if (mprotect((void *)runner.guards[i], runner.guard_bytes, PROT_NONE))
            fail("runner: mprotect of constants");
}
