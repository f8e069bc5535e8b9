/* The base type of Broadcaster: arguments, registry, strict check, encoding, publish, wake. */
#ifndef FW_PY_BROADCASTER_H
#define FW_PY_BROADCASTER_H

#include "py/bridge.h"

typedef struct {
    PyObject_HEAD
    fw_state *state;
    BridgeList bridges;           /* its hub is ours */
    PyObject *event_types;        /* set of exact str */
    PyObject *heartbeat_interval; /* as it was given: a number, or None */
    PyObject *retry;              /* likewise: a number, a pair, or None */
    Py_ssize_t buffer_size;
    char strict;
    char graceful_exit;
    double warned_at; /* on the monotonic clock, in seconds; 0 for never */
} Broadcaster;

extern PyType_Spec broadcaster_spec;

#endif
