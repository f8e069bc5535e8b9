/* A parser of text/event-stream, strict to WHATWG HTML 9.2.6, for bytes that arrive cut anywhere.
 *
 * A complete event lies in the input as a rule. Then nothing is copied or allocated: the fields are slices of it.
 *
 *   read n     ...data: a\n\n  id: 7\ndata: {"seq":7}\n\n  id: 8\ndata: {"s        fields point into the read
 *                                                         └─────────────┘
 *   kept       id = "8" (a field of the unfinished event), line = `data: {"s`     copied once, when the input ends
 *   read n+1   eq":8}\n\n...                                                     the line is completed in its buffer
 *
 * What a browser would ignore in silence is ignored too, but reported as a fault.
 */
#ifndef FW_LOAD_PARSE_H
#define FW_LOAD_PARSE_H

#include "core/wire.h" /* struct fw_text; here not necessarily UTF-8 */
#include "load/buffer.h"
#include "load/fault.h"
#include "load/utf8.h"

#include <stdbool.h>

/* What would be dispatched. Valid during the call alone. */
struct fw_parsed {
    struct fw_text type; /* empty, or .at NULL, means "message" */
    struct fw_text data; /* .at never NULL */
    struct fw_text id;   /* lastEventId; .at NULL if there never was one */
};

/* Whom the parser tells. It may not call the parser. */
struct fw_parse_sink {
    void (*event)(void *context, const struct fw_parsed *event);
    void (*fault)(void *context, enum fw_fault fault);
    void *context;
};

/* The value of a field: a slice of the input until that ends, then `own`. */
struct fw_field {
    struct fw_text text;
    struct fw_buffer own;
};

/* All zero is the start of a first connection. */
struct fw_parse {
    struct fw_buffer line; /* the head of a line whose end is still to come */
    struct fw_field type;
    struct fw_field data;
    struct fw_field id;      /* of this block; becomes last_id at its end */
    struct fw_field last_id; /* what a reconnect sends as Last-Event-ID */
    int64_t retry;           /* milliseconds where has_retry; saturates */
    struct fw_utf8 utf8;
    uint8_t bom; /* bytes of the byte order mark seen so far; BOM_DONE behind it */
    bool has_retry;
    bool has_id; /* in this block */
    bool has_data;
    bool in_block; /* lines since the last empty one */
    bool after_cr; /* an LF now belongs to the CR before it */
};

/* Takes the next bytes. Returns FW_OK, FW_ENOMEM, or FW_ESIZE for an event that is too large; after these two the
 * stream is of no use. */
int fw_parse_feed(struct fw_parse *parse, const char *bytes, size_t size, const struct fw_parse_sink *sink);

/* Returns whether the input so far ends inside a line or an event, which the end of the stream discards. */
bool fw_parse_unfinished(const struct fw_parse *parse);

/* Begins another connection: forgets everything but the last id and the retry time, as a browser does. */
void fw_parse_restart(struct fw_parse *parse);

void fw_parse_free(struct fw_parse *parse);

#endif
