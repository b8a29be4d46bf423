/* Start-up of a test program in WebAssembly. The program uses no C library. */
#include "../memory_functions.h"
#include "host.h"

extern int main(void);

void _start(void)
{
    int status = main();
    if (status)
        host_exit((uintptr_t)status);
}
