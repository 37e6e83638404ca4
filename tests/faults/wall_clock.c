/* Preloaded into a process, gives it a wall clock that somebody else can shift while it runs: by the
 * number of seconds in the file that WALL_CLOCK_FILE names. Monotonic clocks stay as they are.
 *
 * gRPC's core and what it is built on ask the kernel for the time with syscall(2), and wait with it
 * until a time of day; so that is where they are met. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long none = 0;
static const volatile long *shift = &none;
static long (*next_syscall)(long, ...);
static int (*next_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("WALL_CLOCK_FILE");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *shared;

    next_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    next_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (file < 0)
        return;
    shared = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED)
        shift = shared;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed;

    if (!next_gettime)
        begin();
    failed = next_gettime(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told)
{
    struct timespec exact;

    clock_gettime(CLOCK_REALTIME, &exact);
    if (told)
        *told = exact.tv_sec;
    return exact.tv_sec;
}

long syscall(long number, ...)
{
    struct timespec until;
    long a[6];
    va_list arguments;

    va_start(arguments, number);
    for (int n = 0; n < 6; n++)
        a[n] = va_arg(arguments, long);
    va_end(arguments);
    if (!next_syscall)
        begin();
    if (number == SYS_clock_gettime)
        return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    if (number == SYS_futex && a[3] && (a[1] & FUTEX_CLOCK_REALTIME)) {
        until = *(const struct timespec *)a[3];
        until.tv_sec = until.tv_sec > *shift ? until.tv_sec - *shift : 0;
        a[3] = (long)&until;
    }
    return next_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
