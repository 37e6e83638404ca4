/* gRPC's core and what it is built on ask the kernel for the time with syscall(2), and wait with it
 * until a time of day, past libfaketime. With this beside it, both do as everybody else does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

static long (*next)(long, ...);

static void to_kernel_time(const struct timespec *told, struct timespec *kernel)
{
    struct timespec faked, truth;

    clock_gettime(CLOCK_REALTIME, &faked);
    next(SYS_clock_gettime, CLOCK_REALTIME, &truth);
    kernel->tv_sec = told->tv_sec - faked.tv_sec + truth.tv_sec;
    kernel->tv_nsec = told->tv_nsec - faked.tv_nsec + truth.tv_nsec;
    for (; kernel->tv_nsec < 0; kernel->tv_sec--)
        kernel->tv_nsec += 1000000000;
    for (; kernel->tv_nsec >= 1000000000; kernel->tv_sec++)
        kernel->tv_nsec -= 1000000000;
    if (kernel->tv_sec < 0)
        kernel->tv_sec = kernel->tv_nsec = 0;
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
    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_clock_gettime)
        return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    if (number == SYS_futex && a[3] && (a[1] & FUTEX_CLOCK_REALTIME)) {
        to_kernel_time((const struct timespec *)a[3], &until);
        a[3] = (long)&until;
    }
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
