/* The cases of a runner, in the form that its fixed part (runner.c) needs. */
#ifndef RUNNER_H
#define RUNNER_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t bytes;
    size_t align;
} extent;

typedef int (*function_fn)(void *arena, const void *const *in, void *const *out);
typedef int (*init_fn)(void *model, void *arena, size_t bytes);
typedef int (*set_threads_fn)(void *model, int threads);
typedef int (*predict_fn)(void *model, const void *const *in, void *const *out);
typedef void (*model_fn)(void *model);

typedef struct {
    function_fn function; /* a plain function; 0 if the case is a model, with the next functions */
    init_fn init;
    set_threads_fn set_threads;
    predict_fn predict;
    model_fn reset, destroy;
    int threads;
    size_t arena_bytes;
    size_t n_in, n_out;
    const extent *in, *out;
} test_case;

typedef struct {
    const test_case *cases;
    size_t n_cases;
    const unsigned char *const *guards; /* the guard pages around constants, and 0 at the end */
    size_t guard_bytes;
    unsigned junk_kinds;
    int at_start; /* buffers are next to the lower guard page instead of the upper one */
} runner_program;

extern const runner_program runner;

#endif
