/* Waking: how a publisher on any thread reaches the loops whose clients are parked. */
#ifndef FW_PY_WAKE_H
#define FW_PY_WAKE_H

#include "py/bridge.h"

/* After a publish or close: wakes each bridge with parked clients. Drops the clients of a closed loop. Every bridge is
 * tried; returns 0, or -1 with the first other exception. */
int bridges_wake(BridgeList *list);

/* Finishes all clients on `loop`: they read what they are owed, then end. Returns 0 or -1 as bridges_wake does. */
int bridges_finish(BridgeList *list, PyObject *loop);

/* Whether a client has been pruned that reads as soon as the loop lets it: parked, or direct. */
bool bridges_pruned_ready(const BridgeList *list);

#endif
