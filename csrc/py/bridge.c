#include "py/bridge.h"

#include "core/status.h"
#include "py/chunk.h"
#include "py/waiter.h"

#include <string.h>

#define SLICE 64          /* clients woken by one callback, so that other work runs in between */
#define TIMER_MAX 3600.0  /* seconds; loops refuse or clamp delays that are far longer */
#define TIMER_SLACK 0.001 /* seconds by which a loop may call early */

static PyObject *bridge_sweep(PyObject *self, PyObject *ignored);
static PyObject *bridge_beat(PyObject *self, PyObject *ignored);
static PyObject *bridge_forget(PyObject *self, PyObject *ignored);

PyMethodDef bridge_sweep_def = {"sweep", bridge_sweep, METH_NOARGS, NULL};
static PyMethodDef beat_def = {"heartbeat", bridge_beat, METH_NOARGS, NULL};
static PyMethodDef forget_def = {"forget", bridge_forget, METH_NOARGS, NULL};

PyObject *bridge_schedule(Bridge *bridge, PyObject *method, PyObject *delay, PyMethodDef *callback)
{
    PyObject *bound = PyCFunction_New(callback, (PyObject *)bridge);
    if (bound == NULL)
        return NULL;
    PyObject *stack[4] = {bridge->loop, delay, bound, bridge->context};
    size_t count = 3;
    if (delay == NULL) {
        stack[1] = bound;
        stack[2] = bridge->context;
        count = 2;
    }
    PyObject *handle = PyObject_VectorcallMethod(method, stack, count, bridge->state->names_context);
    Py_DECREF(bound);
    return handle;
}

bool bridge_is_closed(Bridge *bridge)
{
    PyObject *closed = PyObject_CallMethodNoArgs(bridge->loop, bridge->state->name_is_closed);
    bool answer = closed == Py_True;
    if (closed == NULL)
        PyErr_Clear();
    Py_XDECREF(closed);
    return answer;
}

/* The same with call_soon, from a callback of the loop or a task on it, where nobody can be told of an error. On a loop
 * that is closed (what is owed may still be read then) it is none. */
static bool schedule_soon(Bridge *bridge, PyMethodDef *callback)
{
    PyObject *handle = bridge_schedule(bridge, bridge->state->name_call_soon, NULL, callback);
    if (handle == NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        bool closed = bridge_is_closed(bridge);
        PyErr_Restore(type, value, traceback);
        if (closed)
            PyErr_Clear();
        else
            PyErr_WriteUnraisable((PyObject *)bridge);
    }
    Py_XDECREF(handle);
    return handle != NULL;
}

/* The loop has had a turn: those who wait for it go on. */
static void end_turn(Bridge *bridge)
{
    while (bridge->turns != NULL) {
        struct Turn *turn = bridge->turns;
        bridge->turns = turn->next;
        PyThread_release_lock(turn->had);
    }
}

/* ---- parked clients ---- */

static void link_parked(Bridge *bridge, Client *client)
{
    client->parked = true;
    Py_INCREF(client->waiter); /* the list's own reference, which the Broadcaster shows to the collector */
    bridge->parked++;
    client->next_parked = NULL;
    client->previous_parked = bridge->last_parked;
    if (bridge->last_parked != NULL)
        bridge->last_parked->next_parked = client;
    else
        bridge->first_parked = client;
    bridge->last_parked = client;
}

static void unlink_parked(Bridge *bridge, Client *client)
{
    if (!client->parked)
        return;
    if (client->previous_parked != NULL)
        client->previous_parked->next_parked = client->next_parked;
    else
        bridge->first_parked = client->next_parked;
    if (client->next_parked != NULL)
        client->next_parked->previous_parked = client->previous_parked;
    else
        bridge->last_parked = client->previous_parked;
    client->previous_parked = client->next_parked = NULL;
    client->parked = false;
    bridge->parked--;
    Py_DECREF(client->waiter); /* never the last: the client has one */
}

/* Unlinks `client` and runs its task's step. Returns 0, or -1 with the exception of the step. */
static int step(Bridge *bridge, Client *client)
{
    PyObject *waiter = Py_NewRef(client->waiter);
    unlink_parked(bridge, client);
    bridge->in_vain = 0;
    int result = waiter_wake(waiter);
    Py_DECREF(waiter);
    return result;
}

/* Lets the loop sweep on in its next turn. That counts as a pending wake: publishers leave it at that, and so do we if
 * one of them was faster. Keeps a pending exception. */
