/* Another time of day for one process: CLOCK_SECONDS are added to what the system's clock says. For tests that need a
 * day to pass; intervals stay what they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, at);
    const char *seconds = getenv("CLOCK_SECONDS");
    if (!failed && id == CLOCK_REALTIME && seconds)
        at->tv_sec += atol(seconds);
    return failed;
}
