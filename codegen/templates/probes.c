/* The probe that programs of `build_kept` call after kernels. Like a kernel, it takes pointers and a range. */
#include <stddef.h>

/* Copy the bytes [begin, end) of `from` before a later step overwrites them. */
void ellc_keep(void *to, const void *from, ptrdiff_t begin, ptrdiff_t end)
{
    unsigned char *t = (unsigned char *)to;
    const unsigned char *f = (const unsigned char *)from;
    ptrdiff_t i;
    for (i = begin; i < end; i++)
        t[i] = f[i];
}
