/* Outbox: the events that broadcast() was given and that somebody else still has to publish, in order; bounded.
 *
 *   put ──> [ 41 ][ 42 ][ 43 ][ 44 ] ──> take: a look at the oldest; done: they are gone
 *           counters, from 1, without gaps
 *
 * The GIL is its lock: between the look whether there is room and the entry nothing calls Python. */
#ifndef FW_PY_OUTBOX_H
#define FW_PY_OUTBOX_H

#include "py/state.h" /* Python.h comes before everything else */

#include <stdbool.h>

extern PyType_Spec outbox_spec;

/* Checks (name, data) as a broadcast would (`name` is an exact str), and unless `only_check` appends it; wakes whoever
 * empties the box if it was empty. Returns 0, or -1 with what broadcast() raises, BackplaneFull, RuntimeError after
 * close(), what begin() raised, or what the wake raised, and then alone the event is in nevertheless. */
int outbox_put(PyObject *outbox, PyObject *name, PyObject *data, bool only_check);

#endif
