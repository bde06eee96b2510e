/* Preloaded: counts what a process asks the C library to change in files, and kills the process at one of these steps.
   A write counts twice: before it, and when half of it is done. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static long left;

void die_at_step(long step) { left = step; }

static int due(void) { return __atomic_load_n(&left, __ATOMIC_SEQ_CST) && !__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST); }

static void step(void) {
    if (due()) kill(getpid(), SIGKILL);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define STEP(name, result, parameters, arguments) \
    result name parameters { REAL(name); step(); return real arguments; }

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    step();
    if (due()) { real(file, bytes, count / 2); kill(getpid(), SIGKILL); }
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    REAL(pwrite);
    step();
    if (due()) { real(file, bytes, count / 2, offset); kill(getpid(), SIGKILL); }
    return real(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    REAL(pwrite64);
    step();
    if (due()) { real(file, bytes, count / 2, offset); kill(getpid(), SIGKILL); }
    return real(file, bytes, count, offset);
}

STEP(fsync, int, (int file), (file))
STEP(fdatasync, int, (int file), (file))
STEP(ftruncate, int, (int file, off_t length), (file, length))
STEP(ftruncate64, int, (int file, off64_t length), (file, length))
STEP(posix_fallocate, int, (int file, off_t from, off_t length), (file, from, length))
STEP(posix_fallocate64, int, (int file, off64_t from, off64_t length), (file, from, length))
STEP(fchmod, int, (int file, mode_t mode), (file, mode))
STEP(rename, int, (const char *from, const char *to), (from, to))
STEP(renameat, int, (int a, const char *from, int b, const char *to), (a, from, b, to))
STEP(link, int, (const char *from, const char *to), (from, to))
STEP(linkat, int, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
STEP(unlink, int, (const char *path), (path))
STEP(unlinkat, int, (int folder, const char *path, int flags), (folder, path, flags))
STEP(mkdir, int, (const char *path, mode_t mode), (path, mode))
STEP(mkdirat, int, (int folder, const char *path, mode_t mode), (folder, path, mode))
