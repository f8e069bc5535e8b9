#include "load/stream.h"

#include "core/status.h"
#include "load/json.h"

/* What the parser's callbacks need. */
struct reading {
    struct fw_stream *stream;
    uint64_t now;
    const struct fw_keys *keys;
    struct fw_tally *tally;
};

/* ---- events ---- */

static bool is_digits(struct fw_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return text.size != 0;
}

static void take_number(struct reading *reading, struct fw_text text)
{
    uint64_t number;
    if (!fw_json_whole(text, &number))
        return;
    reading->tally->numbered++;
    fw_order_take(&reading->stream->order, number, &reading->tally->disorder);
}

static void take_time(struct reading *reading, struct fw_text text)
{
    uint64_t sent;
    if (fw_json_time(text, &sent)) /* clocks that disagree: no delay rather than a negative one */
        fw_histogram_add(&reading->tally->latency, sent < reading->now ? reading->now - sent : 0);
}

static void on_event(void *context, const struct fw_parsed *event)
{
    struct reading *reading = context;
    struct fw_tally *tally = reading->tally;
    tally->events++;
    tally->last_event = reading->now;
    if (tally->first_event == 0)
        tally->first_event = reading->now;
    if (is_digits(event->data)) {
        take_number(reading, event->data);
        return;
    }
    struct fw_text names[2] = {reading->keys->sequence, reading->keys->time}, values[2];
    fw_json_find(event->data, names, values);
    if (values[0].at != NULL)
        take_number(reading, values[0]);
    if (values[1].at != NULL)
        take_time(reading, values[1]);
}

static void on_fault(void *context, enum fw_fault fault)
{
    struct reading *reading = context;
    reading->tally->faults[fault]++;
}

/* ---- the connection ---- */

static void over(struct fw_stream *stream, struct fw_tally *tally)
{
    if (stream->is_open) {
        tally->open--;
        tally->disconnects++;
    }
    stream->is_open = false;
}

static enum fw_verdict refused(struct fw_stream *stream, enum fw_failure failure, struct fw_tally *tally)
{
    tally->failures[failure]++;
    over(stream, tally);
    return FW_STREAM_REFUSED;
}

static enum fw_verdict take_head(struct fw_stream *stream, struct fw_tally *tally)
{
    const struct fw_head *head = &stream->http.head;
    if (head->status != 200) {
        tally->bad_status = head->status;
        return refused(stream, FW_FAILURE_STATUS, tally);
    }
    if (!head->is_event_stream || head->is_encoded)
        return refused(stream, FW_FAILURE_TYPE, tally);
    tally->connects++;
    tally->resumes += stream->is_resumed;
    tally->opened += !stream->was_open;
    if (++tally->open > tally->most_open)
        tally->most_open = tally->open;
    stream->is_open = stream->was_open = true;
    return FW_STREAM_ON;
}

static enum fw_verdict ended(struct fw_stream *stream, struct fw_tally *tally)
{
    if (stream->is_open && fw_parse_unfinished(&stream->parse))
        tally->faults[FW_FAULT_UNFINISHED]++;
    over(stream, tally);
    return FW_STREAM_END;
}

static enum fw_verdict broken(struct fw_stream *stream, enum fw_fault fault, struct fw_tally *tally)
{
    tally->faults[fault]++;
    if (!stream->is_open)
        return refused(stream, FW_FAILURE_HEAD, tally);
    over(stream, tally);
    return FW_STREAM_END;
}

struct fw_text fw_stream_begin(struct fw_stream *stream)
{
    struct fw_text id = stream->parse.last_id.text;
    fw_http_reset(&stream->http);
    fw_parse_restart(&stream->parse);
    stream->is_resumed = stream->was_open && id.size != 0;
    if (stream->was_open)
        fw_order_reconnect(&stream->order, stream->is_resumed);
    return id;
}

enum fw_verdict fw_stream_feed(struct fw_stream *stream, const char *bytes, size_t size, uint64_t now,
                               const struct fw_keys *keys, struct fw_tally *tally)
{
    struct reading reading = {stream, now, keys, tally};
    const struct fw_parse_sink sink = {on_event, on_fault, &reading};
    const char *at = bytes, *end = bytes + size;
    enum fw_verdict verdict = FW_STREAM_ON;
    tally->bytes += size;
    while (verdict == FW_STREAM_ON) {
        struct fw_text piece;
        switch (fw_http_next(&stream->http, &at, end, &piece)) {
        case FW_HTTP_MORE:
            return FW_STREAM_ON;
        case FW_HTTP_HEAD:
            verdict = take_head(stream, tally);
            break;
        case FW_HTTP_BODY: {
            int status = fw_parse_feed(&stream->parse, piece.at, piece.size, &sink);
            if (status != FW_OK)
                verdict = status == FW_ESIZE ? broken(stream, FW_FAULT_LARGE, tally) : FW_STREAM_NOMEM;
            break;
        }
        case FW_HTTP_END:
            tally->faults[FW_FAULT_AFTER] += at != end;
            verdict = ended(stream, tally);
            break;
        case FW_HTTP_BROKEN:
            verdict = broken(stream, stream->http.fault, tally);
            break;
        case FW_HTTP_NOMEM:
            verdict = FW_STREAM_NOMEM;
        }
    }
    return verdict;
}

void fw_stream_closed(struct fw_stream *stream, bool is_reset, struct fw_tally *tally)
{
    if (!stream->is_open)
        tally->failures[FW_FAILURE_CLOSED]++;
    else if (!is_reset && fw_http_may_close(&stream->http))
        ended(stream, tally);
    else
        over(stream, tally); /* cut off: the server gave up, which says nothing about its framing */
}

void fw_stream_free(struct fw_stream *stream)
{
    fw_http_reset(&stream->http);
    fw_parse_free(&stream->parse);
    *stream = (struct fw_stream){0};
}
