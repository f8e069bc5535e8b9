/* What is behind a Broadcaster, for broadcaster.c and publish.c. */
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
    Py_ssize_t buffer_size;
    char strict;
    char graceful_exit;
    double warned_at; /* on the monotonic clock, in seconds; 0 for never */
} Broadcaster;

#endif
