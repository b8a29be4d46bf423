/* Start-up of a test program on an emulated Cortex-M: vectors, FPU, faults, and what Arm's run-time ABI calls
 * copies. */
#include "start.h"

extern unsigned char stack_top[];

void __aeabi_memcpy(void *to, const void *from, size_t bytes);
void __aeabi_memcpy4(void *to, const void *from, size_t bytes);
void __aeabi_memcpy8(void *to, const void *from, size_t bytes);
void __aeabi_memclr(void *to, size_t bytes);
void __aeabi_memclr4(void *to, size_t bytes);
void __aeabi_memclr8(void *to, size_t bytes);
void __aeabi_memset(void *to, size_t bytes, int value);
void start(void);

void __aeabi_memcpy(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy4(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memcpy8(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
void __aeabi_memclr(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memclr4(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memclr8(void *to, size_t bytes) { memset(to, 0, bytes); }
void __aeabi_memset(void *to, size_t bytes, int value) { memset(to, value, bytes); }

static void fault(void)
{
    const volatile uint32_t *status = (const volatile uint32_t *)0xE000ED28;
    end_with_fault("fault: configurable status ", status[0], status[4]);
}

void start(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to the FPU, where there is one */
#ifndef __ARM_FEATURE_UNALIGNED
    *(volatile uint32_t *)0xE000ED14 |= 1u << 3; /* CCR.UNALIGN_TRP: stop as the core without them does */
#endif
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    run_program();
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
