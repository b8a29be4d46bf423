/* Start-up of a test program on an emulated board: data and faults. The program uses no C library, so that a
 * call of a library function other than `memcpy` and its like is an error of the linker. */
#include "start.h"

#include "../memory_functions.h"
#include "semihosting.h"

extern int main(void);
extern unsigned char data_begin[], data_end[], data_source[], bss_begin[], bss_end[];

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
