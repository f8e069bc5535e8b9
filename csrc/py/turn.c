#include "py/turn.h"

#include "py/schedule.h"

void turn_end(Bridge *bridge)
{
    while (bridge->turns != NULL) {
        struct Turn *turn = bridge->turns;
        bridge->turns = turn->next;
        PyThread_release_lock(turn->had);
    }
}

void turn_sweep(Bridge *bridge)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (atomic_exchange(&bridge->pending, 1) == 0 && !bridge_soon(bridge, &bridge_sweep_def))
        atomic_store(&bridge->pending, 0);
    PyErr_Restore(type, value, traceback);
}
