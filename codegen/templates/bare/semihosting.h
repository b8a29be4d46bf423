/* Calls of the debugger or emulator that runs a program on a Cortex-M or a RISC-V core ("semihosting", by Arm's
 * document of this name and the RISC-V specification of the same): files, messages, the end of the program. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

enum { HOST_OPEN = 1, HOST_WRITE0 = 4, HOST_WRITE = 5, HOST_READ = 6, HOST_EXIT = 0x20 };
enum { HOST_MODE_READ = 1, HOST_MODE_WRITE = 5 }; /* "rb" and "wb" */

static inline intptr_t host_call(intptr_t operation, const void *argument)
{
#ifdef __riscv
    register intptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* The three instructions must be uncompressed, and lie in one page. */
    __asm__ volatile(".option push\n\t.option norvc\n\t.balign 16\n\t"
                     "slli zero, zero, 0x1f\n\tebreak\n\tsrai zero, zero, 7\n\t.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#else
    register intptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#endif
}

/* The handle of a file in the folder in which the emulator runs; negative if it cannot be opened. */
static inline intptr_t host_open(const char *name, uintptr_t mode)
{
    uintptr_t words[3] = { (uintptr_t)name, mode, 0 };
    while (name[words[2]])
        words[2]++;
    return host_call(HOST_OPEN, words);
}

/* The number of bytes that were read, which is less than `bytes` only at the end of the file. */
static inline size_t host_read(intptr_t file, void *data, size_t bytes)
{
    uintptr_t words[3] = { (uintptr_t)file, (uintptr_t)data, bytes };
    return bytes - (size_t)host_call(HOST_READ, words);
}

/* Whether all bytes were written. */
static inline int host_write(intptr_t file, const void *data, size_t bytes)
{
    uintptr_t words[3] = { (uintptr_t)file, (uintptr_t)data, bytes };
    return host_call(HOST_WRITE, words) == 0;
}

static inline void host_print(const char *text) { host_call(HOST_WRITE0, text); }

static inline void host_exit(uintptr_t status)
{
    uintptr_t words[2] = { 0x20026, status }; /* ADP_Stopped_ApplicationExit */
    for (;;)
        host_call(HOST_EXIT, words);
}

#endif
