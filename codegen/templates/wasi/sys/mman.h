/* The functions of memory that the runner calls, for WASI, which has neither pages nor protection: there,
 * guards are memory that nothing checks, and only a margin of junk shows writes outside of buffers. */
#ifndef ELLC_WASI_MMAN_H
#define ELLC_WASI_MMAN_H

#include <stdlib.h>
#include <unistd.h>

enum { PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS };

#define RUNNER_MARGIN 1024
#define MAP_FAILED ((void *)-1)
#define sysconf(name) 4096L /* WASI's pages of 64 KiB would take long to fill with junk */

static inline void *mmap(void *at, size_t bytes, int protection, int flags, int file, long offset)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    (void)at, (void)protection, (void)flags, (void)file, (void)offset;
    return memory ? memory : MAP_FAILED;
}

static inline int munmap(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
    return 0;
}

static inline int mprotect(void *memory, size_t bytes, int protection)
{
    (void)memory, (void)bytes, (void)protection;
    return 0;
}

#endif
