/* See ellc_clock.h. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 199309L
#endif
#include "ellc_clock.h"

#if defined(__ELF__) || defined(__APPLE__)
#define SHARED_DEFINITION __attribute__((weak))
#else
#define SHARED_DEFINITION
#endif

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

SHARED_DEFINITION uint64_t ellc_clock_ns(void)
{
    LARGE_INTEGER now, per_second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&per_second);
    /* Whole seconds are converted separately, so that the product fits in 64 bits. */
    return (uint64_t)(now.QuadPart / per_second.QuadPart) * 1000000000u
        + (uint64_t)(now.QuadPart % per_second.QuadPart) * 1000000000u / (uint64_t)per_second.QuadPart;
}
#elif defined(__unix__) || defined(__APPLE__)
#include <time.h>

SHARED_DEFINITION uint64_t ellc_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#else
/* Bare metal: the application defines the clock. */
typedef int ellc_clock_is_defined_by_the_application;
#endif
