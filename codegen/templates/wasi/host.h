/* What a test program in WebAssembly needs from the system interface WASI (preview 1): files, messages, the end of the
 * program, and memory. The functions are those of bare/semihosting.h. */
#ifndef WASI_HOST_H
#define WASI_HOST_H

#include <stddef.h>
#include <stdint.h>

enum { HOST_MODE_READ, HOST_MODE_WRITE };

typedef struct {
    const void *data;
    size_t bytes;
} io_part;

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
WASI("fd_read") int wasi_read(int file, const io_part *parts, size_t n_parts, size_t *done);
WASI("fd_write") int wasi_write(int file, const io_part *parts, size_t n_parts, size_t *done);
WASI("proc_exit") _Noreturn void wasi_exit(int status);

/* Standard input or standard output; the names of files are not looked at. */
static inline intptr_t host_open(const char *name, uintptr_t mode)
{
    (void)name;
    return mode == HOST_MODE_WRITE;
}

/* The number of bytes that were read, which is less than `bytes` only at the end of the file. */
static inline size_t host_read(intptr_t file, void *data, size_t bytes)
{
    size_t done = 0, now = 1;
    for (; done < bytes && now; done += now) {
        io_part part = { (unsigned char *)data + done, bytes - done };
        now = 0;
        if (wasi_read((int)file, &part, 1, &now))
            now = 0;
    }
    return done;
}

/* Whether all bytes were written. */
static inline int host_write(intptr_t file, const void *data, size_t bytes)
{
    size_t done = 0, now = 1;
    for (; done < bytes; done += now) {
        io_part part = { (const unsigned char *)data + done, bytes - done };
        now = 0;
        if (wasi_write((int)file, &part, 1, &now) || !now)
            return 0;
    }
    return 1;
}

static inline void host_print(const char *text)
{
    size_t bytes = 0;
    while (text[bytes])
        bytes++;
    host_write(2, text, bytes);
}

static inline _Noreturn void host_exit(uintptr_t status) { wasi_exit((int)status); }

#endif
