/* A fixed pool of threads that runs a model's steps, one after the other.
 *
 * A step is divided into chunks, and threads take chunks until none are left. A thread that the system
 * has not woken yet does not delay the step, because the other threads compute its part; the end of a
 * step waits only for chunks that a thread has begun. Where chunks begin depends only on the number of
 * threads. Which thread computes a chunk is not determined. If each element of a step is computed
 * independently, chunks and threads do not affect results. A waiting thread spins for some
 * microseconds, and then sleeps.
 *
 * There is no malloc and there are no globals: a pool lives in memory of the caller. Several model
 * instances may share one pool; their runs take turns.
 *
 * Threads do not survive fork(). A child process may use a pool of its parent if no run was going on
 * during the fork. The caller is then the only thread of the pool. On Linux the child may also destroy
 * the pool. To use more threads, the child must make a new pool in other memory (in Python:
 * os.register_at_fork).
 *
 * This file is part of every package that ellc generates with threads. It is yours without conditions.
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
    ELLC_POOL_BYTES = 1024, /* enough memory for any pool */
    ELLC_POOL_ALIGN = 64
};

enum {
    ELLC_POOL_OK = 0,
    ELLC_POOL_EMEMORY = -1, /* the memory is too small or not aligned */
    ELLC_POOL_ETHREADS = -2, /* fewer than 1 or more than ELLC_POOL_MAX_THREADS threads */
    ELLC_POOL_ESYSTEM = -3 /* the system cannot start more threads */
};

/* A function that computes elements begin to end-1 of a step. `frame` is the argument of ellc_pool_run. */
typedef void (*ellc_step_fn)(const void *frame, int32_t begin, int32_t end);

typedef struct {
    ellc_step_fn run;
    int32_t extent; /* the number of elements of the step, such as output rows; 0 or more */
    int32_t grain;  /* every `begin` is a multiple of this number, 1 or more */
} ellc_step;

typedef struct ellc_pool ellc_pool;

/* The size of a pool on this machine, at most ELLC_POOL_BYTES. */
size_t ellc_pool_bytes(void);

/* Make a pool of `threads` threads, including the caller. All but the caller are started, and sleep. */
int ellc_pool_init(ellc_pool *pool, size_t bytes, int threads);

/* Run the steps in order and return when all are finished. At most `threads` threads of the pool compute
 * (0: all of them), including the caller. With a null pool, only the caller computes. If several threads
 * call this function for one pool, their runs take turns. A step must not run a pool. */
void ellc_pool_run(
    ellc_pool *pool, const ellc_step *steps, int32_t n_steps, const void *frame, int threads);

/* The number of threads of the pool; 1 for a null pool. */
int ellc_pool_threads(const ellc_pool *pool);

/* End and join the threads. No run may be going on. Then the caller may reuse the memory. */
void ellc_pool_destroy(ellc_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
