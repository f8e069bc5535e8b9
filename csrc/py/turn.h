/* Turns of a bridge's loop: publishers that wait for one, and the sweep of the next. */
#ifndef FW_PY_TURN_H
#define FW_PY_TURN_H

#include "py/bridge_state.h"

/* The callback that wakes parked clients; to be scheduled once `pending` has gone from 0 to 1. */
extern PyMethodDef bridge_sweep_def;

/* The loop has had a turn: publishers that wait for it go on. */
void turn_end(Bridge *bridge);

/* Lets the loop sweep on in its next turn. That counts as a pending wake: publishers leave it at that, and so do we if
 * one of them was faster. Keeps a pending exception. */
void turn_sweep(Bridge *bridge);

#endif
