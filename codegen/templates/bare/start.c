/* Start-up of a test program on an emulated board: data, faults, and the functions that a C compiler may call
 * for copies. The program uses no C library, so that a call of any other library function is an error of the
 * linker. */
#include "start.h"

#include "semihosting.h"

extern int main(void);
extern unsigned char data_begin[], data_end[], data_source[], bss_begin[], bss_end[];

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

void end_with_fault(const char *what, uint32_t cause, uint32_t address)
{
    print_hexadecimal(what, cause);
    print_hexadecimal(", address ", address);
    host_print("\n");
    host_exit(RAN_INTO_A_FAULT);
}

void run_program(void)
{
    memcpy(data_begin, data_source, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    host_exit((uintptr_t)main());
}