static void sweep_on(Bridge *bridge)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (atomic_exchange(&bridge->pending, 1) == 0 && !schedule_soon(bridge, &bridge_sweep_def))
        atomic_store(&bridge->pending, 0);
    PyErr_Restore(type, value, traceback);
}

/* Wakes up to SLICE clients, then lets the loop do other work, unless those who still wait have used more than half of
 * what they may fall behind: then it goes on to the last that was parked at the start. So a publisher that gives the
 * loop a turn at least every `buffer_size` events prunes nobody who reads at once, however many clients there are.
 * Clients park in the order of the log, so the first that has nothing to read ends the sweep. */
static PyObject *bridge_sweep(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    size_t parked = bridge->parked;
    Client *client;
    bool failed = false;
    bridge->thread = PyThread_get_thread_ident();
    /* Before anybody is looked at, and as an exchange: a publisher that finds 1 published before this line, so the
     * sweep sees its event; one that comes later finds 0 and sends a wake of its own. */
    atomic_exchange(&bridge->pending, 0);
    for (size_t woken = 0; (client = bridge->first_parked) != NULL && fw_hub_ready(bridge->hub, &client->reader);
         woken++) {
        if (woken >= SLICE && (woken >= parked || !fw_hub_endangered(bridge->hub, &client->reader))) {
            sweep_on(bridge);
            break;
        }
        if (step(bridge, client) < 0) {
            sweep_on(bridge);
            failed = true;
            break;
        }
    }
    end_turn(bridge);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* ---- heartbeats ---- */

/* Sets the timer to the deadline of the client that is due first. Returns 0, or -1 with an exception. */
static int arm_timer(Bridge *bridge)
{
    if (bridge->timer != NULL || bridge->first_parked == NULL || bridge->interval == 0)
        return 0;
    double seconds = bridge->first_parked->deadline - fw_now();
    PyObject *delay = PyFloat_FromDouble(seconds < 0 ? 0 : seconds > TIMER_MAX ? TIMER_MAX : seconds);
    if (delay == NULL)
        return -1;
    PyObject *timer = bridge_schedule(bridge, bridge->state->name_call_later, delay, &beat_def);
    Py_DECREF(delay);
    if (timer == NULL)
        return -1;
    Py_XSETREF(bridge->timer, timer);
    return 0;
}

static PyObject *bridge_beat(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    Py_CLEAR(bridge->timer);
    double due = fw_now() + TIMER_SLACK;
    bool failed = false;
    Client *client;
    for (int woken = 0; woken < SLICE && !failed && (client = bridge->first_parked) != NULL && client->deadline <= due;
         woken++) {
        client->beat = true;
        failed = step(bridge, client) < 0;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (arm_timer(bridge) < 0) /* at once, if the slice was full */
        PyErr_WriteUnraisable(self);
    if (!failed)
        Py_RETURN_NONE;
    PyErr_Restore(type, value, traceback);
    return NULL;
}

static bool is_running_here(Bridge *bridge)
{
    if (bridge->state->get_running_loop == NULL) /* the interpreter is ending */
        return false;
    PyObject *running = PyObject_CallNoArgs(bridge->state->get_running_loop);
    if (running == NULL)
        PyErr_Clear();
    Py_XDECREF(running);
    return running == bridge->loop;
}

/* A timer that nobody needs would keep the bridge alive until it is due. Loops are not thread-safe here, so elsewhere
 * it is left to fire. */
static void cancel_timer(Bridge *bridge)
{
    PyObject *timer = bridge->timer;
    if (timer == NULL || !is_running_here(bridge))
        return;
    bridge->timer = NULL;
    PyObject *result = PyObject_CallMethodNoArgs(timer, bridge->state->name_cancel);
    if (result == NULL)
        PyErr_WriteUnraisable(timer);
    Py_XDECREF(result);
    Py_DECREF(timer);
}

/* ---- reading ---- */

/* Runs in the turn after a chunk was cached, and again until a whole turn has gone by without use. */
static PyObject *bridge_forget(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    bool used = bridge->cache_used;
    bridge->cache_used = false;
    bridge->reading = NULL; /* its step is over, wherever it waits now */
    end_turn(bridge);
    bridge->forgets = used && schedule_soon(bridge, &forget_def);
    if (!bridge->forgets)
        cache_clear(&bridge->cache);
    Py_RETURN_NONE;
}

/* Returns the Chunk of a heartbeat, one for all clients of the bridge; a new reference, or NULL with an exception. */
static PyObject *heartbeat(Bridge *bridge)
{
    if (bridge->heartbeat == NULL) {
        PyObject *bytes = PyBytes_FromString(": heartbeat\n\n");
        PyObject *chunk = bytes != NULL ? chunk_new(bridge->state, bytes) : NULL;
        Py_XDECREF(bytes);
        Py_XSETREF(bridge->heartbeat, chunk);
    }
    return Py_XNewRef(bridge->heartbeat);
}

int bridge_read(Client *client, size_t max_events, PyObject **chunk)
{
    Bridge *bridge = client->bridge;
    uint64_t known_last = cache_last(&bridge->cache, client->reader.sequence);
    struct fw_batch batch;
    int status = fw_hub_read(bridge->hub, &client->reader, max_events, known_last, &batch);
    if (status == FW_EAGAIN && client->beat) {
        client->beat = false;
        *chunk = heartbeat(bridge);
        return *chunk != NULL ? FW_OK : FW_ENOMEM;
    }
    if (status != FW_OK)
        return status;
    client->beat = false; /* the event beats it */
    bridge->reading = client;
    bridge->in_vain = 0;
    *chunk = cache_chunk(&bridge->cache, bridge->state, &batch);
    fw_batch_release(&batch);
    if (*chunk == NULL)
        return FW_ENOMEM;
    bridge->cache_used = true;
    if (!bridge->forgets && !(bridge->forgets = schedule_soon(bridge, &forget_def)))
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

int bridge_join(fw_state *state, BridgeList *list, PyObject *loop, Client *client)
{
    Bridge *bridge = bridges_find(list, loop);
    if (bridge == NULL)
        bridge = bridge_new(state, list, loop);
    if (bridge == NULL)
        return -1;
    bridge->thread = PyThread_get_thread_ident();
    fw_hub_join(bridge->hub, &client->reader, 1);
    client->bridge = bridge;
    client->previous_peer = NULL;
    client->next_peer = bridge->peers;
    if (client->next_peer != NULL)
        client->next_peer->previous_peer = client;
    bridge->peers = client;
    return 0;
}

void bridge_leave(Client *client)
{
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
    unlink_parked(bridge, client);
    if (bridge->reading == client)
        bridge->reading = NULL;
    fw_hub_leave(bridge->hub, &client->reader);

    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (bridge->peers == NULL) {
        unlist(bridge);
        cancel_timer(bridge);
    }
    Py_CLEAR(client->waiter);
    Py_DECREF(bridge);
    PyErr_Restore(type, value, traceback);
}

PyObject *bridge_park(Client *client)
{
    Bridge *bridge = client->bridge;
    if (client->parked) {
        PyErr_SetString(PyExc_RuntimeError, "this subscription is parked already");
        return NULL;
    }
    if (client->waiter == NULL) {
        PyObject *waiter = waiter_new(bridge->state, bridge->loop);
        if (waiter == NULL)
            return NULL;
        if (client->bridge != bridge || client->waiter != NULL) { /* a collection ran in between, and closed us */
            Py_DECREF(waiter);
            return PyErr_Format(PyExc_RuntimeError, "this subscription was closed while it parked");
        }
        client->waiter = waiter;
    }
    waiter_renew(client->waiter);
    /* An event may have come since the last read. From here to the link nothing calls Python, so no publisher comes in
     * between. */
    if (fw_hub_ready(bridge->hub, &client->reader)) {
        waiter_skip(client->waiter);
        return Py_NewRef(client->waiter);
    }
    client->deadline = fw_now() + bridge->interval;
    if (bridge->reading == client)
        bridge->reading = NULL;
    link_parked(bridge, client);
    PyObject *waiter = Py_NewRef(client->waiter);
    if (arm_timer(bridge) < 0) {
        if (client->bridge == bridge)
            unlink_parked(bridge, client);
        Py_CLEAR(waiter);
    }
    return waiter;
}

int bridges_traverse(const BridgeList *list, visitproc visit, void *arg)
{
    for (const Bridge *bridge = list->first; bridge != NULL; bridge = bridge->next)
        for (const Client *client = bridge->first_parked; client != NULL; client = client->next_parked)
            Py_VISIT(client->waiter);
    return 0;
}

void bridge_abandon(Bridge *bridge)
{
    while (bridge->first_parked != NULL) {
        /* For ever: without it the task might be collected here, and complain. It is the parent's. */
        Py_INCREF(bridge->first_parked->waiter);
        unlink_parked(bridge, bridge->first_parked);
    }
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
