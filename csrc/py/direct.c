#include "py/direct.h"

#include "core/fanout.h"

#ifdef FW_HAS_FANOUT

#include "core/group.h"
#include "core/status.h"
#include "py/heartbeat.h"
#include "py/parked.h"
#include "py/schedule.h"
#include "py/turn.h"

#define SLICE_BYTES (1 << 20) /* sent by one callback, at most about a millisecond of copying */
#define GAP 0.002             /* seconds between two passes, so that a burst leaves in few of them */
#define WATCH 1.0             /* seconds between two looks at sockets that are full */

struct Attached {
    struct fw_direct direct; /* the first, so that a note leads here */
    Client *client;
    PyObject *offer; /* owned reference */
};

struct Direct {
    struct fw_fanout *fanout;
    double ended;   /* when the last pass did, on the monotonic clock */
    bool scheduled; /* a slice is, for the next turn or after the gap */
    bool beats;     /* the timer of heartbeats is set */
    bool watches;   /* likewise that of full sockets */
};

static PyObject *direct_slice(PyObject *self, PyObject *ignored);
static PyObject *direct_ready(PyObject *self, PyObject *ignored);
static PyObject *direct_beat(PyObject *self, PyObject *ignored);
static PyObject *direct_watch(PyObject *self, PyObject *ignored);
static PyObject *direct_stopped(PyObject *self, PyObject *ignored);

static PyMethodDef slice_def = {"fan_out", direct_slice, METH_NOARGS, NULL};
static PyMethodDef ready_def = {"sockets_ready", direct_ready, METH_NOARGS, NULL};
static PyMethodDef beat_def = {"heartbeat", direct_beat, METH_NOARGS, NULL};
static PyMethodDef watch_def = {"watch_sockets", direct_watch, METH_NOARGS, NULL};
static PyMethodDef stopped_def = {"stop_fan_out", direct_stopped, METH_NOARGS, NULL};

/* ---- timers ---- */

/* Schedules `callback` in `seconds`. Returns whether it will be called; nobody can be told of an error. */
static bool later(Bridge *bridge, double seconds, PyMethodDef *callback)
{
    PyObject *delay = PyFloat_FromDouble(seconds);
    PyObject *handle = delay != NULL ? bridge_schedule(bridge, bridge->state->name_call_later, delay, callback) : NULL;
    if (handle == NULL)
        PyErr_WriteUnraisable((PyObject *)bridge);
    Py_XDECREF(handle);
    Py_XDECREF(delay);
    return handle != NULL;
}

/* The same for a timer of which `is_set`, of the fan-out, tells whether it is set. */
static void set_timer(Bridge *bridge, bool *is_set, double seconds, PyMethodDef *callback)
{
    struct Direct *direct = bridge->direct;
    *is_set = true; /* before the call, which may run anything, also the end of the fan-out */
    if (!later(bridge, seconds, callback) && bridge->direct == direct)
        *is_set = false;
}

/* Sets the timers that are needed now; the next look at full sockets is in `watch` seconds. */
static void set_timers(Bridge *bridge, double watch)
{
    struct Direct *direct = bridge->direct;
    if (direct == NULL || bridge->attached.first == NULL)
        return;
    if (!direct->watches && fw_fanout_laggards(direct->fanout) != 0)
        set_timer(bridge, &direct->watches, watch, &watch_def);
    if (bridge->direct == direct && bridge->interval != 0 && !direct->beats)
        set_timer(bridge, &direct->beats, bridge->interval, &beat_def);
}

/* Lets a slice run in the next turn, or after what is left of the gap. */
static void schedule(Bridge *bridge, double gap)
{
    struct Direct *direct = bridge->direct;
    if (direct == NULL || direct->scheduled)
        return;
    double left = direct->ended + gap - fw_now();
    direct->scheduled = true; /* before the call, which may run anything */
    bool is_scheduled = left > 0 ? later(bridge, left, &slice_def) : bridge_soon(bridge, &slice_def);
    if (!is_scheduled && bridge->direct == direct)
        direct->scheduled = false;
}

/* ---- the end of a direct way ---- */

