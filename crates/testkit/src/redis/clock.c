/* Loaded into a test's server by LD_PRELOAD: its time of day is the number of milliseconds since 1970 that stands, as eight
   bytes with the lowest first, in the file that LAUNCHKIT_CLOCK names. Zero is the machine's clock. Monotonic clocks, by which
   the server waits for its next round, are left alone.

   Valkey asks for the time once in a millisecond and fills in what lies between by the processor's counter of ticks, so that it
   would not see at once what was set. It does that where /proc/cpuinfo names the counter's rate, so it does not find that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static uint64_t machine = 0;
static uint64_t *stands = &machine;

__attribute__((constructor)) static void open_clock(void) {
  const char *path = getenv("LAUNCHKIT_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) {
    fputs("LAUNCHKIT_CLOCK names no file of eight bytes\n", stderr);
    _exit(1);
  }
  close(file);
  stands = page;
}

int clock_gettime(clockid_t which, struct timespec *out) {
  uint64_t now = le64toh(__atomic_load_n(stands, __ATOMIC_ACQUIRE));
  if (now == 0 || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return (int)syscall(SYS_clock_gettime, which, out);
  out->tv_sec = (time_t)(now / 1000);
  out->tv_nsec = (long)(now % 1000) * 1000000;
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

static FILE *open_other(const char *name, const char *path, const char *mode) {
  if (path && strcmp(path, "/proc/cpuinfo") == 0) {
    errno = ENOENT;
    return NULL;
  }
  FILE *(*next)(const char *, const char *);
  *(void **)&next = dlsym(RTLD_NEXT, name);
  return next(path, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode) { return open_other("fopen", path, mode); }

FILE *fopen64(const char *restrict path, const char *restrict mode) { return open_other("fopen64", path, mode); }
