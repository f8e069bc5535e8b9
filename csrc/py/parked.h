/* The clients of a bridge whose tasks wait, parked or resting. On the loop's own thread, but for unlinking. */
#ifndef FW_PY_PARKED_H
#define FW_PY_PARKED_H

#include "py/bridge_state.h"

#define PARKED_SLICE 64 /* clients woken by one callback, so that other work runs in between */

/* Lets `client`, which waits nowhere, wait in `list`, behind the others. */
void parked_link(ClientList *list, Client *client);

/* Does nothing for a client that waits nowhere. */
void parked_unlink(Client *client);

/* Unlinks `client` and runs its task's step: outside of any task. Returns 0, or -1 with the exception of the step. */
int parked_step(Client *client);

#endif