static struct Attached *take_out(Client *client)
{
    struct Attached *attached = client->attached;
    client->attached = NULL;
    if (client->bridge->direct == NULL) { /* the fan-out was the parent's */
        fw_group_cut_off(client->bridge->hub, &client->reader);
        return attached;
    }
    fw_fanout_detach(client->bridge->direct->fanout, &attached->direct);
    client->events += attached->direct.events; /* with the rest */
    client->bytes += attached->direct.bytes;
    return attached;
}

static void release(struct Attached *attached)
{
    fw_direct_release(&attached->direct);
    Py_DECREF(attached->offer);
    PyMem_Free(attached);
}

PyObject *direct_offer(const Client *client)
{
    return client->attached != NULL ? client->attached->offer : NULL;
}

PyObject *direct_detach(Client *client)
{
    if (client->attached != NULL && client->bridge->direct == NULL)
        direct_drop(client);
    if (client->attached == NULL)
        return PyBytes_FromStringAndSize(NULL, 0);
    Bridge *bridge = client->bridge;
    struct Attached *attached = take_out(client);
    PyObject *rest = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)fw_direct_rest(&attached->direct));
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (rest != NULL)
        fw_direct_take_rest(&attached->direct, PyBytes_AS_STRING(rest));
    Py_INCREF(bridge); /* the loop may run anything below */
    if (client->waits_in == &bridge->attached) {
        Py_INCREF(client->waiter); /* the list's own may be the last but the client's */
        parked_unlink(client);
        /* The parked ones are in the order of the log, which this one need not fit. */
        bool is_ready = fw_hub_ready(bridge->hub, &client->reader);
        client->deadline = fw_now() + bridge->interval;
        parked_link(is_ready ? &bridge->resting : &bridge->parked, client);
        Py_DECREF(client->waiter);
        if (is_ready)
            turn_sweep(bridge);
        if (heartbeat_arm(bridge) < 0)
            PyErr_WriteUnraisable((PyObject *)bridge);
    }
    Py_DECREF(bridge);
    release(attached);
    PyErr_Restore(type, value, traceback);
    return rest;
}

void direct_drop(Client *client)
{
    if (client->attached != NULL)
        release(take_out(client));
}

/* The first exception of several is kept, the others are reported. */
static void keep_first(PyObject **kept, PyObject *where)
{
    if (kept[0] != NULL)
        PyErr_WriteUnraisable(where);
    else
        PyErr_Fetch(&kept[0], &kept[1], &kept[2]);
}

static int restore(PyObject **kept)
{
    if (kept[0] == NULL)
        return 0;
    PyErr_Restore(kept[0], kept[1], kept[2]);
    return -1;
}

/* Detaches `client` and tells its offer why. Returns 0, or -1 with an exception. */
static int hand_back(Client *client, enum fw_note note)
{
    fw_state *state = client->bridge->state;
    PyObject *reasons[] = {state->name_ended, state->name_ended, state->name_broken, state->name_stuck};
    PyObject *offer = Py_NewRef(client->attached->offer), *why = reasons[note], *kept[3] = {NULL, NULL, NULL};
    PyObject *rest = direct_detach(client);
    if (rest == NULL) { /* there is no memory for it, so nothing may follow it */
        keep_first(kept, offer);
        rest = PyBytes_FromStringAndSize(NULL, 0); /* there is only one, so that this needs none */
        why = state->name_broken;
    }
    PyObject *stack[3] = {offer, why, rest};
    PyObject *result = PyObject_VectorcallMethod(state->name_released, stack, 3, NULL);
    if (result == NULL)
        keep_first(kept, offer);
    Py_XDECREF(result);
    Py_DECREF(rest);
    Py_DECREF(offer);
    return restore(kept);
}

int direct_release(Bridge *bridge)
{
    PyObject *kept[3] = {NULL, NULL, NULL};
    while (bridge->attached.first != NULL)
        if (hand_back(bridge->attached.first, FW_NOTE_NONE) < 0)
            keep_first(kept, (PyObject *)bridge);
    return restore(kept);
}

/* ---- callbacks ---- */

/* Acts upon what the fan-out has noted. Keeps the exception of the first of its clients that raises. */
static void heed_notes(Bridge *bridge, PyObject **kept)
{
    struct fw_direct *noted;
    while (bridge->direct != NULL && (noted = fw_fanout_note(bridge->direct->fanout)) != NULL)
        if (hand_back(((struct Attached *)noted)->client, noted->note) < 0)
            keep_first(kept, (PyObject *)bridge);
}

