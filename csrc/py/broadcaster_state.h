/* What is behind a Broadcaster, for broadcaster.c, publish.c and deliver.c. */
#ifndef FW_PY_BROADCASTER_STATE_H
#define FW_PY_BROADCASTER_STATE_H

#include "py/bridge.h"

typedef struct {
    PyObject_HEAD
    fw_state *state;
    BridgeList bridges;           /* its hub is ours */
    PyObject *event_types;        /* set of exact str */
    PyObject *heartbeat_interval; /* as it was given: a number, or None */
    PyObject *retry;              /* likewise: a number, a pair, or None */
    PyObject *history;            /* likewise: an int */
    PyObject *history_bytes;      /* likewise: an int, or None */
    PyObject *max_buffer_bytes;   /* likewise */
    PyObject *outbox;             /* what publishes the events, or NULL */
    size_t position_digits; /* of the positions that come with what was published; 0: broadcast() publishes itself */
    Py_ssize_t buffer_size;
    char strict;
    char graceful_exit;
    char is_closed;
    double warned_at; /* on the monotonic clock, in seconds; 0 for never */
} Broadcaster;

#endif
