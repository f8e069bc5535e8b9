/* Heartbeats: one timer a bridge. The interval is the same for all and clients park in turn, so the first is due first. */
#ifndef FW_PY_HEARTBEAT_H
#define FW_PY_HEARTBEAT_H

#include "py/bridge_state.h"

/* Sets the timer to the deadline of the client that is due first. Returns 0, or -1 with an exception. */
int heartbeat_arm(Bridge *bridge);

/* A timer that nobody needs would keep the bridge alive until it is due. Does nothing on other threads than the loop's:
 * loops are not thread-safe here, so it is left to fire. */
void heartbeat_cancel(Bridge *bridge);

/* Returns the Chunk of a heartbeat, one for all clients of the bridge; a new reference, or NULL with an exception. */
PyObject *heartbeat_chunk(Bridge *bridge);

#endif
