/* The caller's own queues, as the original documents them: a plain list that broadcast() walks. For the loop's own
 * thread only. */
#ifndef FW_PY_QUEUES_H
#define FW_PY_QUEUES_H

#include "py/state.h"

#include "core/frame.h"

/* Gives `frame` to each queue of a snapshot of the list `queues` with put_nowait(). Full ones are removed, and counted
 * in *pruned. Every queue is tried; returns 0, or -1 with the first exception. */
int queues_put(fw_state *state, PyObject *queues, const struct fw_frame *frame, uint64_t *pruned);

#endif
