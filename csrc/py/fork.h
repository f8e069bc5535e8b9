/* Fork: the child of a process starts without clients. Its Broadcasters get a new hub and no bridges; what was begun in
 * the parent stays with the hub and the bridges that it had, where nothing happens any more. */
#ifndef FW_PY_FORK_H
#define FW_PY_FORK_H

#include "py/bridge.h"

/* Notes the list of a new Broadcaster, `owner`; and that it goes. */
void fork_enlist(fw_state *state, BridgeList *list, PyObject *owner);
void fork_delist(fw_state *state, BridgeList *list);

/* Returns a new list of all Broadcasters, or NULL with an exception. */
PyObject *fork_owners(fw_state *state);

/* In the child: starts `list` over. Returns 0, or -1 with MemoryError and nothing changed. */
int fork_start_over(BridgeList *list);

/* On each use in a process: if this is a child, and the Broadcaster had been used in the parent, logs a warning, once a
 * Broadcaster. An exception of the logging is dropped: the caller has other things to do. */
void fork_warn(fw_state *state, BridgeList *list);

#endif
