/* One event as text/event-stream bytes (WHATWG HTML, 9.2.5 and 9.2.6). Pure: no allocation, no globals, no I/O.
 *
 *   comment line(s)   ": " text
 *   event: NAME
 *   id: ID
 *   retry: MILLISECONDS
 *   data: LINE        one per line of the payload
 *   (empty line)
 *
 * An absent field writes nothing. Payload and comment are split at CRLF, CR and LF, and at nothing else, as a browser
 * splits; so no text can begin a field of its own. In front of `id` the bytes depend on comment and event alone, so
 * an id of fixed width can later be patched in place at a known offset.
 */
#ifndef FW_CORE_WIRE_H
#define FW_CORE_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Borrowed UTF-8 text, not terminated. `at == NULL` means absent; "" is a value. */
struct fw_text {
    const char *at;
    size_t size;
};

#define FW_NO_RETRY (-1)

struct fw_event {
    struct fw_text event; /* may not contain CR, LF, NUL */
    struct fw_text data;
    struct fw_text id; /* may not contain CR, LF, NUL (a browser ignores an id with NUL) */
    struct fw_text comment;
    int64_t retry; /* milliseconds >= 0, or FW_NO_RETRY */
};

/* Checks the fields and stores in *size the bytes that fw_wire_write will write.
 * Returns FW_OK, FW_EEVENT, FW_EID, or FW_ESIZE if the sum would overflow. */
int fw_wire_measure(const struct fw_event *event, size_t *size);

/* Writes exactly the measured number of bytes at `to`; the event must have passed fw_wire_measure unchanged.
 * Returns the first byte after them. */
char *fw_wire_write(const struct fw_event *event, char *to);

/* Returns where in what fw_wire_write writes the id stands; for events with an id and without a comment. */
size_t fw_wire_id_at(const struct fw_event *event);

/* Returns 1 if `name` may stand on one line of the wire (no CR, LF, NUL), else 0. */
int fw_wire_one_line(struct fw_text name);

#endif
