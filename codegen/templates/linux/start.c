/* Start-up of a test program on Linux, and the functions of POSIX that such programs call. They use no C library,
 * because building one for an architecture takes zig a minute. Functions return -1 on failure and set no errno. */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../memory_functions.h"

enum { AT_NULL = 0, AT_PAGESZ = 6, LAST_ERROR = 4095 };

extern int main(int count, char **words);

static size_t page_bytes;

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run_program\n");

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tb run_program\n");
#define NUMBER "x8"
#define ARGUMENT(i) "x" #i
#define CALL "svc 0"
#elif defined(__arm__)
__asm__(".globl _start\n.arm\n_start:\n\tmov fp, #0\n\tmov lr, #0\n\tmov r0, sp\n\tbic sp, sp, #7\n\tb run_program\n");
#define NUMBER "r7"
#define ARGUMENT(i) "r" #i
#define CALL "svc 0"
#elif defined(__riscv)
__asm__(".globl _start\n_start:\n\t.option push\n\t.option norelax\n\tla gp, __global_pointer$\n\t.option pop\n"
        "\tmv a0, sp\n\tandi sp, sp, -16\n\ttail run_program\n");
#define NUMBER "a7"
#define ARGUMENT(i) "a" #i
#define CALL "ecall"
#endif

#ifdef NUMBER
static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    register long n __asm__(NUMBER) = number;
    register long r0 __asm__(ARGUMENT(0)) = a;
    register long r1 __asm__(ARGUMENT(1)) = b;
    register long r2 __asm__(ARGUMENT(2)) = c;
    register long r3 __asm__(ARGUMENT(3)) = d;
    register long r4 __asm__(ARGUMENT(4)) = e;
    register long r5 __asm__(ARGUMENT(5)) = f;
    __asm__ volatile(CALL : "+r"(r0) : "r"(n), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5) : "memory");
    return r0;
}
#endif

static long or_minus_one(long result) { return result < 0 && result >= -LAST_ERROR ? -1 : result; }

ssize_t read(int file, void *data, size_t bytes)
{
    return or_minus_one(kernel(SYS_read, file, (long)data, (long)bytes, 0, 0, 0));
}

ssize_t write(int file, const void *data, size_t bytes)
{
    return or_minus_one(kernel(SYS_write, file, (long)data, (long)bytes, 0, 0, 0));
}

/* `offset` must be 0. */
void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset)
{
    (void)offset;
#ifdef SYS_mmap2
    return (void *)or_minus_one(kernel(SYS_mmap2, (long)at, (long)bytes, protection, flags, file, 0));
#else
    return (void *)or_minus_one(kernel(SYS_mmap, (long)at, (long)bytes, protection, flags, file, 0));
#endif
}

int munmap(void *at, size_t bytes) { return (int)or_minus_one(kernel(SYS_munmap, (long)at, (long)bytes, 0, 0, 0, 0)); }

int mprotect(void *at, size_t bytes, int protection)
{
    return (int)or_minus_one(kernel(SYS_mprotect, (long)at, (long)bytes, protection, 0, 0, 0));
}

/* Only the size of a page. */
long sysconf(int name) { return name == _SC_PAGESIZE ? (long)page_bytes : -1; }

_Noreturn void _exit(int status)
{
    for (;;)
        kernel(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

/* `stack` is the stack at the start of the process: the number of arguments, the arguments, 0, the environment, 0,
 * pairs of an AT_ constant and a value. */
__attribute__((used)) _Noreturn void run_program(uintptr_t *stack)
{
    int count = (int)stack[0];
    char **words = (char **)(stack + 1);
    uintptr_t *entry = stack + count + 2;
    while (*entry)
        entry++;
    for (entry++; entry[0] != AT_NULL; entry += 2)
        if (entry[0] == AT_PAGESZ)
            page_bytes = entry[1];
    _exit(main(count, words));
}
