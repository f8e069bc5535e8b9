#include "py/bridge.h"

#include "core/hub_resume.h"
#include "core/status.h"
#include "py/direct.h"
#include "py/heartbeat.h"
#include "py/parked.h"
#include "py/schedule.h"
#include "py/turn.h"
#include "py/waiter.h"

#include <string.h>

static PyObject *bridge_sweep(PyObject *self, PyObject *ignored);
static PyObject *bridge_forget(PyObject *self, PyObject *ignored);

PyMethodDef bridge_sweep_def = {"sweep", bridge_sweep, METH_NOARGS, NULL};
static PyMethodDef forget_def = {"forget", bridge_forget, METH_NOARGS, NULL};

/* ---- parked clients ---- */

/* Wakes those who rest, but no more than half a slice while parked ones wait too; those who rest again have their turn. */
static int wake_resting(Bridge *bridge)
{
    size_t count = bridge->resting.count;
    if (count > PARKED_SLICE / 2 && bridge->parked.first != NULL)
        count = PARKED_SLICE / 2;
    for (; count != 0 && bridge->resting.first != NULL; count--)
        if (parked_step(bridge->resting.first) < 0)
            return -1;
    return 0;
}

/* Wakes up to PARKED_SLICE clients, then lets the loop do other work, unless those who still wait have used more than
 * half of what they may fall behind: then it goes on to the last that was parked at the start. So a publisher that gives
 * the loop a turn at least every `buffer_size` events prunes nobody who reads at once, however many clients there are.
 * Clients park in the order of the log, so the first that has nothing to read ends the sweep. */
static int wake_parked(Bridge *bridge)
{
    size_t parked = bridge->parked.count;
    Client *client;
    for (size_t woken = 0; (client = bridge->parked.first) != NULL && fw_hub_ready(bridge->hub, &client->reader);
         woken++) {
        if (woken >= PARKED_SLICE && (woken >= parked || !fw_hub_endangered(bridge->hub, &client->reader))) {
            turn_sweep(bridge);
            return 0;
        }
        if (parked_step(client) < 0)
            return -1;
    }
    return 0;
}

