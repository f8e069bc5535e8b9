/* The parked clients of a bridge, in the order in which they parked. On the loop's own thread, but for unlinking. */
#ifndef FW_PY_PARKED_H
#define FW_PY_PARKED_H

#include "py/bridge_state.h"

#define PARKED_SLICE 64 /* clients woken by one callback, so that other work runs in between */

void parked_link(Bridge *bridge, Client *client);

/* Does nothing for a client that is not parked. */
void parked_unlink(Bridge *bridge, Client *client);

/* Unlinks `client` and runs its task's step: outside of any task. Returns 0, or -1 with the exception of the step. */
int parked_step(Bridge *bridge, Client *client);

#endif
