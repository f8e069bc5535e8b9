/* Streams as a server might send them: what is counted, and that it does not depend on the cuts. */
#include "feed.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
#define PLAIN HEAD "\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static struct fw_tally tally; /* large */

/* Feeds `text` in every size of pieces; the counts must agree. Leaves them in `tally`; returns the verdict. */
static enum fw_verdict feed_all_ways(const char *text, size_t size)
{
    static struct fw_tally first;
    enum fw_verdict verdict = FW_STREAM_ON;
    for (size_t step = 0; step < 40; step++) {
        struct fw_stream stream = {0};
        memset(&tally, 0, sizeof tally);
        enum fw_verdict here = feed(&stream, text, size, step, &tally);
        if (here == FW_STREAM_ON)
            fw_stream_closed(&stream, false, &tally);
        fw_stream_free(&stream);
        if (step == 0) {
            verdict = here;
            first = tally;
        }
        CHECK_EQ(here, verdict);
        tally.bytes = first.bytes;                                   /* pieces after the end are not fed */
        tally.faults[FW_FAULT_AFTER] = first.faults[FW_FAULT_AFTER]; /* nor seen */
        CHECK(memcmp(&tally, &first, sizeof tally) == 0);
    }
    return verdict;
}

#define FEED(text) feed_all_ways(text, sizeof(text) - 1)

static uint64_t sum(const uint64_t *counts, int size)
{
    uint64_t all = 0;
    for (int i = 0; i < size; i++)
        all += counts[i];
    return all;
}

static void test_bodies(void)
{
    CHECK_EQ(FEED(PLAIN "data: {\"seq\":7}\n\ndata: {\"seq\": 8 , \"x\":1}\n\n"), FW_STREAM_ON);
    CHECK_EQ(tally.events, 2);
    CHECK_EQ(tally.numbered, 2);
    CHECK_EQ(tally.connects, 1);
    CHECK_EQ(tally.disconnects, 1);
    CHECK_EQ(tally.open, 0);
    CHECK_EQ(tally.most_open, 1);

    CHECK_EQ(FEED(CHUNKED "9\r\ndata: 1\n\n\r\n4;x=y\r\ndata\r\n5\r\n: 2\n\n\r\n0\r\nx-t: y\r\n\r\n"), FW_STREAM_END);
    CHECK_EQ(tally.events, 2);
    CHECK_EQ(tally.numbered, 2);

    CHECK_EQ(FEED(HEAD "content-length: 18\r\n\r\ndata: 1\n\ndata: 2\n\n"), FW_STREAM_END);
    CHECK_EQ(tally.events, 2);

    CHECK_EQ(FEED("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" PLAIN "data: 1\n\n"), FW_STREAM_ON);
    CHECK_EQ(tally.events, 1);
    CHECK_EQ(sum(tally.faults, FW_FAULTS), 0);
}

static void test_ends_inside_an_event(void)
{
    CHECK_EQ(FEED(PLAIN "data: 1\n\ndata: 2\n"), FW_STREAM_ON);
    CHECK_EQ(tally.faults[FW_FAULT_UNFINISHED], 1);
    CHECK_EQ(FEED(CHUNKED "9\r\ndata: 1\n\n\r\n4\r\ndata\r\n0\r\n\r\n"), FW_STREAM_END);
    CHECK_EQ(tally.faults[FW_FAULT_UNFINISHED], 1);
    /* No last chunk: the server gave up; its framing up to there was right. */
    CHECK_EQ(FEED(CHUNKED "9\r\ndata: 1\n\n\r\n4\r\nda"), FW_STREAM_ON);
    CHECK_EQ(sum(tally.faults, FW_FAULTS), 0);
    CHECK_EQ(tally.disconnects, 1);
}

