/* A stream fed from text, whole or cut, and what it counted. */
#ifndef FEED_H
#define FEED_H

#include "check.h"
#include "load/stream.h"

static const struct fw_keys feed_keys = {{"\"seq\"", 5}, {"\"ts\"", 4}};

/* Feeds one piece from memory of its own, so that a byte read beside it, or kept after it, is seen. */
static inline enum fw_verdict feed_piece(struct fw_stream *stream, const char *bytes, size_t size,
                                         struct fw_tally *tally)
{
    char *copy = malloc(size);
    CHECK(copy != NULL || size == 0);
    if (size != 0)
        memcpy(copy, bytes, size);
    enum fw_verdict verdict = fw_stream_feed(stream, copy, size, UINT64_C(2000000000000000000), &feed_keys, tally);
    free(copy);
    return verdict;
}

/* Feeds pieces of `step` bytes (0: whole) until the verdict is another than FW_STREAM_ON; returns it. */
static inline enum fw_verdict feed(struct fw_stream *stream, const char *bytes, size_t size, size_t step,
                                   struct fw_tally *tally)
{
    enum fw_verdict verdict = FW_STREAM_ON;
    fw_stream_begin(stream);
    for (size_t at = 0; at < size && verdict == FW_STREAM_ON; at += step != 0 ? step : size) {
        size_t rest = size - at;
        verdict = feed_piece(stream, bytes + at, step != 0 && step < rest ? step : rest, tally);
    }
    return verdict;
}

#endif
