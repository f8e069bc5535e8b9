#include "py/wake.h"

#include "py/direct.h"
#include "py/schedule.h"
#include "py/turn.h"

#define PUBLISHED_UNSEEN 64 /* wakes that went into a pending one before we ask whether the loop still lives */

/* The loop is closed and will never run its clients again. */
static void drop(Bridge *bridge)
{
    while (bridge->peers != NULL)
        bridge_leave(bridge->peers);
}

/* Schedules the sweep for which `pending` has been set (always by call_soon_threadsafe: a loop that sleeps in its
 * selector does not notice a call_soon from a signal handler). Returns false with its exception and `pending` 0 again. */
static bool send(Bridge *bridge)
{
    PyObject *handle = bridge_schedule(bridge, bridge->state->name_call_soon_threadsafe, NULL, &bridge_sweep_def);
    if (handle == NULL)
        atomic_store(&bridge->pending, 0);
    Py_XDECREF(handle);
    return handle != NULL;
}

/* Returns 0, or -1 with the exception of the call that was to wake the loop. */
static int wake(Bridge *bridge)
{
    if (atomic_exchange(&bridge->pending, 1) != 0) {
        if (++bridge->unseen >= PUBLISHED_UNSEEN) {
            bridge->unseen = 0;
            if (bridge_is_closed(bridge)) /* it closed with a sweep scheduled */
                drop(bridge);
        }
        return 0;
    }
    bridge->unseen = 0;
    if (send(bridge))
        return 0;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (bridge_is_closed(bridge)) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        drop(bridge);
        return 0;
    }
    /* A signal handler raised out of the call: the wake that it cut off must not be lost. */
    if (atomic_exchange(&bridge->pending, 1) == 0 && !send(bridge))
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return -1;
}

static bool has_waiting(const Bridge *bridge)
{
    return bridge->parked.first != NULL || bridge->attached.first != NULL;
}

/* Returns a bridge that this round has not visited; a new reference. From the start each time, since a wake calls Python,
 * which may change the list. */
static Bridge *next_of_round(BridgeList *list, uint64_t round)
{
    Bridge *bridge = list->first;
    while (bridge != NULL && (bridge->round >= round || !has_waiting(bridge)))
        bridge = bridge->next;
    if (bridge != NULL)
        bridge->round = round;
    return (Bridge *)Py_XNewRef(bridge);
}

int bridges_wake(BridgeList *list)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    uint64_t round = ++list->rounds;
    Bridge *bridge;
    while ((bridge = next_of_round(list, round)) != NULL) {
        if (wake(bridge) < 0) {
            if (type == NULL)
                PyErr_Fetch(&type, &value, &traceback);
            else
                PyErr_Clear();
        }
        Py_DECREF(bridge);
    }
    if (type == NULL)
        return 0;
    PyErr_Restore(type, value, traceback);
    return -1;
}

bool bridges_pruned_ready(const BridgeList *list)
{
    for (Bridge *bridge = list->first; bridge != NULL; bridge = bridge->next) {
        const Client *parked = bridge->parked.first;
        if ((parked != NULL && fw_hub_fate(bridge->hub, &parked->reader) == FW_FATE_PRUNED) ||
            direct_has_overflowed(bridge))
            return true;
    }
    return false;
}

int bridges_finish(BridgeList *list, PyObject *loop)
{
    Bridge *bridge = bridges_find(list, loop);
    if (bridge == NULL)
        return 0;
    int result = direct_release(bridge);
    for (Client *client = bridge->peers; client != NULL; client = client->next_peer)
        fw_hub_finish(bridge->hub, &client->reader, false);
    if (bridge->parked.first != NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (wake(bridge) < 0)
            result = -1;
        if (type != NULL)
            PyErr_Restore(type, value, traceback);
    }
    Py_DECREF(bridge);
    return result;
}
