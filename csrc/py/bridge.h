/* The bridge: what one Broadcaster and one event loop share. One wake-up for any number of parked clients, one timer
 * for all their heartbeats, one Chunk for all that read the same events.
 *
 *   first ──> client ──> client ──> ... ──> last        parked, in the order in which they parked, so both
 *             deadline <= deadline <= ...               "who waits longest" and "who is due next" is `first`
 *
 * A client is unlinked before anything is done to it, and no position in a list is kept across a call into Python: a
 * destructor or a signal handler may run there and change the list.
 *
 * Publishers on any thread come by wake.h; the rest happens on the loop's own thread. The GIL guards all of it but
 * `pending`. The bridge lives as long as a client of its own does, or a callback that the loop still has to run.
 */
#ifndef FW_PY_BRIDGE_H
#define FW_PY_BRIDGE_H

#include "py/bridge_state.h"

extern PyType_Spec bridge_spec;

/* Registers `client` (zeroed) on the bridge of `loop`, which is made if it is the first there: at the head of the hub, or,
 * if there is a history and `last_id` is not absent, where that tells. Returns how it begins, or -1 with an exception and
 * nothing changed. */
int bridge_join(fw_state *state, BridgeList *list, PyObject *loop, struct fw_text last_id, Client *client);

/* Ends the stream of `client`: it reads what it is owed, or where there is a history nothing more. If it is parked, its task's
 * step runs here: on its loop, outside of any task. Returns 0, or -1 with the exception of the step. */
int bridge_end(Client *client);

/* Unregisters `client`, exactly once however often it is called. Keeps a pending exception. */
void bridge_leave(Client *client);

/* Parks `client` until there is something to read or its heartbeat is due. Returns a new reference to the waiter to
 * await (it is done already if there is something to read), or NULL with an exception. */
PyObject *bridge_park(Client *client);

/* Lets `client` rest until the next turn of the loop, whether or not there is something to read, so that others have
 * theirs. Unlike one that waits elsewhere, it is seen to be one that reads (patience.h). Returns what bridge_park does. */
PyObject *bridge_rest(Client *client);

/* Reads the next Chunk of at most `max_events` events. Returns FW_OK with a new reference in *chunk, FW_EAGAIN, FW_EEND,
 * or FW_ENOMEM with an exception set. */
int bridge_read(Client *client, size_t max_events, PyObject **chunk);

/* In the child of a fork: takes `bridge` off its list, and what is parked out of it, so that nothing wakes its clients. */
void bridge_abandon(Bridge *bridge);

/* Returns the bridge of `loop`, a new reference, or NULL (no exception). */
Bridge *bridges_find(const BridgeList *list, PyObject *loop);

/* Visits what parked clients await. So a Broadcaster keeps the tasks of its clients alive, as its queues did in the
 * original, and goes with them when nobody else holds it. */
int bridges_traverse(const BridgeList *list, visitproc visit, void *arg);

/* The Broadcaster goes; its bridges must forget the list. */
void bridges_detach(BridgeList *list);

#endif
