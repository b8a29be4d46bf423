/* A fixed pool of threads that runs a model's steps, one after the other.
 *
 * A step is cut into chunks, and threads take chunks until there are none. So a thread that the system
 * has not woken yet costs nothing, for the others compute its part; the end of a step waits only for
 * chunks that somebody has begun. Where chunks begin depends only on the number of threads; which
 * thread computes a chunk is left to chance. Results depend on neither if each element of a step is
 * computed independently. A thread that waits does so awake for some microseconds, then it sleeps.
 *
 * No malloc: a pool lives in memory of the caller. No globals. Several model instances may share one
 * pool; their runs take turns.
 *
 * fork(): threads do not survive it. If no run was going on, a child process may run a pool of its
 * parent, which then has the caller as its only thread; on Linux it may also destroy it. For more
 * threads it makes a pool of its own, in other memory (in Python: os.register_at_fork).
 *
 * Part of every package that ellc generates with threads; yours without conditions.
 */
#ifndef ELLC_POOL_H
#define ELLC_POOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ELLC_POOL_MAX_THREADS = 32,
    ELLC_POOL_BYTES = 1024, /* memory that every pool fits in */
    ELLC_POOL_ALIGN = 64
};

enum {
    ELLC_POOL_OK = 0,
    ELLC_POOL_EMEMORY = -1, /* too small or not aligned */
    ELLC_POOL_ETHREADS = -2, /* fewer than 1 or more than ELLC_POOL_MAX_THREADS */
    ELLC_POOL_ESYSTEM = -3 /* the system gave no more threads */
};

/* Computes elements begin to end-1 of a step. `frame` is what was given to ellc_pool_run. */
typedef void (*ellc_step_fn)(const void *frame, int32_t begin, int32_t end);

typedef struct {
    ellc_step_fn run;
    int32_t extent; /* elements of the step, such as output rows; 0 or more */
    int32_t grain;  /* elements that stay together, 1 or more: every begin is a multiple of it */
} ellc_step;

typedef struct ellc_pool ellc_pool;

/* Bytes of a pool on this machine, at most ELLC_POOL_BYTES. */
size_t ellc_pool_bytes(void);

/* Make a pool of `threads` threads, the caller's own included: threads - 1 are started and sleep. */
int ellc_pool_init(ellc_pool *pool, size_t bytes, int threads);

/* Run the steps in order on up to `threads` threads of the pool (0: all of them), the caller being one,
 * and return when all is done. A null pool runs them in the caller alone. Calls from several threads
 * wait for each other. A step must not run a pool. */
void ellc_pool_run(
    ellc_pool *pool, const ellc_step *steps, int32_t n_steps, const void *frame, int threads);

/* Number of threads of the pool; 1 for a null pool. */
int ellc_pool_threads(const ellc_pool *pool);

/* End and join the threads. No run may be going on. The memory is the caller's again. */
void ellc_pool_destroy(ellc_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
