/* One client of a fan-out, and what it is still to be sent once it has been detached. */
#ifndef FW_CORE_DIRECT_H
#define FW_CORE_DIRECT_H

#include "core/window.h"

#ifdef __linux__
#define FW_HAS_FANOUT
#endif

enum fw_note {
    FW_NOTE_NONE,
    FW_NOTE_ENDED, /* it has been sent all that it may get: pruned, finished, passed by the history, or the hub is closed */
    FW_NOTE_BROKEN, /* its socket is gone (EPIPE, reset, HUP), or there was no memory for what it is owed */
    FW_NOTE_STUCK   /* its socket took nothing for `patience` seconds */
};

struct fw_link {
    struct fw_link *previous;
    struct fw_link *next;
};

/* Part of the owner's object; stays where it is from fw_fanout_attach, which sets all fields, until fw_fanout_detach.
 *
 *   sent already | window: size - offset | owed: [owed_at, its end) | reader: what the log holds for it
 *
 * A member of the group has but its reader; a laggard has any of the three. */
struct fw_direct {
    struct fw_reader *reader; /* joined in the fan-out's hub; nobody else uses it while attached */
    double patience;          /* seconds; 0 for ever */
    uint64_t events; /* handed on since it was attached: windows sent or begun, and after the detach the rest */
    uint64_t bytes;  /* their text */
    int fd;          /* a non-blocking stream socket of the owner's; never dup'ed, never closed here */
    enum fw_note note;
    bool chunked; /* HTTP/1.1 chunk framing, else the raw text */

    /* Private to the fan-out. */
    uint8_t state;
    uint8_t stamp;       /* of a member: the pass that has visited it last */
    struct fw_link link; /* in one of the fan-out's lists, or in itself */
    struct fw_window *window;
    size_t offset;
    struct fw_range *owed;
    uint64_t owed_at;
    double since; /* when the socket took something last */
};

/* After fw_fanout_detach: the size of what the client is still to be sent in front of what its reader reads, framed.
 * Whoever does not detach the client for good sends it first. */
size_t fw_direct_rest(const struct fw_direct *client);

/* Writes these bytes at `to`. */
void fw_direct_take_rest(const struct fw_direct *client, char *to);

/* Frees the rest. To be called after each detach; idempotent. By one thread at a time with the calls of the fan-out. */
void fw_direct_release(struct fw_direct *client);

#endif