static void test_broken_chunks(void)
{
    static const char *const bodies[] = {
        "\r\n",
        "9\ndata: 1\n\n\r\n",
        " 9\r\n",
        "9 \r\n",
        "0x9\r\n",
        "-1\r\n",
        "9\r\ndata: 1\n\nX",
        "9\r\ndata: 1\n\n\rX",
        "fffffffffffffffff\r\n",
        "0000000000000000\r\n",
        "0\r\n x\r\n\r\n",
        "0\r\n\rX",
        "1;a\nb\r\n",
        "data: 1\n\n",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char text[400];
        int size = snprintf(text, sizeof text, "%s%s", CHUNKED, bodies[i]);
        CHECK_EQ(feed_all_ways(text, (size_t)size), FW_STREAM_END);
        CHECK_EQ(tally.faults[FW_FAULT_CHUNK], 1);
        CHECK_EQ(tally.disconnects, 1);
    }
    struct fw_stream stream = {0};
    static const char rest[] = CHUNKED "0\r\n\r\nX";
    memset(&tally, 0, sizeof tally);
    CHECK_EQ(feed(&stream, rest, sizeof rest - 1, 0, &tally), FW_STREAM_END);
    CHECK_EQ(tally.faults[FW_FAULT_AFTER], 1);
    fw_stream_free(&stream);
}

static void test_malformed_heads(void)
{
    static const char *const heads[] = {
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\nx: y\n\n",
        HEAD "a : b\r\n\r\n",
        HEAD " folded\r\n\r\n",
        HEAD "nocolon\r\n\r\n",
        HEAD "a: \x01\r\n\r\n",
        HEAD "content-length: 5\r\ncontent-length: 6\r\n\r\n",
        HEAD "content-length: +5\r\n\r\n",
        HEAD "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        HEAD "transfer-encoding: gzip, chunked\r\n\r\n",
        HEAD "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        CHECK_EQ(feed_all_ways(heads[i], strlen(heads[i])), FW_STREAM_REFUSED);
        CHECK_EQ(tally.faults[FW_FAULT_HEAD], 1);
        CHECK_EQ(tally.failures[FW_FAILURE_HEAD], 1);
        CHECK_EQ(tally.connects, 0);
    }
    size_t size = FW_HEAD_MAX + 100;
    char *endless = malloc(size);
    memset(endless, 'a', size);
    memcpy(endless, HEAD, sizeof HEAD - 1);
    CHECK_EQ(feed_all_ways(endless, size), FW_STREAM_REFUSED);
    free(endless);
    CHECK_EQ(FEED(HEAD), FW_STREAM_ON);
    CHECK_EQ(tally.failures[FW_FAILURE_CLOSED], 1);
}

static void test_refusals(void)
{
    CHECK_EQ(FEED("HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nabc"), FW_STREAM_REFUSED);
    CHECK_EQ(tally.failures[FW_FAILURE_STATUS], 1);
    CHECK_EQ(tally.bad_status, 500);
    CHECK_EQ(FEED("HTTP/1.1 204\r\n\r\n"), FW_STREAM_REFUSED);
    CHECK_EQ(tally.bad_status, 204);
    CHECK_EQ(FEED("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n"), FW_STREAM_REFUSED);
    CHECK_EQ(tally.failures[FW_FAILURE_TYPE], 1);
    CHECK_EQ(FEED("HTTP/1.1 200 OK\r\n\r\n"), FW_STREAM_REFUSED);
    CHECK_EQ(FEED(HEAD "content-encoding: gzip\r\n\r\n"), FW_STREAM_REFUSED);
    CHECK_EQ(tally.failures[FW_FAILURE_TYPE], 1);
    CHECK_EQ(sum(tally.faults, FW_FAULTS), 0);
}

static void test_faults_of_a_body(void)
{
    FEED(PLAIN "foo: 1\ndata: \xff\nretry: x\nretry: 5\nid: a\0b\n\n");
    CHECK_EQ(tally.events, 1);
    CHECK_EQ(tally.faults[FW_FAULT_FIELD], 1);
    CHECK_EQ(tally.faults[FW_FAULT_UTF8], 1);
    CHECK_EQ(tally.faults[FW_FAULT_RETRY], 1);
    CHECK_EQ(tally.faults[FW_FAULT_ID], 1);
    CHECK_EQ(sum(tally.faults, FW_FAULTS), 4);
}

