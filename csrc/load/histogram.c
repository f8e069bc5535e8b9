#include "load/histogram.h"

#define SHARE_BITS 5 /* 2^5 = FW_HISTOGRAM_SHARES */

/* Values below 32 have a bucket each; above, the top bit names the row, the five bits below it the bucket in it. */
static unsigned bucket_of(uint64_t value)
{
    if (value < FW_HISTOGRAM_SHARES)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SHARE_BITS;
    return (shift << SHARE_BITS) + (unsigned)(value >> shift);
}

static uint64_t last_of(unsigned bucket)
{
    if (bucket < FW_HISTOGRAM_SHARES)
        return bucket;
    unsigned shift = (bucket >> SHARE_BITS) - 1;
    uint64_t first = (uint64_t)((bucket & (FW_HISTOGRAM_SHARES - 1)) + FW_HISTOGRAM_SHARES) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void fw_histogram_add(struct fw_histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->buckets[bucket_of(value)]++;
    if (value > histogram->highest)
        histogram->highest = value;
}

uint64_t fw_histogram_quantile(const struct fw_histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < FW_HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen != 0 && (double)seen >= wanted)
            return last_of(bucket) < histogram->highest ? last_of(bucket) : histogram->highest;
    }
    return histogram->highest;
}
