/* The whole framework: a CHECK that does not hold ends the program; every test that passed prints one line. */
#ifndef CHECK_H
#define CHECK_H

#include "core/alloc.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* For integers of any type. */
#define CHECK_EQ(actual, expected)                                                                                     \
    do {                                                                                                               \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                                    \
        if (actual_ != expected_) {                                                                                    \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #actual, actual_, #expected,     \
                    expected_);                                                                                        \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Every test must give back what it took. */
#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        size_t live_before_ = fw_alloc_live();                                                                         \
        test();                                                                                                        \
        CHECK_EQ(fw_alloc_live(), live_before_);                                                                       \
        printf("ok %s %s\n", __FILE__, #test);                                                                         \
        fflush(stdout); /* a sanitizer's abort would lose it */                                                        \
    } while (0)

/* The same numbers in every run, unless FW_SEED says otherwise; printed, so that a failure can be repeated. */
static inline uint64_t seed_for(const char *file)
{
    const char *text = getenv("FW_SEED");
    uint64_t value = text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : 20240229;
    printf("seed %s FW_SEED=%" PRIu64 "\n", file, value);
    fflush(stdout);
    return value;
}

#define SEED() seed_for(__FILE__)

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return random_next(state) % bound;
}

#endif