static void test_too_large_an_event(void)
{
    static const char head[] = PLAIN "data: 1\n\ndata: ";
    struct fw_stream stream = {0};
    char line[4096];
    memset(line, 'x', sizeof line);
    memset(&tally, 0, sizeof tally);
    CHECK_EQ(feed(&stream, head, sizeof head - 1, 0, &tally), FW_STREAM_ON);
    enum fw_verdict verdict = FW_STREAM_ON;
    size_t fed = 0;
    for (; verdict == FW_STREAM_ON; fed += sizeof line)
        verdict = feed_piece(&stream, line, sizeof line, &tally);
    CHECK_EQ(verdict, FW_STREAM_END);
    CHECK(fed >= FW_BUFFER_MAX && fed <= FW_BUFFER_MAX + 2 * sizeof line);
    CHECK_EQ(tally.faults[FW_FAULT_LARGE], 1);
    CHECK_EQ(tally.events, 1);
    fw_stream_free(&stream);
}

static void test_reconnects(void)
{
    static const char first[] = PLAIN "retry: 20\nid: a7\ndata: 7\n\nid: unfinished\ndata: 8\n";
    static const char second[] = PLAIN "id: a8\ndata: 8\n\ndata: 10\n\n", third[] = PLAIN "data: 10\n\nid:\n\n";
    struct fw_stream stream = {0};
    memset(&tally, 0, sizeof tally);
    CHECK_EQ(fw_stream_begin(&stream).size, 0);
    CHECK_EQ(feed(&stream, first, sizeof first - 1, 3, &tally), FW_STREAM_ON);
    fw_stream_closed(&stream, true, &tally);
    struct fw_text id = fw_stream_begin(&stream);
    CHECK(id.size == 2 && memcmp(id.at, "a7", 2) == 0);
    CHECK_EQ(stream.parse.retry, 20);
    CHECK_EQ(feed(&stream, second, sizeof second - 1, 3, &tally), FW_STREAM_ON);
    fw_stream_closed(&stream, false, &tally);
    CHECK_EQ(tally.resumes, 1);
    CHECK_EQ(tally.disorder.lost, 1); /* 9 */
    CHECK_EQ(feed(&stream, third, sizeof third - 1, 3, &tally), FW_STREAM_ON);
    CHECK_EQ(tally.disorder.duplicates, 1); /* 10 was sent already, and the server was told */
    fw_stream_closed(&stream, false, &tally);
    CHECK_EQ(fw_stream_begin(&stream).size, 0);
    CHECK_EQ(tally.connects, 3);
    CHECK_EQ(tally.opened, 1);
    CHECK_EQ(tally.resumes, 2);
    CHECK_EQ(tally.disconnects, 3);
    CHECK_EQ(sum(tally.faults, FW_FAULTS), 0);
    fw_stream_free(&stream);
}

static void test_an_idle_stream_is_small(void)
{
    static const char text[] = CHUNKED "1c\r\nevent: e\nid: 123456\ndata: 1\n\r\n1\r\n\n\r\n";
    size_t before = fw_alloc_live();
    struct fw_stream stream = {0};
    CHECK_EQ(feed(&stream, text, sizeof text - 1, 1, &tally), FW_STREAM_ON);
    CHECK(sizeof stream + fw_alloc_live() - before <= 1024);
    fw_stream_free(&stream);
}

static void test_no_memory(void)
{
    static const char text[] = CHUNKED "1c\r\nevent: e\nid: 123456\ndata: 1\n\r\n1\r\n\n\r\n";
    for (int successes = 0;; successes++) {
        struct fw_stream stream = {0};
        memset(&tally, 0, sizeof tally);
        fw_alloc_fail_after(successes);
        enum fw_verdict verdict = feed(&stream, text, sizeof text - 1, 7, &tally);
        fw_alloc_fail_after(-1);
        fw_stream_free(&stream);
        if (verdict == FW_STREAM_ON) {
            CHECK(successes >= 4 && tally.events == 1);
            return;
        }
        CHECK_EQ(verdict, FW_STREAM_NOMEM);
    }
}

int main(void)
{
    RUN(test_bodies);
    RUN(test_ends_inside_an_event);
    RUN(test_broken_chunks);
    RUN(test_malformed_heads);
    RUN(test_refusals);
    RUN(test_faults_of_a_body);
    RUN(test_too_large_an_event);
    RUN(test_reconnects);
    RUN(test_an_idle_stream_is_small);
    RUN(test_no_memory);
    return 0;
}
