/* What a system may do to a process, for tests: loaded before the C library, which answers everything else.
 *
 * FAULT_SYNC: while there is a file of this name, no sync of a node's or a broker's database succeeds.
 * FAULT_CLOCK: the wall clock is ahead by the seconds that stand in this file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fails(int file) {
    const char *fault = getenv("FAULT_SYNC");
    if (fault == NULL || access(fault, F_OK) != 0) return 0;
    char entry[64], path[PATH_MAX];
    snprintf(entry, sizeof entry, "/proc/self/fd/%d", file);
    ssize_t length = readlink(entry, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/node.db") != NULL || strstr(path, "/broker.db") != NULL;
}

static int synced(const char *name, int file) {
    int before = errno;
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    errno = before;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return synced("fsync", file); }

int fdatasync(int file) { return synced("fdatasync", file); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    const char *fault = getenv("FAULT_CLOCK");
    if (answer != 0 || clock != CLOCK_REALTIME || fault == NULL) return answer;
    int before = errno, file = open(fault, O_RDONLY | O_CLOEXEC);
    char text[32] = {0};
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) now->tv_sec += atoll(text);
    if (file >= 0) close(file);
    errno = before;
    return answer;
}
