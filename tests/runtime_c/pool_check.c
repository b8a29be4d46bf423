/* Checks of the thread pool, run on the host under sanitizers and on other machines under emulation.
 * Prints "ok" and the number of checks, or the place of the first that fails. */
#include "ellc_clock.h"
#include "ellc_pool.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <sys/wait.h>
#include <unistd.h>
#endif

static long checks;
#define CHECK(condition)                                                          \
    do {                                                                          \
        __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);                         \
        if (!(condition)) {                                                       \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

static void *aligned(void)
{
    void *memory = 0;
    CHECK(posix_memalign(&memory, ELLC_POOL_ALIGN, ELLC_POOL_BYTES) == 0);
    memset(memory, 0xA5, ELLC_POOL_BYTES);
    return memory;
}

static ellc_pool *make_pool(int threads)
{
    ellc_pool *pool = aligned();
    CHECK(ellc_pool_init(pool, ELLC_POOL_BYTES, threads) == ELLC_POOL_OK);
    CHECK(ellc_pool_threads(pool) == threads);
    return pool;
}

static void drop_pool(ellc_pool *pool)
{
    ellc_pool_destroy(pool);
    free(pool);
}

static void bad_arguments(void)
{
    char *memory = aligned();
    CHECK(ellc_pool_bytes() <= ELLC_POOL_BYTES);
    CHECK(ellc_pool_init(0, ELLC_POOL_BYTES, 2) == ELLC_POOL_EMEMORY);
    CHECK(ellc_pool_init((ellc_pool *)memory, ellc_pool_bytes() - 1, 2) == ELLC_POOL_EMEMORY);
    CHECK(ellc_pool_init((ellc_pool *)(memory + 8), ELLC_POOL_BYTES, 2) == ELLC_POOL_EMEMORY);
    CHECK(ellc_pool_init((ellc_pool *)memory, ELLC_POOL_BYTES, 0) == ELLC_POOL_ETHREADS);
    CHECK(ellc_pool_init((ellc_pool *)memory, ELLC_POOL_BYTES, 33) == ELLC_POOL_ETHREADS);
    free(memory);
    ellc_pool_destroy(0);
    CHECK(ellc_pool_threads(0) == 1);
}

/* ---- every element once, in pieces of whole grains ------------------------------------------ */

enum { MOST = 4096 };

typedef struct {
    unsigned char count[MOST];
    int32_t grain;
    int calls;
    int uneven;
} coverage;

static void cover(const void *frame, int32_t begin, int32_t end)
{
    coverage *seen = *(coverage *const *)frame;
    int32_t i;
    __atomic_add_fetch(&seen->calls, 1, __ATOMIC_RELAXED);
    if (begin % seen->grain || end <= begin)
        __atomic_store_n(&seen->uneven, 1, __ATOMIC_RELAXED);
    for (i = begin; i < end; i++)
        seen->count[i]++;
}

static void partition(int threads)
{
    static const int32_t extents[] = { 0, 1, 2, 3, 7, 8, 63, 64, 65, 1000, MOST };
    static const int32_t grains[] = { 1, 2, 3, 8, 100, MOST + 1 };
    ellc_pool *pool = make_pool(threads);
    int32_t most = 4 * threads < 62 ? 4 * threads : 62;
    size_t e, g;
    for (e = 0; e < sizeof extents / sizeof *extents; e++) {
        for (g = 0; g < sizeof grains / sizeof *grains; g++) {
            coverage seen, *pointer = &seen;
            ellc_step step = { cover, extents[e], grains[g] };
            int32_t i, units = (extents[e] + grains[g] - 1) / grains[g];
            memset(&seen, 0, sizeof seen);
            seen.grain = grains[g];
            ellc_pool_run(pool, &step, 1, &pointer, 0);
            CHECK(!seen.uneven);
            CHECK(seen.calls == (threads == 1 ? units > 0 : units < most ? units : most));
            for (i = 0; i < MOST; i++)
                if (seen.count[i] != (i < extents[e]))
                    CHECK(!"an element was not computed exactly once");
        }
    }
    drop_pool(pool);
}

/* ---- a step sees all of what the step before wrote ------------------------------------------- */

enum { WIDTH = 257, STEPS = 60 };

typedef struct {
    uint32_t a[WIDTH], b[WIDTH];
} pair;

static void forth(const void *frame, int32_t begin, int32_t end)
{
    pair *p = *(pair *const *)frame;
    int32_t i;
    for (i = begin; i < end; i++)
        p->b[i] = p->a[(i * 7 + 3) % WIDTH] * 5 + (uint32_t)i;
}

static void back(const void *frame, int32_t begin, int32_t end)
{
    pair *p = *(pair *const *)frame;
    int32_t i;
    for (i = begin; i < end; i++)
        p->a[i] = p->b[(i * 11 + 1) % WIDTH] ^ (p->b[i] >> 3);
}

/* Two steps of one unit each in a row: nobody may wait for nobody, and still nothing may mix. */
static void first_of_a(const void *frame, int32_t begin, int32_t end)
{
    pair *p = *(pair *const *)frame;
    p->a[0] += p->a[WIDTH - 1] + (uint32_t)(end - begin);
}

static void first_of_b(const void *frame, int32_t begin, int32_t end)
{
    pair *p = *(pair *const *)frame;
    p->a[1] += p->a[0] + p->b[WIDTH / 2] + (uint32_t)(end - begin);
}

static void walk_steps(ellc_pool *pool, int threads, uint32_t seed, pair *out)
{
    ellc_step steps[STEPS];
    int32_t i;
    for (i = 0; i < STEPS; i++) {
        ellc_step step = { i % 2 ? back : forth, WIDTH, i % 5 + 1 };
        if (i % 10 == 8 || i % 10 == 9) {
            step.run = i % 2 ? first_of_b : first_of_a;
            step.extent = 3;
            step.grain = 4;
        }
        steps[i] = step;
    }
    for (i = 0; i < WIDTH; i++) {
        out->a[i] = seed + (uint32_t)i;
        out->b[i] = 0;
    }
    ellc_pool_run(pool, steps, STEPS, &out, threads);
}

static void barriers(int threads, int repeats)
{
    pair want, got;
    ellc_pool *pool = make_pool(threads);
    int i;
    for (i = 0; i < repeats; i++) {
        int use = i % 4 == 3 ? 1 + i % threads : 0; /* also fewer threads than the pool has */
        walk_steps(0, 0, (uint32_t)i, &want);
        walk_steps(pool, use, (uint32_t)i, &got);
        CHECK(!memcmp(&want, &got, sizeof want));
    }
    drop_pool(pool);
}

/* A pool may end while a worker is on its way to a chunk that is gone. */
static void ends_at_once(int threads)
{
    static coverage seen;
    coverage *pointer = &seen;
    ellc_step step = { cover, 4 * threads, 1 };
    ellc_pool *pool = make_pool(threads);
    int i;
    memset(&seen, 0, sizeof seen);
    seen.grain = 1;
    ellc_pool_run(pool, &step, 1, &pointer, 0);
    drop_pool(pool);
    for (i = 0; i < MOST; i++)
        if (seen.count[i] != (i < 4 * threads))
            CHECK(!"an element was not computed exactly once");
}

/* ---- instances on threads of their own share a pool ------------------------------------------ */

typedef struct {
    ellc_pool *pool;
    uint32_t seed;
    int repeats;
} user;

static void *use_pool(void *argument)
{
    const user *me = argument;
    pair want, got;
    int i;
    for (i = 0; i < me->repeats; i++) {
        uint32_t seed = me->seed * 1000 + (uint32_t)i;
        walk_steps(0, 0, seed, &want);
        walk_steps(me->pool, 0, seed, &got);
        CHECK(!memcmp(&want, &got, sizeof want));
    }
    return 0;
}

static void shared(int threads, int repeats)
{
    enum { USERS = 3 };
    pthread_t ids[USERS];
    user users[USERS];
    ellc_pool *pool = make_pool(threads);
    uint32_t i;
    for (i = 0; i < USERS; i++) {
        users[i].pool = pool;
        users[i].seed = i + 1;
        users[i].repeats = repeats;
        CHECK(!pthread_create(&ids[i], 0, use_pool, &users[i]));
    }
    for (i = 0; i < USERS; i++)
        pthread_join(ids[i], 0);
    drop_pool(pool);
}

/* ---- who waits, sleeps ----------------------------------------------------------------------- */

static void nap(long ms)
{
    struct timespec time = { 0, ms * 1000000 };
    nanosleep(&time, 0);
}

static void sleepy_first(const void *frame, int32_t begin, int32_t end)
{
    (void)frame;
    (void)end;
    if (begin == 0)
        nap(150);
}

static void waiting_costs_nothing(void)
{
    ellc_pool *pool = make_pool(4);
    ellc_step steps[2] = { { sleepy_first, 4, 1 }, { sleepy_first, 4, 1 } };
    clock_t cpu = clock();
    uint64_t begin = ellc_clock_ns(), ns;
    int used_ms;
    ellc_pool_run(pool, steps, 2, 0, 0); /* three threads wait at a barrier, twice */
    nap(150);                            /* three threads wait for work */
    used_ms = (int)((clock() - cpu) * 1000 / CLOCKS_PER_SEC);
    ns = ellc_clock_ns() - begin;
    CHECK(ns > 440 * (uint64_t)1000000);
    CHECK(used_ms < 200); /* of 3 x 450 that spinning would take */
    drop_pool(pool);
}

/* ---- nobody waits for who has not come ------------------------------------------------------- */

typedef struct {
    pthread_t caller;
    int of_caller, of_others;
} takers;

static void slow_for_others(const void *frame, int32_t begin, int32_t end)
{
    takers *seen = *(takers *const *)frame;
    (void)begin;
    (void)end;
    if (pthread_equal(pthread_self(), seen->caller)) {
        __atomic_add_fetch(&seen->of_caller, 1, __ATOMIC_RELAXED);
    } else {
        __atomic_add_fetch(&seen->of_others, 1, __ATOMIC_RELAXED);
        nap(100);
    }
}

static void the_rest_is_taken(void)
{
    ellc_pool *pool = make_pool(2);
    takers seen, *pointer = &seen;
    ellc_step step = { slow_for_others, 1000, 1 };
    memset(&seen, 0, sizeof seen);
    seen.caller = pthread_self();
    ellc_pool_run(pool, &step, 1, &pointer, 0);
    CHECK(seen.of_others <= 1); /* of 8 chunks; half of them if the step were dealt out evenly */
    CHECK(seen.of_caller >= 7);
    drop_pool(pool);
}

#ifdef __linux__
/* A child process has the pool, but none of its threads. */
static void after_fork(void)
{
    ellc_pool *pool = make_pool(3);
    pair want, got;
    pid_t child;
    int status = -1;
    walk_steps(0, 0, 7, &want);
    walk_steps(pool, 0, 7, &got);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        memset(&got, 0, sizeof got);
        walk_steps(pool, 0, 7, &got);
        ellc_pool_destroy(pool);
        _exit(memcmp(&want, &got, sizeof want) != 0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    walk_steps(pool, 0, 7, &got);
    CHECK(!memcmp(&want, &got, sizeof want));
    drop_pool(pool);
}
#endif

int main(int argc, char **argv)
{
    int effort = argc > 1 ? atoi(argv[1]) : 10;
    int threads;
    bad_arguments();
    for (threads = 1; threads <= 5; threads++)
        partition(threads);
    partition(ELLC_POOL_MAX_THREADS);
    for (threads = 1; threads <= 6; threads++)
        barriers(threads, 5 * effort);
    for (threads = 0; threads < 5 * effort; threads++)
        barriers(1 + threads % 8, 1); /* pools come and go */
    for (threads = 0; threads < 100 * effort; threads++)
        ends_at_once(2 + threads % 8);
    shared(3, 2 * effort);
    waiting_costs_nothing();
    the_rest_is_taken();
#ifdef __linux__
    after_fork();
#endif
    printf("ok %ld\n", checks);
    return 0;
}
