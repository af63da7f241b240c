/* The payload that all sources write and the load generator reads: "#<seq>,<ns>#", padded to 120 bytes.
 *
 * `seq` counts from 0 in each log; `ns` is CLOCK_MONOTONIC, which all processes of a machine share.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAYLOAD_BYTES 120

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void sleep_until(uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Writes PAYLOAD_BYTES bytes, without a NUL at the end. */
static inline void write_payload(char *to, uint32_t seq, uint64_t ns) {
    char mark[40];
    int length = snprintf(mark, sizeof mark, "#%08u,%016llu#", seq, (unsigned long long)ns);
    memset(to, 'x', PAYLOAD_BYTES);
    memcpy(to, mark, (size_t)length);
}

static inline const char *read_digits(const char *at, const char *end, uint64_t *value) {
    for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (uint64_t)(*at - '0');
    return at;
}

/* Finds the mark in a line; returns 0 if the line has no mark. */
static inline int read_payload(const char *line, size_t length, uint64_t *seq, uint64_t *ns) {
    const char *end = line + length, *at = memchr(line, '#', length);
    if (!at) return 0;
    at = read_digits(at + 1, end, seq);
    if (at == end || *at != ',') return 0;
    at = read_digits(at + 1, end, ns);
    return at < end && *at == '#';
}

#endif
