/* The functions that a C compiler may call for copies. The start-up file of a program without a C library
 * includes this file. */
#ifndef MEMORY_FUNCTIONS_H
#define MEMORY_FUNCTIONS_H

#include <stddef.h>
#include <stdint.h>

typedef uintptr_t __attribute__((may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    for (; bytes >= sizeof(word) && (((uintptr_t)d | (uintptr_t)s) & (sizeof(word) - 1)) == 0;
         bytes -= sizeof(word), d += sizeof(word), s += sizeof(word))
        *(word *)(void *)d = *(const word *)(const void *)s;
    for (; bytes; bytes--)
        *d++ = *s++;
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    if (d <= s)
        return memcpy(to, from, bytes);
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    unsigned char *d = to;
    word many = (word)-1 / 255 * (unsigned char)value;
    for (; bytes && ((uintptr_t)d & (sizeof(word) - 1)); bytes--)
        *d++ = (unsigned char)value;
    for (; bytes >= sizeof(word); bytes -= sizeof(word), d += sizeof(word))
        *(word *)(void *)d = many;
    for (; bytes; bytes--)
        *d++ = (unsigned char)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

#endif
