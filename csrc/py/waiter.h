/* Waiter: what a parked client awaits. Like an asyncio.Future that nobody sets a result on, with one difference that is
 * its reason: waking runs the awaiting task's step there and then, inside the bridge's callback, where a Future would
 * schedule one more callback for each client. So a thousand clients cost one callback per slice, and a publisher that
 * gives the loop one turn has given the clients theirs.
 *
 * It speaks the protocol by which tasks recognise awaitables (_asyncio_future_blocking), for one awaiting task at a time.
 * A client has one waiter and parks on it again and again. */
#ifndef FW_PY_WAITER_H
#define FW_PY_WAITER_H

#include "py/state.h"

#include <stdbool.h>

extern PyType_Spec waiter_spec;

/* Returns a new waiter for `loop`, pending; NULL with an exception. */
PyObject *waiter_new(fw_state *state, PyObject *loop);

/* Makes it pending again. Whoever awaited it must be done with it. */
void waiter_renew(PyObject *waiter);

/* Lets an await of it return at once: there is something to read already. */
void waiter_skip(PyObject *waiter);

/* If it is pending and awaited, runs the step of the awaiting task, in that task's context. On the loop's own thread,
 * outside of any task. Returns 0, or -1 with the exception that the step raised (SystemExit, KeyboardInterrupt). */
int waiter_wake(PyObject *waiter);

#endif
