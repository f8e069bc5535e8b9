/* Callbacks of a bridge on its loop. */
#ifndef FW_PY_SCHEDULE_H
#define FW_PY_SCHEDULE_H

#include "py/bridge_state.h"

#include <stdbool.h>

#define TIMER_SLACK 0.001 /* seconds by which a loop may call early */

/* Calls loop.METHOD([delay,] callback, context=empty) with `callback` bound to the bridge. Returns the handle. */
PyObject *bridge_schedule(Bridge *bridge, PyObject *method, PyObject *delay, PyMethodDef *callback);

/* Whether the loop is closed. Without an exception set, before and after. */
bool bridge_is_closed(Bridge *bridge);

/* Returns the event loop that runs on this thread, a new reference, or NULL; without an exception, before and after. */
PyObject *running_loop(fw_state *state);

/* Whether the bridge's loop runs on this thread. */
bool bridge_runs_here(Bridge *bridge);

/* Calls loop.call_soon(callback), from a callback of the loop or a task on it, where nobody can be told of an error. On a
 * loop that is closed (what is owed may still be read then) it is none. Returns whether it will be called. */
bool bridge_soon(Bridge *bridge, PyMethodDef *callback);

#endif
