/* Direct clients: parked, as far as Python is concerned, while C writes their events to their sockets (core/fanout.h). The
 * driver of a bridge's fan-out: slices of a pass as callbacks of the loop, a gap between passes in which events gather,
 * one reader of the loop for the sockets that are full, one timer for heartbeats and one for sockets that stay full.
 *
 * On the loop's own thread, outside of any task where it says so. */
#ifndef FW_PY_DIRECT_H
#define FW_PY_DIRECT_H

#include "py/bridge_state.h"

#include <stdbool.h>

/* Lets C write for `client`, which is parked, to the socket `fd`. A socket that takes nothing for `patience` seconds (0:
 * for ever) is given up. `offer` is told when it is over: its released(why, rest). Returns 1; 0 if the client is not
 * parked; -1 with an exception and nothing changed. */
int direct_attach(Client *client, int fd, bool chunked, double patience, PyObject *offer);

/* Returns the offer of a client that is attached, not owned, or NULL. */
PyObject *direct_offer(const Client *client);

/* Ends that: the client waits like any other again. Returns the bytes that must be written before anything else, a new
 * reference (empty for one that is not attached, or was the parent's before a fork); or NULL with an exception, and then
 * they are lost. */
PyObject *direct_detach(Client *client);

/* The same where nothing can be written any more. Calls no Python but to drop a reference. */
void direct_drop(Client *client);

/* The same for all clients of `bridge`, whose offers are told: outside of any task. Returns 0, or -1 with the first
 * exception. */
int direct_release(Bridge *bridge);

/* There may be something to send: outside of any task. Returns 0, or -1 with an exception. */
int direct_wake(Bridge *bridge);

/* Whether those who read at once have used more than half of what they may fall behind. */
bool direct_is_endangered(Bridge *bridge);

/* Whether some of those have been pruned, and the loop has had no turn since. */
bool direct_has_overflowed(Bridge *bridge);

/* The events that `client` was sent in this way since it was attached, and the bytes of their text. */
uint64_t direct_events(const Client *client);
uint64_t direct_bytes(const Client *client);

/* The last client has left: gives back what the driver holds of the system and of the loop. From any thread. */
void direct_stop(Bridge *bridge);

/* The same without the loop: where it is gone, or in the child of a fork (`is_fork`), where it and the sockets are the
 * parent's. */
void direct_free(Bridge *bridge, bool is_fork);

#endif
