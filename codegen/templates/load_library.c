/* Runs a generated shared library: reads the inputs from stdin, and writes the outputs to stdout.
 *
 *     load_library LIBRARY NAME THREADS MILLISECONDS IN_BYTES... : OUT_BYTES...
 *     load_library LIBRARY NAME THREADS calls IN_BYTES... : OUT_BYTES...
 *     load_library LIBRARY NAME      prints NAME_abi() as a decimal number
 *
 * NAME is the prefix of the library's functions. If THREADS is 0, the library chooses the number of
 * threads. If MILLISECONDS is not 0, predict is repeated for this long, and times in nanoseconds follow
 * the outputs as 64-bit numbers: the time from loading the library to the end of init and set_threads,
 * the time of the first call, and the time of each later call. With the word "calls" the program reads
 * one set of inputs after the other until stdin ends, and writes the outputs of each; states are reset
 * after each call. Sizes are arguments, so that the program does not depend on a model: one build serves
 * all models of a target.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INSTANCE_BYTES = 1024, ARENA_ALIGN = 64, MAX_PORTS = 4096, MAX_NAME = 4096,
       MIN_CALLS = 3, MAX_CALLS = 1000000 };

typedef size_t (*arena_bytes_fn)(void);
typedef uint32_t (*abi_fn)(void);
typedef int (*init_fn)(void *, void *, size_t);
typedef int (*set_threads_fn)(void *, int);
typedef int (*predict_v_fn)(void *, const void *const *, void *const *);
typedef void (*destroy_fn)(void *);
typedef void (*reset_fn)(void *);

static union {
    unsigned char bytes[INSTANCE_BYTES];
    long double aligned;
} instance;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "%s%s\n", what, detail ? detail : "");
    exit(1);
}

static void check(const char *what, int status)
{
    char text[16];
    if (!status)
        return;
    snprintf(text, sizeof text, "%d", status);
    fail(what, text);
}

/* Store the address of a function in `*function`; 0 if it is optional and missing. The address is copied
 * as data, because ISO C does not allow the result of dlsym to be converted to a function pointer. */
static void find(void *library, const char *name, const char *suffix, int optional, void *function)
{
    char symbol[MAX_NAME];
    void *found;
    snprintf(symbol, sizeof symbol, "%s%s", name, suffix);
    found = dlsym(library, symbol);
    if (!found && !optional)
        fail("the library has no function ", symbol);
    memcpy(function, &found, sizeof found);
}

static void *allocate(size_t bytes)
{
    void *memory = 0;
    if (posix_memalign(&memory, ARENA_ALIGN, bytes ? bytes : 1))
        fail("not enough memory", 0);
    return memory;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void write_bytes(const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, stdout) != bytes)
        fail("the results cannot be written", 0);
}

/* Repeat the call for `for_ns`, at least MIN_CALLS times, and write the time of each call. */
static void repeat(predict_v_fn predict_v, void *ports[2][MAX_PORTS], uint64_t for_ns)
{
    uint64_t start = now_ns(), before, taken;
    long calls;
    for (calls = 0; calls < MAX_CALLS; calls++) {
        before = now_ns();
        if (calls >= MIN_CALLS && before - start >= for_ns)
            break;
        check("predict refuses: ", predict_v(&instance, (const void *const *)ports[0], ports[1]));
        taken = now_ns() - before;
        write_bytes(&taken, sizeof taken);
    }
}

/* Read the inputs. Returns 0 if stdin ends before the first byte. */
static int get_inputs(void *ports[MAX_PORTS], const size_t sizes[MAX_PORTS], size_t count)
{
    size_t i, got;
    for (i = 0; i < count; i++) {
        got = fread(ports[i], 1, sizes[i], stdin);
        if (got == sizes[i])
            continue;
        if (!i && !got)
            return 0;
        fail("the inputs end early", 0);
    }
    return 1;
}

static void put_outputs(void *ports[MAX_PORTS], const size_t sizes[MAX_PORTS], size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        write_bytes(ports[i], sizes[i]);
    if (fflush(stdout))
        fail("the results cannot be written", 0);
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail("the library cannot be loaded: ", dlerror());
    return library;
}

static void print_abi(const char *path, const char *name)
{
    abi_fn abi;
    find(open_library(path), name, "_abi", 0, &abi);
    printf("%lu\n", (unsigned long)abi());
}

int main(int argc, char **argv)
{
    void *ports[2][MAX_PORTS], *library, *arena;
    size_t sizes[2][MAX_PORTS], counts[2] = { 0, 0 }, bytes;
    uint64_t begin, loaded_ns, first_ns = 0;
    int side = 0, threads, milliseconds, until_end, at;
    arena_bytes_fn arena_bytes;
    init_fn init;
    set_threads_fn set_threads;
    predict_v_fn predict_v;
    destroy_fn destroy;
    reset_fn reset;

    if (argc == 3) {
        print_abi(argv[1], argv[2]);
        return 0;
    }
    if (argc < 5)
        fail("usage: load_library LIBRARY NAME [THREADS MILLISECONDS|calls IN_BYTES... : OUT_BYTES...]", 0);
    threads = atoi(argv[3]);
    until_end = !strcmp(argv[4], "calls");
    milliseconds = until_end ? 0 : atoi(argv[4]);
    for (at = 5; at < argc; at++) {
        if (!strcmp(argv[at], ":")) {
            side = 1;
            continue;
        }
        if (counts[side] == MAX_PORTS)
            fail("too many inputs or outputs", 0);
        bytes = strtoul(argv[at], 0, 10);
        sizes[side][counts[side]] = bytes;
        ports[side][counts[side]++] = allocate(bytes);
    }
    begin = now_ns();
    library = open_library(argv[1]);
    find(library, argv[2], "_arena_bytes", 0, &arena_bytes);
    find(library, argv[2], "_init", 0, &init);
    find(library, argv[2], "_set_threads", threads == 0, &set_threads);
    find(library, argv[2], "_predict_v", 0, &predict_v);
    find(library, argv[2], "_destroy", 0, &destroy);

    find(library, argv[2], "_reset", 1, &reset);

    bytes = arena_bytes();
    arena = allocate(bytes);
    check("init refuses: ", init(&instance, arena, bytes));
    if (threads)
        check("set_threads refuses: ", set_threads(&instance, threads));
    loaded_ns = now_ns() - begin;
    do {
        if (!get_inputs(ports[0], sizes[0], counts[0])) {
            if (until_end)
                break;
            fail("the inputs end early", 0);
        }
        begin = now_ns();
        check("predict refuses: ", predict_v(&instance, (const void *const *)ports[0], ports[1]));
        first_ns = now_ns() - begin;
        put_outputs(ports[1], sizes[1], counts[1]);
        if (until_end && reset)
            reset(&instance);
    } while (until_end && counts[0]);
    if (milliseconds) {
        write_bytes(&loaded_ns, sizeof loaded_ns);
        write_bytes(&first_ns, sizeof first_ns);
        repeat(predict_v, ports, (uint64_t)milliseconds * 1000000u);
    }
    destroy(&instance);
    return 0;
}