static int run_slice(Bridge *bridge)
{
    PyObject *kept[3] = {NULL, NULL, NULL};
    enum fw_pass pass = fw_fanout_pass(bridge->direct->fanout, PARKED_SLICE, SLICE_BYTES, fw_now());
    if (pass != FW_PASS_MORE)
        bridge->direct->ended = fw_now();
    heed_notes(bridge, kept);
    if (pass != FW_PASS_IDLE)
        schedule(bridge, pass == FW_PASS_AGAIN ? GAP : 0);
    set_timers(bridge, WATCH);
    return restore(kept);
}

static PyObject *direct_slice(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    if (bridge->direct == NULL)
        Py_RETURN_NONE;
    bridge->direct->scheduled = false;
    bridge->in_vain = 0;
    int result = run_slice(bridge);
    turn_end(bridge);
    return result == 0 ? Py_NewRef(Py_None) : NULL;
}

int direct_wake(Bridge *bridge)
{
    struct Direct *direct = bridge->direct;
    if (direct == NULL || direct->scheduled || bridge->attached.first == NULL)
        return 0;
    if (direct->ended + GAP <= fw_now())
        return run_slice(bridge);
    schedule(bridge, GAP);
    return 0;
}

/* Sockets that were full take data again. */
static PyObject *direct_ready(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    PyObject *kept[3] = {NULL, NULL, NULL};
    if (bridge->direct == NULL)
        Py_RETURN_NONE;
    fw_fanout_ready(bridge->direct->fanout, fw_now());
    heed_notes(bridge, kept);
    return restore(kept) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *direct_watch(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    PyObject *kept[3] = {NULL, NULL, NULL};
    if (bridge->direct == NULL)
        Py_RETURN_NONE;
    bridge->direct->watches = false;
    bool is_more = fw_fanout_expire(bridge->direct->fanout, fw_now());
    heed_notes(bridge, kept);
    set_timers(bridge, is_more ? 0 : WATCH);
    return restore(kept) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *direct_beat(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    struct Direct *direct = bridge->direct;
    if (direct == NULL)
        Py_RETURN_NONE;
    direct->beats = false;
    if (bridge->attached.first == NULL)
        Py_RETURN_NONE;
    double left = fw_fanout_sent(direct->fanout) + bridge->interval - fw_now();
    if (left > TIMER_SLACK) { /* there were events meanwhile */
        set_timer(bridge, &direct->beats, left, &beat_def);
        Py_RETURN_NONE;
    }
    fw_fanout_beat(direct->fanout);
    schedule(bridge, 0);
    set_timers(bridge, WATCH);
    Py_RETURN_NONE;
}

/* ---- beginning and end ---- */

/* Calls loop.METHOD(descriptor[, callback]) in an empty context: the loop would keep that of the first request. A new one,
 * since we may be inside of the bridge's. */
static int tell_loop(Bridge *bridge, PyObject *method, int descriptor, PyMethodDef *callback)
{
    PyObject *bound = NULL, *function = NULL, *result = NULL, *context = PyContext_New();
    if (context != NULL)
        function = PyObject_GetAttr(bridge->loop, method);
    if (function != NULL && callback != NULL)
        bound = PyCFunction_New(callback, (PyObject *)bridge);
    if (function != NULL && callback == NULL)
        result = PyObject_CallMethod(context, "run", "Oi", function, descriptor);
    else if (bound != NULL)
        result = PyObject_CallMethod(context, "run", "OiO", function, descriptor, bound);
    Py_XDECREF(bound);
    Py_XDECREF(function);
    Py_XDECREF(context);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int start(Bridge *bridge)
{
    struct Direct *direct = PyMem_Calloc(1, sizeof *direct);
    if (direct == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int status = fw_fanout_new(bridge->hub, &direct->fanout);
    if (status != FW_OK) {
        PyMem_Free(direct);
        fw_raise(status);
        return -1;
    }
    bridge->direct = direct;
    if (tell_loop(bridge, bridge->state->name_add_reader, fw_fanout_fd(direct->fanout), &ready_def) == 0)
        return 0;
    direct_free(bridge, false);
    return -1;
}

int direct_attach(Client *client, int fd, bool chunked, double patience, PyObject *offer)
{
    Bridge *bridge = client->bridge;
    if (bridge == NULL || client->waits_in != &bridge->parked)
        return 0;
    Py_INCREF(bridge); /* the loop's add_reader() may run anything, also the end of this client */
    int status = bridge->direct == NULL ? start(bridge) : 0;
    bool is_still_parked = status == 0 && client->bridge == bridge && client->waits_in == &bridge->parked;
    bool is_possible = is_still_parked && bridge->direct != NULL;
    Py_DECREF(bridge); /* the client has it, if that is possible */
    if (!is_possible)
        return status;
    struct Attached *attached = PyMem_Calloc(1, sizeof *attached);
    if (attached == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    fw_fanout_attach(bridge->direct->fanout, &attached->direct, &client->reader, fd, chunked, patience, fw_now());
    attached->client = client;
    attached->offer = Py_NewRef(offer);
    client->attached = attached;
    parked_unlink(client);
    parked_link(&bridge->attached, client);
    schedule(bridge, 0); /* not here, where a task is running */
    set_timers(bridge, WATCH);
    return client->attached != NULL; /* anything may have run */
}

bool direct_is_endangered(Bridge *bridge)
{
    return bridge->direct != NULL && fw_fanout_endangered(bridge->direct->fanout);
}

bool direct_has_overflowed(Bridge *bridge)
{
    return bridge->direct != NULL && fw_fanout_overflowed(bridge->direct->fanout);
}

uint64_t direct_events(const Client *client)
{
    return client->attached != NULL ? client->attached->direct.events : 0;
}

uint64_t direct_bytes(const Client *client)
{
    return client->attached != NULL ? client->attached->direct.bytes : 0;
}

void direct_free(Bridge *bridge, bool is_fork)
{
    struct Direct *direct = bridge->direct;
    if (direct == NULL)
        return;
    bridge->direct = NULL;
    if (is_fork)
        fw_fanout_abandon(direct->fanout);
    else
        fw_fanout_free(direct->fanout);
    PyMem_Free(direct);
}

static PyObject *direct_stopped(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    if (bridge->direct == NULL)
        Py_RETURN_NONE;
    int descriptor = fw_fanout_fd(bridge->direct->fanout);
    if (tell_loop(bridge, bridge->state->name_remove_reader, descriptor, NULL) < 0)
        return NULL;
    direct_free(bridge, false);
    Py_RETURN_NONE;
}

void direct_stop(Bridge *bridge)
{
    if (bridge->direct == NULL)
        return;
    PyObject *result;
    if (bridge_runs_here(bridge))
        result = direct_stopped((PyObject *)bridge, NULL);
    else
        result = bridge_schedule(bridge, bridge->state->name_call_soon_threadsafe, NULL, &stopped_def);
    if (result == NULL) /* the loop is closed, and its readers with it */
        PyErr_Clear();
    Py_XDECREF(result);
}

#else /* nobody is ever attached */

int direct_attach(Client *Py_UNUSED(client), int Py_UNUSED(fd), bool Py_UNUSED(chunked), double Py_UNUSED(patience),
                  PyObject *Py_UNUSED(offer))
{
    PyErr_SetString(PyExc_NotImplementedError, "direct fan-out needs epoll");
    return -1;
}

PyObject *direct_offer(const Client *Py_UNUSED(client))
{
    return NULL;
}

PyObject *direct_detach(Client *Py_UNUSED(client))
{
    return PyBytes_FromStringAndSize(NULL, 0);
}

void direct_drop(Client *Py_UNUSED(client))
{
}

int direct_release(Bridge *Py_UNUSED(bridge))
{
    return 0;
}

int direct_wake(Bridge *Py_UNUSED(bridge))
{
    return 0;
}

bool direct_is_endangered(Bridge *Py_UNUSED(bridge))
{
    return false;
}

bool direct_has_overflowed(Bridge *Py_UNUSED(bridge))
{
    return false;
}

uint64_t direct_events(const Client *Py_UNUSED(client))
{
    return 0;
}

uint64_t direct_bytes(const Client *Py_UNUSED(client))
{
    return 0;
}

void direct_stop(Bridge *Py_UNUSED(bridge))
{
}

void direct_free(Bridge *Py_UNUSED(bridge), bool Py_UNUSED(is_fork))
{
}

#endif
