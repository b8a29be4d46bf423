/* Start-up of a Cortex-M: the vector table, and what must happen before main. The names of memory come from
 * sections.ld. A project of your board's SDK has its own start-up file; then leave this one out, and copy
 * the section .fast_code as it copies .data. */
#include <stdint.h>

#include "board.h"

extern uint32_t stack_top[], data_begin[], data_end[], data_source[], bss_begin[], bss_end[];
extern uint32_t fast_code_begin[], fast_code_end[], fast_code_source[];
int main(void);
void reset(void);

static void copy(uint32_t *to, const uint32_t *end, const uint32_t *from)
{
    while (to < end)
        *to++ = *from++;
}

static void fault(void)
{
    board_print("fault\n");
    board_end(1);
}

extern const void *const vectors[16];
__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault, (const void *)fault,
    0, 0, 0, (const void *)fault, (const void *)fault, 0, (const void *)fault, (const void *)fault,
};

/* The stack pointer is set again, because a boot loader may have jumped here. */
__attribute__((naked, noreturn, used)) void reset(void)
{
    __asm__ volatile("ldr r0, =stack_top\n"
                     "mov sp, r0\n"
                     "b begin\n");
}

__attribute__((used, noreturn)) void begin(void)
{
    uint32_t *word;
    *(volatile uint32_t *)0xE000ED08u = (uint32_t)vectors; /* VTOR */
    *(volatile uint32_t *)0xE000ED88u |= 0xF00000u;        /* CPACR: full access to the FPU */
    __asm__ volatile("dsb\nisb" ::: "memory");
    copy(data_begin, data_end, data_source);
    copy(fast_code_begin, fast_code_end, fast_code_source);
    __asm__ volatile("dsb\nisb" ::: "memory");
    for (word = bss_begin; word < bss_end; word++)
        *word = 0;
    board_end(main());
}

/* A compiler may call these for copies and clearing. */
void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ bytes);
void *memset(void *to, int value, __SIZE_TYPE__ bytes);
void *memmove(void *to, const void *from, __SIZE_TYPE__ bytes);
void __aeabi_memcpy(void *to, const void *from, __SIZE_TYPE__ bytes);
void __aeabi_memcpy4(void *to, const void *from, __SIZE_TYPE__ bytes);
void __aeabi_memcpy8(void *to, const void *from, __SIZE_TYPE__ bytes);
void __aeabi_memclr(void *to, __SIZE_TYPE__ bytes);
void __aeabi_memclr4(void *to, __SIZE_TYPE__ bytes);
void __aeabi_memclr8(void *to, __SIZE_TYPE__ bytes);

void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    while (bytes--)
        *d++ = *s++;
    return to;
}

void *memmove(void *to, const void *from, __SIZE_TYPE__ bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    if (d <= s)
        return memcpy(to, from, bytes);
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}

void *memset(void *to, int value, __SIZE_TYPE__ bytes)
{
    unsigned char *d = to;
    while (bytes--)
        *d++ = (unsigned char)value;
    return to;
}

void __aeabi_memcpy(void *to, const void *from, __SIZE_TYPE__ bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy4(void *to, const void *from, __SIZE_TYPE__ bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy8(void *to, const void *from, __SIZE_TYPE__ bytes) { memcpy(to, from, bytes); }
void __aeabi_memclr(void *to, __SIZE_TYPE__ bytes) { memset(to, 0, bytes); }
void __aeabi_memclr4(void *to, __SIZE_TYPE__ bytes) { memset(to, 0, bytes); }
void __aeabi_memclr8(void *to, __SIZE_TYPE__ bytes) { memset(to, 0, bytes); }
