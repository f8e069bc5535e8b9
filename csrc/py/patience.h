/* Patience: a publisher on another thread lets clients read that have had no chance to, before it goes on.
 *
 * A thread that publishes without a pause holds the GIL for 5 ms at a time, thousands of events, and would prune every
 * client of a loop that is not slow at all. So once a client that is parked, resting or in the middle of its step has used
 * more than half of what it may fall behind, the publisher gives up the GIL until the loop has had a turn. It waits 20 ms
 * at most for each event, and no more for a loop that has done nothing in 50 such waits, however many publishers there are.
 * Clients that wait for their server's send() are slow, and nobody waits for them. */
#ifndef FW_PY_PATIENCE_H
#define FW_PY_PATIENCE_H

#include "py/bridge.h"

/* Before a publish: waits as said above; the GIL is released then, so anything may have changed. Never on a thread that
 * runs an event loop, since that would stand still. Never with an exception, before or after. */
void bridges_give_turn(BridgeList *list);

/* The same in two parts, for a thread whose loop has no clients: whether there is somebody to wait for, and the wait. */
bool bridges_need_turn(const BridgeList *list);
void bridges_await_turn(BridgeList *list);

#endif
