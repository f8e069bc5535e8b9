/* Latencies in log-linear buckets: exact to 1/32 over the whole range of 64 bits, in constant memory. */
#ifndef FW_LOAD_HISTOGRAM_H
#define FW_LOAD_HISTOGRAM_H

#include <stdint.h>

#define FW_HISTOGRAM_SHARES 32 /* buckets for each power of two */
#define FW_HISTOGRAM_BUCKETS (60 * FW_HISTOGRAM_SHARES)

/* All zero is empty. */
struct fw_histogram {
    uint64_t count;
    uint64_t highest;
    uint64_t buckets[FW_HISTOGRAM_BUCKETS];
};

void fw_histogram_add(struct fw_histogram *histogram, uint64_t value);

/* Returns the least value that `share` (0 to 1) of all values do not exceed, rounded up to the end of its bucket but
 * not above the highest value; 0 if it is empty. */
uint64_t fw_histogram_quantile(const struct fw_histogram *histogram, double share);

#endif
