/* One stream without its socket: bytes in, counts out. It knows no time but the one that it is told. */
#ifndef FW_LOAD_STREAM_H
#define FW_LOAD_STREAM_H

#include "load/http.h"
#include "load/order.h"
#include "load/parse.h"
#include "load/tally.h"

/* Where to look in the data, shared by all streams: JSON strings with their quotes, as in json.h. */
struct fw_keys {
    struct fw_text sequence;
    struct fw_text time;
};

/* All zero is a stream that was never connected. About 400 bytes, and a few dozen for the last id. */
struct fw_stream {
    struct fw_http http;
    struct fw_parse parse;
    struct fw_order order;
    bool is_open;    /* the head was read, and is that of an event stream */
    bool was_open;   /* at any time */
    bool is_resumed; /* this connection sent a last id */
};

enum fw_verdict {
    FW_STREAM_ON,
    FW_STREAM_END,     /* the response is complete, or broken: close the connection; a browser would come back */
    FW_STREAM_REFUSED, /* another status or type: close the connection; a browser would stay away */
    FW_STREAM_NOMEM,
};

/* Begins a connection. Returns the last id, to be sent as Last-Event-ID where it is not empty; valid until bytes are
 * fed. */
struct fw_text fw_stream_begin(struct fw_stream *stream);

/* Takes bytes that arrived at `now` (ns since 1970), and counts what is in them. After anything but FW_STREAM_ON the
 * connection is over, and has been counted as that. */
enum fw_verdict fw_stream_feed(struct fw_stream *stream, const char *bytes, size_t size, uint64_t now,
                               const struct fw_keys *keys, struct fw_tally *tally);

/* The server has closed the connection (`is_reset`: not in good order). Counts that. */
void fw_stream_closed(struct fw_stream *stream, bool is_reset, struct fw_tally *tally);

void fw_stream_free(struct fw_stream *stream);

#endif
