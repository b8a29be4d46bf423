/* Start-up of a test program on an emulated Cortex-M: vectors, FPU, data, stack, faults, and the functions
 * that a C compiler may call for copies. The program uses no C library, so that a call of any other
 * library function is an error of the linker. */
#include "semihosting.h"

extern int main(void);
extern unsigned char stack_top[], data_begin[], data_end[], data_source[], bss_begin[], bss_end[];

enum { RAN_INTO_A_FAULT = 139 }; /* what a shell reports for SIGSEGV */

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
void __aeabi_memcpy(void *to, const void *from, size_t bytes);
void __aeabi_memcpy4(void *to, const void *from, size_t bytes);
void __aeabi_memcpy8(void *to, const void *from, size_t bytes);
void __aeabi_memclr(void *to, size_t bytes);
void __aeabi_memclr4(void *to, size_t bytes);
void __aeabi_memclr8(void *to, size_t bytes);
void __aeabi_memset(void *to, size_t bytes, int value);
void start(void);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    for (; bytes >= 4 && (((uintptr_t)d | (uintptr_t)s) & 3) == 0; bytes -= 4, d += 4, s += 4)
        *(uint32_t *)(void *)d = *(const uint32_t *)(const void *)s;
    for (; bytes; bytes--)
        *d++ = *s++;
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    if (d <= s)
        return memcpy(to, from, bytes);
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    unsigned char *d = to;
    uint32_t word = (unsigned char)value * 0x01010101u;
    for (; bytes && ((uintptr_t)d & 3); bytes--)
        *d++ = (unsigned char)value;
    for (; bytes >= 4; bytes -= 4, d += 4)
        *(uint32_t *)(void *)d = word;
    for (; bytes; bytes--)
        *d++ = (unsigned char)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

void __aeabi_memcpy(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy4(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy8(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memclr(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memclr4(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memclr8(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memset(void *to, size_t bytes, int value) { memset(to, value, bytes); }

static void print_hexadecimal(const char *what, uint32_t value)
{
    char digits[9];
    int i;
    for (i = 0; i < 8; i++)
        digits[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    digits[8] = 0;
    host_print(what);
    host_print(digits);
}

static void fault(void)
{
    print_hexadecimal("fault: configurable status ", *(volatile uint32_t *)0xE000ED28);
    print_hexadecimal(", address ", *(volatile uint32_t *)0xE000ED38);
    host_print("\n");
    host_exit(RAN_INTO_A_FAULT);
}

void start(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to the FPU, where there is one */
#ifndef __ARM_FEATURE_UNALIGNED
    *(volatile uint32_t *)0xE000ED14 |= 1u << 3; /* CCR.UNALIGN_TRP: stop as the core without them does */
#endif
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(data_begin, data_source, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    host_exit((uintptr_t)main());
}

typedef void (*handler)(void);
typedef struct {
    unsigned char *stack;
    handler handlers[15];
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    stack_top,
    { start, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault },
};
