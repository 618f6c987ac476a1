/* Replaces the time of day of an engine that is started with this library in LD_PRELOAD: the engine reads its time,
 * microseconds since 1970, from the file that ENGINE_CLOCK names. Other programs keep the real time. See clock.py. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *given;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ENGINE_CLOCK");
    size_t length = strlen(program_invocation_short_name);
    if (path == NULL || length < 7 || strcmp(program_invocation_short_name + length - 7, "-server") != 0)
        return;
    int file = open(path, O_RDONLY);
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    given = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int counts_cpu = clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
    if (given == NULL || counts_cpu) return (int)syscall(SYS_clock_gettime, clock, now);
    int64_t us = *given;
    now->tv_sec = us / 1000000;
    now->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (result != NULL) *result = found.tv_sec;
    return found.tv_sec;
}
