/* What a runner (runner.c) needs from Linux: memory between guard pages, standard input and output. It calls only
 * functions that linux/start.c defines. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MARGIN = 0,
    GUARD_PAGES = 16 /* on either side of a buffer; they take no memory */
};

static size_t page_bytes; /* the page size of the system that runs this program */

static size_t length(const char *text)
{
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

static void fail(const char *what)
{
    if (write(2, what, length(what)) < 0 || write(2, "\n", 1) < 0)
        _exit(4);
    _exit(3);
}

static room take(size_t bytes, lifetime lasts)
{
    room made;
    size_t inside = (bytes + page_bytes) & ~(page_bytes - 1), guard = GUARD_PAGES * page_bytes;
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

/* Fewer than `bytes` only at the end of the input. */
static size_t read_bytes(void *data, size_t bytes)
{
    size_t done = 0;
    ssize_t now = 1;
    for (; done < bytes && now > 0; done += now > 0 ? (size_t)now : 0)
        now = read(0, (unsigned char *)data + done, bytes - done);
    return done;
}

static void write_bytes(const void *data, size_t bytes)
{
    size_t done = 0;
    ssize_t now = 0;
    for (; done < bytes; done += (size_t)now)
        if ((now = write(1, (const unsigned char *)data + done, bytes - done)) <= 0)
            fail("runner: cannot write an answer");
}

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
