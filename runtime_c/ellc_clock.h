/* A clock that never goes back, for measuring. */
#ifndef ELLC_CLOCK_H
#define ELLC_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Nanoseconds since some fixed moment. On bare metal the application defines this function. */
uint64_t ellc_clock_ns(void);

#ifdef __cplusplus
}
#endif
#endif
