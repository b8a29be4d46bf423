/* Called after kernels by programs of `build_kept`; parameters as of a kernel: pointers, a range. */
#include <stddef.h>

/* Copy bytes `begin`..`end` of `from`, before something else overwrites them. */
void ellc_keep(void *to, const void *from, ptrdiff_t begin, ptrdiff_t end)
{
    unsigned char *t = (unsigned char *)to;
    const unsigned char *f = (const unsigned char *)from;
    ptrdiff_t i;
    for (i = begin; i < end; i++)
        t[i] = f[i];
}
