/* The engine: one thread, one epoll, N streams to one server, for a limited time. Linux.
 *
 *   never tried ──ramp──> connecting ──> asking ──> answered: an event stream, read until it ends
 *        ^ a token each       │ failed      │ refused             │ ended, reset
 *        │                    v             v                     v
 *        │               was it open before?  no: over for good   wait for the server's retry time (1 s by default)
 *        └────────────────────yes: wait ───────────────────────────────────┘
 *
 * Connects and reconnects draw on the same rate, so a server that comes back is not stormed harder than at the start.
 */
#ifndef FW_LOAD_ENGINE_H
#define FW_LOAD_ENGINE_H

#include "load/stream.h"

#include <sys/socket.h>

struct fw_plan {
    const struct sockaddr_storage *addresses; /* tried in turn until one accepts */
    const socklen_t *address_sizes;
    size_t address_count;   /* at least 1 */
    struct fw_text request; /* a whole request head but for its last, empty line */
    struct fw_keys keys;
    uint32_t streams; /* at least 1 */
    double rate;      /* connects a second, above 0 */
    double seconds;   /* for everything */
    bool reconnects;

    /* Called about ten times a second, and at every signal. Returns whether to go on. */
    bool (*tick)(void *context);
    void *context;
};

/* Runs until the time is over, no stream is left that could still do something, or `tick` says so; blocks. Counts in
 * `tally`, which must be zero and may be read in `tick`. All sockets are closed at the end. Returns FW_OK, FW_ENOMEM,
 * or FW_ESYSTEM with errno set. */
int fw_engine_run(const struct fw_plan *plan, struct fw_tally *tally);

#endif
