#define _GNU_SOURCE
#include "load-tools.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) fail("out of memory");
  return memory;
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t own_cpu_us(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
         (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* utime + stime of /proc/PID/stat. */
uint64_t process_cpu_us(long pid) {
  char path[64], line[1024];
  unsigned long user, system;
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file || !fgets(line, sizeof line, file)) fail("cannot read %s", path);
  fclose(file);
  /* The name of the program is in parentheses and may contain anything. */
  const char *rest = strrchr(line, ')');
  if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    fail("cannot understand %s", path);
  return (uint64_t)(user + system) * (1000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

void make_pattern(uint8_t *data, uint64_t seed, uint64_t byte, uint32_t length, bool written) {
  for (uint32_t i = 0; i < length; i += 8) {
    uint64_t word = pattern_word(seed, byte + i, written);
    memcpy(data + i, &word, 8);
  }
}

enum { SUB_BITS = 5, SUB_BUCKETS = 1 << SUB_BITS, BUCKETS = 64 << SUB_BITS };
static uint64_t counts[BUCKETS], total;

static uint32_t bucket(uint64_t ns) {
  if (ns < SUB_BUCKETS) return (uint32_t)ns;
  uint32_t shift = 63 - SUB_BITS - (uint32_t)__builtin_clzll(ns);
  return ((shift + 1) << SUB_BITS) + ((uint32_t)(ns >> shift) & (SUB_BUCKETS - 1));
}

void add_latency(uint64_t ns) {
  counts[bucket(ns)]++;
  total++;
}

double latency_us(double fraction) {
  uint64_t rank = (uint64_t)(fraction * (double)total), seen = 0;
  uint32_t b = 0;
  while (b < BUCKETS - 1 && (seen += counts[b]) <= rank) b++;
  if (b < SUB_BUCKETS) return b / 1e3;
  uint32_t shift = (b >> SUB_BITS) - 1;
  uint64_t low = (uint64_t)(SUB_BUCKETS + (b & (SUB_BUCKETS - 1))) << shift;
  return ((double)low + (double)(1ull << shift) / 2) / 1e3; /* the middle of the bucket */
}
