/* Start-up of a test program on an emulated 32-bit RISC-V core: the first instructions, stack, FPU, faults. */
#include "start.h"

__attribute__((used, aligned(4))) static void fault(void)
{
    uint32_t cause, value;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    __asm__ volatile("csrr %0, mtval" : "=r"(value));
    end_with_fault("fault: cause ", cause, value);
}

__attribute__((used)) static void begin(void)
{
    __asm__ volatile("csrs mstatus, %0" ::"r"(1u << 13)); /* FS: the FPU is on, where there is one */
    run_program();
}

__asm__(".pushsection .vectors, \"ax\", @progbits\n"
        ".globl start\n"
        "start:\n"
        "\tla sp, stack_top\n"
        "\tla t0, fault\n"
        "\tcsrw mtvec, t0\n"
        "\tj begin\n"
        ".popsection\n");