static PyObject *bridge_sweep(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    bridge->thread = PyThread_get_thread_ident();
    /* Before anybody is looked at, and as an exchange: a publisher that finds 1 published before this line, so the
     * sweep sees its event; one that comes later finds 0 and sends a wake of its own. */
    atomic_exchange(&bridge->pending, 0);
    bool failed = wake_resting(bridge) < 0 || wake_parked(bridge) < 0 || direct_wake(bridge) < 0;
    if (failed || bridge->resting.first != NULL)
        turn_sweep(bridge);
    turn_end(bridge);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* ---- reading ---- */

/* Runs in the turn after a chunk was cached, and again until a whole turn has gone by without use. */
static PyObject *bridge_forget(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    bool used = bridge->cache_used;
    bridge->cache_used = false;
    bridge->reading = NULL; /* its step is over, wherever it waits now */
    turn_end(bridge);
    bridge->forgets = used && bridge_soon(bridge, &forget_def);
    if (!bridge->forgets)
        cache_clear(&bridge->cache);
    Py_RETURN_NONE;
}

int bridge_read(Client *client, size_t max_events, PyObject **chunk)
{
    Bridge *bridge = client->bridge;
    uint64_t known_last = cache_last(&bridge->cache, client->reader.sequence);
    struct fw_batch batch;
    int status = fw_hub_read(bridge->hub, &client->reader, max_events, known_last, &batch);
    if (status == FW_EAGAIN && client->beat) {
        client->beat = false;
        *chunk = heartbeat_chunk(bridge);
        return *chunk != NULL ? FW_OK : FW_ENOMEM;
    }
    if (status != FW_OK)
        return status;
    client->beat = false; /* the event beats it */
    client->events += batch.last - batch.first;
    client->bytes += batch.bytes;
    bridge->reading = client;
    bridge->in_vain = 0;
    *chunk = cache_chunk(&bridge->cache, bridge->state, &batch);
    fw_batch_release(&batch);
    if (*chunk == NULL)
        return FW_ENOMEM;
    bridge->cache_used = true;
    if (!bridge->forgets && !(bridge->forgets = bridge_soon(bridge, &forget_def)))
        cache_clear(&bridge->cache);
    return FW_OK;
}

/* ---- joining and leaving ---- */

static void unlist(Bridge *bridge)
{
    if (bridge->list == NULL)
        return;
    if (bridge->previous != NULL)
        bridge->previous->next = bridge->next;
    else
        bridge->list->first = bridge->next;
    if (bridge->next != NULL)
        bridge->next->previous = bridge->previous;
    bridge->list = NULL;
    bridge->previous = bridge->next = NULL;
}

static Bridge *bridge_new(fw_state *state, BridgeList *list, PyObject *loop)
{
    PyObject *context = PyContext_New();
    Bridge *bridge = context != NULL ? PyObject_GC_New(Bridge, state->bridge_type) : NULL;
    if (bridge == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    memset((char *)bridge + sizeof(PyObject), 0, sizeof *bridge - sizeof(PyObject));
    bridge->state = state;
    fw_hub_ref(list->hub);
    bridge->hub = list->hub;
    bridge->loop = Py_NewRef(loop);
    bridge->context = context;
    bridge->interval = list->interval;
    atomic_init(&bridge->pending, 0);
    bridge->list = list;
    bridge->next = list->first;
    if (list->first != NULL)
        list->first->previous = bridge;
    list->first = bridge;
    PyObject_GC_Track(bridge);
    return bridge;
}

static enum fw_join join_hub(BridgeList *list, struct fw_text last_id, Client *client)
{
    struct fw_id id;
    if (last_id.at == NULL || list->id_size == 0) {
        fw_hub_join(list->hub, &client->reader, 1);
        return FW_JOIN_LIVE;
    }
    return fw_hub_resume(list->hub, &client->reader, 1, fw_id_parse(last_id, &id) == FW_OK ? &id : NULL);
}

int bridge_join(fw_state *state, BridgeList *list, PyObject *loop, struct fw_text last_id, Client *client)
{
    Bridge *bridge = bridges_find(list, loop);
    if (bridge == NULL)
        bridge = bridge_new(state, list, loop);
    if (bridge == NULL)
        return -1;
    bridge->thread = PyThread_get_thread_ident();
    enum fw_join join = join_hub(list, last_id, client);
    client->bridge = bridge;
    client->previous_peer = NULL;
    client->next_peer = bridge->peers;
    if (client->next_peer != NULL)
        client->next_peer->previous_peer = client;
    bridge->peers = client;
    return join;
}

int bridge_end(Client *client)
{
    Bridge *bridge = client->bridge;
    if (bridge == NULL)
        return 0;
    fw_hub_finish(bridge->hub, &client->reader, bridge->list != NULL && bridge->list->id_size != 0);
    return client->waits_in != NULL ? parked_step(client) : 0;
}

void bridge_leave(Client *client)
{
    direct_drop(client); /* first, since it may run anything */
    Bridge *bridge = client->bridge;
    if (bridge == NULL)
        return;
    client->bridge = NULL;
    if (client->previous_peer != NULL)
        client->previous_peer->next_peer = client->next_peer;
    else
        bridge->peers = client->next_peer;
    if (client->next_peer != NULL)
        client->next_peer->previous_peer = client->previous_peer;
    parked_unlink(client);
    if (bridge->reading == client)
        bridge->reading = NULL;
    fw_hub_leave(bridge->hub, &client->reader);

    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (bridge->peers == NULL) {
        unlist(bridge);
        heartbeat_cancel(bridge);
        direct_stop(bridge);
    }
    Py_CLEAR(client->waiter);
    Py_DECREF(bridge);
    PyErr_Restore(type, value, traceback);
}

/* Gives `client` a waiter that is pending, if it has none; for a client that waits nowhere. Returns 0, or -1 with an
 * exception. */
static int renew_waiter(Client *client)
{
    Bridge *bridge = client->bridge;
    if (client->waits_in != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this subscription is parked already");
        return -1;
    }
    if (client->waiter == NULL) {
        PyObject *waiter = waiter_new(bridge->state, bridge->loop);
        if (waiter == NULL)
            return -1;
        if (client->bridge != bridge || client->waiter != NULL) { /* a collection ran in between, and closed us */
            Py_DECREF(waiter);
            PyErr_Format(PyExc_RuntimeError, "this subscription was closed while it parked");
            return -1;
        }
        client->waiter = waiter;
    }
    waiter_renew(client->waiter);
    return 0;
}

/* Lets `client` wait in `list`. */
static void wait_in(ClientList *list, Client *client)
{
    if (client->bridge->reading == client)
        client->bridge->reading = NULL;
    parked_link(list, client);
}

PyObject *bridge_park(Client *client)
{
    Bridge *bridge = client->bridge;
    if (renew_waiter(client) < 0)
        return NULL;
    /* An event may have come since the last read. From here to the link nothing calls Python, so no publisher comes in
     * between. */
    if (fw_hub_ready(bridge->hub, &client->reader)) {
        waiter_skip(client->waiter);
        return Py_NewRef(client->waiter);
    }
    client->deadline = fw_now() + bridge->interval;
    wait_in(&bridge->parked, client);
    PyObject *waiter = Py_NewRef(client->waiter);
    if (heartbeat_arm(bridge) < 0) {
        if (client->bridge == bridge)
            parked_unlink(client);
        Py_CLEAR(waiter);
    }
    return waiter;
}

PyObject *bridge_rest(Client *client)
{
    if (renew_waiter(client) < 0)
        return NULL;
    wait_in(&client->bridge->resting, client);
    PyObject *waiter = Py_NewRef(client->waiter);
    turn_sweep(client->bridge);
    return waiter;
}

int bridges_traverse(const BridgeList *list, visitproc visit, void *arg)
{
    for (const Bridge *bridge = list->first; bridge != NULL; bridge = bridge->next) {
        const ClientList *const lists[] = {&bridge->parked, &bridge->resting, &bridge->attached};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            for (const Client *client = lists[i]->first; client != NULL; client = client->next_waits)
                Py_VISIT(client->waiter);
    }
    return 0;
}

static void abandon(ClientList *list)
{
    while (list->first != NULL) {
        /* For ever: without it the task might be collected here, and complain. It is the parent's. */
        Py_INCREF(list->first->waiter);
        parked_unlink(list->first);
    }
}

void bridge_abandon(Bridge *bridge)
{
    abandon(&bridge->parked);
    abandon(&bridge->resting);
    abandon(&bridge->attached);
    direct_free(bridge, true);
    bridge->reading = NULL;
    bridge->turns = NULL; /* on the heap of threads that are not here */
    unlist(bridge);
}

void bridges_detach(BridgeList *list)
{
    while (list->first != NULL)
        unlist(list->first);
}

Bridge *bridges_find(const BridgeList *list, PyObject *loop)
{
    Bridge *bridge = list->first;
    while (bridge != NULL && bridge->loop != loop)
        bridge = bridge->next;
    return (Bridge *)Py_XNewRef(bridge);
}

/* ---- the type ---- */

static int bridge_traverse(PyObject *self, visitproc visit, void *arg)
{
    Bridge *bridge = (Bridge *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(bridge->loop);
    Py_VISIT(bridge->context);
    Py_VISIT(bridge->timer);
    return 0;
}

static int bridge_clear(PyObject *self)
{
    Bridge *bridge = (Bridge *)self;
    Py_CLEAR(bridge->timer);
    cache_clear(&bridge->cache);
    return 0;
}

static void bridge_dealloc(PyObject *self)
{
    Bridge *bridge = (Bridge *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    unlist(bridge);
    direct_free(bridge, false);
    bridge_clear(self);
    Py_CLEAR(bridge->loop);
    Py_CLEAR(bridge->context);
    Py_CLEAR(bridge->heartbeat);
    fw_hub_unref(bridge->hub);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot bridge_slots[] = {
    {Py_tp_traverse, bridge_traverse},
    {Py_tp_clear, bridge_clear},
    {Py_tp_dealloc, bridge_dealloc},
    {0, NULL},
};

PyType_Spec bridge_spec = {
    .name = "fastware_sse._core.Bridge",
    .basicsize = sizeof(Bridge),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = bridge_slots,
};
