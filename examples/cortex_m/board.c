/* See board.h. */
#include "board.h"

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20 }; /* calls of Arm's document "Semihosting for AArch32" */

#define DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xE0001FB0u)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

static int has_dwt;

static void host_call(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_print(const char *text) { host_call(WRITE0, text); }

void board_print_number(uint32_t value)
{
    char digits[11];
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + value % 10);
    while (value /= 10);
    board_print(first);
}

void board_end(int status)
{
    uint32_t words[2] = { 0x20026, (uint32_t)status }; /* the program ended by itself */
    for (;;)
        host_call(EXIT_EXTENDED, words);
}

void board_start_cycles(void)
{
    uint32_t before;
    volatile int wait;
    DEMCR |= 1u << 24;    /* TRCENA: the DWT unit is on */
    DWT_LAR = 0xC5ACCE55; /* unlocks it on a Cortex-M7 */
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1;
    before = DWT_CYCCNT;
    for (wait = 0; wait < 10; wait++)
        ;
    has_dwt = DWT_CYCCNT != before;
    SYST_RVR = 0xFFFFFF;
    SYST_CVR = 0;
    SYST_CSR = 5; /* on, with the clock of the core, without interrupts */
}

uint32_t board_cycles(uint32_t since)
{
    if (has_dwt)
        return DWT_CYCCNT - since;
    return (0xFFFFFF - SYST_CVR - since) & 0xFFFFFF;
}

const char *board_cycles_unit(void) { return has_dwt ? " cycles" : " ticks of SysTick"; }
