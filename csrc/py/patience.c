#include "py/patience.h"

#include "py/direct.h"
#include "py/schedule.h"

#define PATIENCE 0.020 /* seconds, for one event */
#define IN_VAIN 50     /* waits without any progress, a second or more, before a loop is given up */

static bool is_endangered(Bridge *bridge, const Client *client)
{
    return client != NULL && fw_hub_endangered(bridge->hub, &client->reader);
}

/* Whether a client of `bridge` is in danger that reads as soon as the loop lets it. */
static bool has_endangered(Bridge *bridge)
{
    if (is_endangered(bridge, bridge->parked.first) || is_endangered(bridge, bridge->reading) ||
        direct_is_endangered(bridge))
        return true;
    for (const Client *client = bridge->resting.first; client != NULL; client = client->next_waits)
        if (is_endangered(bridge, client))
            return true;
    return false;
}

/* Returns a bridge worth waiting for, a borrowed reference, or NULL. */
static Bridge *find_endangered(const BridgeList *list)
{
    unsigned long here = PyThread_get_thread_ident();
    for (Bridge *bridge = list->first; bridge != NULL; bridge = bridge->next)
        if (bridge->thread != here && bridge->in_vain < IN_VAIN && has_endangered(bridge))
            return bridge;
    return NULL;
}

static bool runs_a_loop(fw_state *state)
{
    PyObject *running = running_loop(state);
    Py_XDECREF(running);
    return running != NULL || state->get_running_loop == NULL; /* where the interpreter is ending nobody waits */
}

static struct Turn *turn_new(void)
{
    struct Turn *turn = PyMem_RawMalloc(sizeof *turn);
    if (turn == NULL)
        return NULL;
    turn->had = PyThread_allocate_lock();
    if (turn->had == NULL) {
        PyMem_RawFree(turn);
        return NULL;
    }
    PyThread_acquire_lock(turn->had, NOWAIT_LOCK);
    return turn;
}

/* A wait that began then was in vain. Publishers that wait at the same time do not make the loop any slower; nor does a
 * machine that stands still, hence no limit in seconds. */
static void count_in_vain(Bridge *bridge, double began)
{
    if (began < bridge->waited)
        return;
    bridge->in_vain++; /* progress makes it 0 */
    bridge->waited = fw_now();
}

/* Waits for a turn of the loop. Returns false if there is no memory to do so. */
static bool wait_for(Bridge *bridge, double seconds)
{
    struct Turn *turn = turn_new();
    if (turn == NULL)
        return false;
    double began = fw_now();
    Py_INCREF(bridge);
    turn->next = bridge->turns;
    bridge->turns = turn;
    Py_BEGIN_ALLOW_THREADS
    PyThread_acquire_lock_timed(turn->had, (PY_TIMEOUT_T)(seconds * 1e6), 0);
    Py_END_ALLOW_THREADS
    for (struct Turn **link = &bridge->turns; *link != NULL; link = &(*link)->next)
        if (*link == turn) { /* it has not come */
            *link = turn->next;
            count_in_vain(bridge, began);
            break;
        }
    Py_DECREF(bridge);
    PyThread_release_lock(turn->had);
    PyThread_free_lock(turn->had);
    PyMem_RawFree(turn);
    return true;
}

bool bridges_need_turn(const BridgeList *list)
{
    return find_endangered(list) != NULL;
}

void bridges_give_turn(BridgeList *list)
{
    Bridge *bridge = find_endangered(list);
    if (bridge != NULL && !runs_a_loop(bridge->state))
        bridges_await_turn(list);
}

void bridges_await_turn(BridgeList *list)
{
    Bridge *bridge;
    double left, deadline = fw_now() + PATIENCE;
    while ((bridge = find_endangered(list)) != NULL && (left = deadline - fw_now()) > 0)
        if (!wait_for(bridge, left))
            return;
}
