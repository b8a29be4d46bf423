/* What the two parts of the start-up code of a test program share: start.c, and the part for a kind of core. */
#ifndef START_H
#define START_H

#include <stddef.h>
#include <stdint.h>

enum { RAN_INTO_A_FAULT = 139 }; /* what a shell reports for SIGSEGV */

/* memory_functions.h defines these for the whole program. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

/* Fill .data and .bss, call main, and end the program. */
void run_program(void);

/* Print a cause and an address, and end the program. */
void end_with_fault(const char *what, uint32_t cause, uint32_t address);

#endif
