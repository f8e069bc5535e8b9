/* libFuzzer target: any bytes mean the same whole and cut, and nothing is read or kept that is not ours. */
#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* The first byte says how the rest is cut. Without a head of its own, the input is the body behind a good one. */
static enum fw_verdict all(const char *head, const char *bytes, size_t size, size_t step, struct fw_tally *tally)
{
    struct fw_stream stream = {0};
    enum fw_verdict verdict = feed(&stream, head, strlen(head), 0, tally);
    for (size_t at = 0; at < size && verdict == FW_STREAM_ON; at += step) {
        size_t rest = size - at;
        verdict = feed_piece(&stream, bytes + at, step < rest ? step : rest, tally);
    }
    if (verdict == FW_STREAM_ON)
        fw_stream_closed(&stream, false, tally);
    fw_stream_free(&stream);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static const char *const heads[] = {
        "",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    };
    static struct fw_tally whole, cut; /* large */
    if (size < 2)
        return 0;
    const char *head = heads[input[0] % 3], *bytes = (const char *)input + 1;
    size--;
    size_t step = input[0] / 3 % 16 + 1;
    memset(&whole, 0, sizeof whole);
    memset(&cut, 0, sizeof cut);
    enum fw_verdict verdict = all(head, bytes, size, size, &whole);
    CHECK_EQ(all(head, bytes, size, step, &cut), verdict);
    /* Where the response is over, the cut one has not been given the rest. */
    if (verdict == FW_STREAM_ON)
        CHECK_EQ(cut.bytes, whole.bytes);
    cut.bytes = whole.bytes;
    cut.faults[FW_FAULT_AFTER] = whole.faults[FW_FAULT_AFTER];
    CHECK(memcmp(&whole, &cut, sizeof whole) == 0);
    CHECK_EQ(fw_alloc_live(), 0);
    return 0;
}
