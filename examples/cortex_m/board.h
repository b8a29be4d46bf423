/* What the program needs of a board. board.c does it by semihosting, through the debugger or QEMU; write
 * your UART's functions instead to run without a debugger. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_print(const char *text);
void board_print_number(uint32_t value);
__attribute__((noreturn)) void board_end(int status);

/* A counter of cycles, which `board_cycles` reads: the DWT unit's, or SysTick's if there is none. Differences
 * are right modulo 2**32 (DWT) or 2**24 (SysTick); QEMU has only SysTick, which does not count cycles there. */
void board_start_cycles(void);
uint32_t board_cycles(uint32_t since);
const char *board_cycles_unit(void);

#endif
