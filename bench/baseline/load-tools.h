/* What the load generator needs that has nothing to do with NVMe: failing, time, the pattern of the data, latencies. */
#ifndef LOAD_TOOLS_H
#define LOAD_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the run with a sentence and exit code 1. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
/* Zeroed memory. */
void *allocate(size_t size);

uint64_t now_ns(void);
/* User and system time, all threads; of another process in steps of a clock tick. */
uint64_t own_cpu_us(void);
uint64_t process_cpu_us(long pid);

/* Spreads the bits of a number over a word. */
static inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/*
 * The word at `byte` of the namespace (a multiple of 8). There are two patterns, the one that a namespace is filled
 * with and the one of writes after that, so that a write that never happened is seen.
 */
static inline uint64_t pattern_word(uint64_t seed, uint64_t byte, bool written) {
  return mix(byte + (seed << 1 | written) * 0x9e3779b97f4a7c15u);
}
void make_pattern(uint8_t *data, uint64_t seed, uint64_t byte, uint32_t length, bool written);

/* Latencies are counted in 32 buckets for each power of two: a value is known to 3 %. */
void add_latency(uint64_t ns);
/* The latency that `fraction` of all commands did not exceed. */
double latency_us(double fraction);

#endif
