#include "py/broadcaster.h"

#include "core/status.h"
#include "py/encode.h"
#include "py/fork.h"
#include "py/options.h"
#include "py/patience.h"
#include "py/queues.h"
#include "py/subscription.h"
#include "py/wake.h"

#include <stddef.h>
#include <structmember.h>

#define BUFFER_SIZE 256
#define WARN_EVERY 60.0 /* seconds */

/* ---- construction ---- */

/* Like the original, a subclass may forget super().__init__(): the defaults hold from here on. */
static PyObject *broadcaster_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    fw_state *state = fw_state_of_type(type);
    Broadcaster *self = state != NULL ? (Broadcaster *)type->tp_alloc(type, 0) : NULL; /* zeroed */
    if (self == NULL)
        return NULL;
    self->state = state;
    self->strict = self->graceful_exit = 1;
    self->buffer_size = BUFFER_SIZE;
    self->heartbeat_interval = Py_NewRef(Py_None);
    self->retry = Py_NewRef(Py_None);
    fork_enlist(state, &self->bridges, (PyObject *)self);
    self->bridges.queues = PyList_New(0);
    self->event_types = PySet_New(NULL);
    self->bridges.hub = fw_hub_new();
    if (self->bridges.hub == NULL)
        fw_raise(FW_ENOMEM);
    else
        fw_hub_set_limits(self->bridges.hub, (struct fw_limits){.events = BUFFER_SIZE});
    if (self->bridges.hub == NULL || self->bridges.queues == NULL || self->event_types == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int broadcaster_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer_size", "strict", "heartbeat_interval", "retry", "graceful_exit", NULL};
    Broadcaster *self = (Broadcaster *)op;
    PyObject *size = NULL, *interval_object = Py_None, *retry = Py_None;
    int strict = 1, graceful_exit = 1;
    double interval;
    Py_ssize_t events = BUFFER_SIZE;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$pOOp:Broadcaster", names, &size, &strict, &interval_object,
                                     &retry, &graceful_exit))
        return -1;
    if ((size != NULL && options_buffer_size(size, &events) < 0) || options_interval(interval_object, &interval) < 0 ||
        options_retry(retry) < 0)
        return -1;
    int status = fw_hub_set_limits(self->bridges.hub, (struct fw_limits){.events = events > 0 ? (uint64_t)events : 0});
    if (status != FW_OK) {
        fw_raise(status);
        return -1;
    }
    self->buffer_size = events;
    self->strict = (char)strict;
    self->graceful_exit = (char)graceful_exit;
    self->bridges.interval = interval;
    Py_SETREF(self->heartbeat_interval, Py_NewRef(interval_object));
    Py_SETREF(self->retry, Py_NewRef(retry));
    return 0;
}

static int broadcaster_traverse(PyObject *op, visitproc visit, void *arg)
{
    Broadcaster *self = (Broadcaster *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->bridges.queues);
    Py_VISIT(self->heartbeat_interval);
    Py_VISIT(self->retry);
    return bridges_traverse(&self->bridges, visit, arg);
}

/* Only the list can be part of a cycle. It is emptied, not dropped: subscriptions may still hold us. */
static int broadcaster_clear(PyObject *op)
{
    PyObject *queues = ((Broadcaster *)op)->bridges.queues;
    return queues != NULL ? PyList_SetSlice(queues, 0, PyList_GET_SIZE(queues), NULL) : 0;
}

static void broadcaster_dealloc(PyObject *op)
{
    Broadcaster *self = (Broadcaster *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    fork_delist(self->state, &self->bridges);
    bridges_detach(&self->bridges);
    Py_CLEAR(self->bridges.queues);
    Py_CLEAR(self->event_types);
    Py_CLEAR(self->heartbeat_interval);
    Py_CLEAR(self->retry);
    fw_hub_unref(self->bridges.hub);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- calls ---- */

/* The arguments (event, data) of a METH_FASTCALL method. Returns 0 with borrowed references, or -1 with TypeError. */
static int event_and_data(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                          PyObject **found)
{
    static const char *const names[] = {"event", "data"};
    found[0] = found[1] = NULL;
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes 2 arguments (%zd given)", function, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        found[i] = args[i];
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int at = PyUnicode_CompareWithASCIIString(name, "event") == 0  ? 0
                 : PyUnicode_CompareWithASCIIString(name, "data") == 0 ? 1
                                                                       : -1;
        if (at < 0 || found[at] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got %s argument '%U'", function,
                         at < 0 ? "an unexpected keyword" : "multiple values for", name);
            return -1;
        }
        found[at] = args[nargs + i];
    }
    for (int i = 0; i < 2; i++)
        if (found[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function, names[i]);
            return -1;
        }
    return 0;
}

static PyObject *broadcaster_format_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Broadcaster *self = (Broadcaster *)op;
    PyObject *found[2], *result = NULL;
    if (event_and_data("_format_sse", args, nargs, kwnames, found) < 0)
        return NULL;
    PyObject *name = encode_name(found[0], "event");
    if (name == NULL)
        return NULL;
    Field event = {NULL, {NULL, 0}}, data = event;
    if (encode_text(name, &event) == 0 && encode_data(self->state, found[1], &data) == 0)
        result = encode_wire(&(struct fw_event){.event = event.text, .data = data.text, .retry = FW_NO_RETRY});
    field_clear(&event);
    field_clear(&data);
    Py_DECREF(name);
    return result;
}

/* A name that is legal on the wire, as an exact str; or NULL with TypeError, UnicodeEncodeError or ValueError. */
static PyObject *legal_name(PyObject *name, const char *what)
{
    PyObject *exact = encode_name(name, what);
    Field field = {NULL, {NULL, 0}};
    if (exact == NULL)
        return NULL;
    int result = encode_text(exact, &field);
    if (result == 0 && !fw_wire_one_line(field.text)) {
        PyErr_Format(PyExc_ValueError, "%s must not contain CR, LF or NUL: it is one line on the wire", what);
        result = -1;
    }
    field_clear(&field);
    if (result < 0)
        Py_CLEAR(exact);
    return exact;
}

static PyObject *broadcaster_register_event(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + keywords != 1 ||
        (keywords == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "name") != 0))
        return PyErr_Format(PyExc_TypeError, "register_event() takes exactly one argument: 'name'");
    PyObject *name = legal_name(args[0], "name");
    if (name == NULL)
        return NULL;
    int result = PySet_Add(((Broadcaster *)op)->event_types, name);
    Py_DECREF(name);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
}

static void *raise_unregistered(Broadcaster *self, PyObject *name)
{
    PyObject *registered = PySequence_List(self->event_types);
    if (registered != NULL && PyList_Sort(registered) == 0)
        PyErr_Format(PyExc_ValueError, "unregistered event type %R; call register_event(%R) first (registered: %R)",
                     name, name, registered);
    Py_XDECREF(registered);
    return NULL;
}

/* Whether _format_sse is still ours: neither a subclass nor the instance has replaced it. 1, 0, or -1 with an exception
 * and, for 0, the replacement in *override. */
static int formats_itself(PyObject *op, PyObject **override)
{
    PyObject *method = PyObject_GetAttr(op, ((Broadcaster *)op)->state->name_format_sse);
    if (method == NULL)
        return -1;
    if (PyCFunction_Check(method) &&
        PyCFunction_GET_FUNCTION(method) == (PyCFunction)(void (*)(void))broadcaster_format_sse &&
        PyCFunction_GET_SELF(method) == op) {
        Py_DECREF(method);
        return 1;
    }
    *override = method;
    return 0;
}

/* Validates and formats; a new frame, or NULL with an exception and nothing sent. */
static struct fw_frame *make_frame(PyObject *op, PyObject *name, PyObject *event, PyObject *data)
{
    PyObject *override = NULL;
    int ours = formats_itself(op, &override);
    if (ours != 0)
        return ours > 0 ? encode_frame(((Broadcaster *)op)->state, name, data) : NULL;
    struct fw_frame *frame = NULL;
    PyObject *legal = legal_name(name, "event"), *text = NULL;
    if (legal != NULL)
        text = PyObject_CallFunctionObjArgs(override, event, data, NULL);
    if (text != NULL && !PyUnicode_Check(text))
        PyErr_Format(PyExc_TypeError, "_format_sse() must return a str, not %.100s", Py_TYPE(text)->tp_name);
    else if (text != NULL)
        frame = encode_raw_frame(text);
    Py_XDECREF(text);
    Py_XDECREF(legal);
    Py_DECREF(override);
    return frame;
}

static int log_pruned(Broadcaster *self, uint64_t pruned, bool was_parked)
{
    struct fw_hub_counts counts = fw_hub_counts(self->bridges.hub);
    unsigned long long remain = counts.clients + (unsigned long long)PyList_GET_SIZE(self->bridges.queues);
    PyObject *done = PyObject_CallMethod(self->state->logger, "debug", "sKK", "pruned %d slow SSE clients (%d remain)",
                                         (unsigned long long)pruned, remain);
    if (done != NULL && was_parked && (self->warned_at == 0 || fw_now() - self->warned_at >= WARN_EVERY)) {
        self->warned_at = fw_now();
        Py_SETREF(done, PyObject_CallMethod(
                            self->state->logger, "warning", "sKn",
                            "pruned %d SSE clients that had no chance to read: more than buffer_size=%d events "
                            "were broadcast while their event loop had no turn; await between broadcasts, or "
                            "raise buffer_size",
                            (unsigned long long)pruned, self->buffer_size));
    }
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static PyObject *broadcaster_broadcast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Broadcaster *self = (Broadcaster *)op;
    PyObject *found[2];
    struct fw_frame *frame = NULL;
    struct fw_published published;
    if (event_and_data("broadcast", args, nargs, kwnames, found) < 0)
        return NULL;
    PyObject *name = encode_name(found[0], "event");
    if (name == NULL)
        return NULL;
    int known = self->strict ? PySet_Contains(self->event_types, name) : 1;
    if (known > 0)
        frame = make_frame(op, name, found[0], found[1]);
    else if (known == 0)
        raise_unregistered(self, name);
    Py_DECREF(name);
    if (frame == NULL)
        return NULL;

    bridges_give_turn(&self->bridges);
    int status = fw_hub_publish(self->bridges.hub, frame, &published);
    if (status != FW_OK) {
        fw_frame_unref(frame);
        return fw_raise(status);
    }
    /* From here on the event is out. Every step is taken, whatever the ones before it raised. */
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    bool was_parked = published.pruned != 0 && bridges_pruned_parked(&self->bridges);
    int failed = bridges_wake(&self->bridges);
    if (PyList_GET_SIZE(self->bridges.queues) != 0 && !fw_hub_counts(self->bridges.hub).closed) {
        PyErr_Fetch(&type, &value, &traceback);
        failed |= queues_put(self->state, self->bridges.queues, frame, &published.pruned);
        if (type != NULL)
            PyErr_Restore(type, value, traceback);
    }
    fw_frame_unref(frame);
    fork_warn(self->state, &self->bridges);
    if (failed || (published.pruned != 0 && log_pruned(self, published.pruned, was_parked) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *broadcaster_subscribe(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return subscription_new(((Broadcaster *)op)->state, op, &((Broadcaster *)op)->bridges);
}

static PyObject *broadcaster_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Broadcaster *self = (Broadcaster *)op;
    fw_hub_close(self->bridges.hub);
    if (bridges_wake(&self->bridges) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *broadcaster_end_streams(PyObject *op, PyObject *loop)
{
    if (bridges_finish(&((Broadcaster *)op)->bridges, loop) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *broadcaster_start_over(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (fork_start_over(&((Broadcaster *)op)->bridges) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- attributes ---- */

static uint64_t client_count(Broadcaster *self, const struct fw_hub_counts *counts)
{
    return counts->clients + (size_t)PyList_GET_SIZE(self->bridges.queues);
}

static PyObject *broadcaster_stats(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Broadcaster *self = (Broadcaster *)op;
    struct fw_hub_counts counts = fw_hub_counts(self->bridges.hub);
    fw_hub_check(self->bridges.hub);
    struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"connected", client_count(self, &counts)},
        {"total", counts.total},
        {"pruned", counts.pruned},
        {"events", counts.head},
        {"bytes", counts.text},
        {"log_events", counts.frames},
        {"log_bytes", counts.bytes},
        {"lag", counts.lag},
    };
    PyObject *stats = PyDict_New();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && stats != NULL; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(numbers[i].value);
        if (value == NULL || PyDict_SetItemString(stats, numbers[i].name, value) < 0)
            Py_CLEAR(stats);
        Py_XDECREF(value);
    }
    return stats;
}

static PyObject *broadcaster_repr(PyObject *op)
{
    Broadcaster *self = (Broadcaster *)op;
    struct fw_hub_counts counts = fw_hub_counts(self->bridges.hub);
    return PyUnicode_FromFormat("<%s %s, %llu clients, head %llu>", Py_TYPE(op)->tp_name,
                                counts.closed ? "closed" : "open", (unsigned long long)client_count(self, &counts),
                                (unsigned long long)counts.head);
}

static PyObject *get_event_types(PyObject *op, void *Py_UNUSED(closure))
{
    return PyFrozenSet_New(((Broadcaster *)op)->event_types);
}

static PyObject *get_client_count(PyObject *op, void *Py_UNUSED(closure))
{
    Broadcaster *self = (Broadcaster *)op;
    struct fw_hub_counts counts = fw_hub_counts(self->bridges.hub);
    return PyLong_FromUnsignedLongLong(client_count(self, &counts));
}

static PyObject *get_closed(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(fw_hub_counts(((Broadcaster *)op)->bridges.hub).closed);
}

static PyGetSetDef broadcaster_getset[] = {
    {"event_types", get_event_types, NULL, "The registered event types, a frozenset copy.", NULL},
    {"client_count", get_client_count, NULL,
     "The number of clients whose stream has begun and has neither ended nor been pruned.", NULL},
    {"_closed", get_closed, NULL, "Whether close() has been called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef broadcaster_members[] = {
    {"_clients", T_OBJECT, offsetof(Broadcaster, bridges.queues), READONLY, "The caller's own queues: a list."},
    {"_event_types", T_OBJECT, offsetof(Broadcaster, event_types), READONLY, "The registered event types: a set."},
    {"_buffer_size", T_PYSSIZET, offsetof(Broadcaster, buffer_size), READONLY, "Events that may wait for a client."},
    {"_strict", T_BOOL, offsetof(Broadcaster, strict), READONLY, "Whether event types must be registered."},
    {"_heartbeat_interval", T_OBJECT, offsetof(Broadcaster, heartbeat_interval), READONLY, "In seconds, or None."},
    {"_retry", T_OBJECT, offsetof(Broadcaster, retry), READONLY, "In seconds, a pair (low, high), or None."},
    {"_graceful_exit", T_BOOL, offsetof(Broadcaster, graceful_exit), READONLY, "Whether signals end the streams."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(register_event_doc, "register_event($self, /, name)\n"
                                 "--\n\n"
                                 "Declare an allowed event type. Idempotent.\n\n"
                                 "Raises TypeError if name is not a str, ValueError if it contains CR, LF or NUL.");

PyDoc_STRVAR(
    broadcast_doc,
    "broadcast($self, /, event, data)\n"
    "--\n\n"
    "Send an event to all connected clients.\n\n"
    "data is a str, sent as it is with one `data:` line for each of its lines (WHATWG HTML, 9.2.6), or anything that\n"
    "msgspec encodes as JSON. Returns at once; may be called from any thread, from signal handlers and destructors.\n"
    "Clients that have buffer_size events waiting already are pruned: they get those, then their stream ends.\n\n"
    "Raises ValueError if event is not registered (strict mode) or contains CR, LF or NUL, UnicodeEncodeError for a\n"
    "lone surrogate, TypeError for data of a wrong type. Then nothing was sent to anybody.");

PyDoc_STRVAR(format_sse_doc,
             "_format_sse($self, /, event, data)\n"
             "--\n\n"
             "Return the event as text/event-stream text (WHATWG HTML, 9.2.5), as broadcast() sends it.");

PyDoc_STRVAR(subscribe_doc, "_subscribe($self, /)\n"
                            "--\n\n"
                            "Return a new Subscription, which becomes a client when it joins.");

PyDoc_STRVAR(close_doc,
             "close($self, /)\n"
             "--\n\n"
             "End every stream once it has sent what it owes. Streams that begin later end at once; broadcast() still\n"
             "validates and reaches nobody. Idempotent; from any thread.");

PyDoc_STRVAR(end_streams_doc, "_end_streams($self, loop, /)\n"
                              "--\n\n"
                              "End the streams on one event loop once they have sent what they owe. From that loop.");

PyDoc_STRVAR(start_over_doc, "_start_over($self, /)\n"
                             "--\n\n"
                             "In the child of a fork: drop all clients, events and counts. Raises MemoryError.");

PyDoc_STRVAR(
    stats_doc,
    "stats($self, /)\n"
    "--\n\n"
    "Return a snapshot as a dict of int. Cheap, from any thread.\n\n"
    "connected: clients now, as client_count; total: streams that ever began; pruned: clients that could not\n"
    "keep up; events, bytes: published, and their text; log_events, log_bytes: kept for clients that have not\n"
    "read them yet; lag: events that the client furthest behind still has to read. Counters start at 0 in each\n"
    "process.");

static PyMethodDef broadcaster_methods[] = {
    {"register_event", (PyCFunction)(void (*)(void))broadcaster_register_event, METH_FASTCALL | METH_KEYWORDS,
     register_event_doc},
    {"broadcast", (PyCFunction)(void (*)(void))broadcaster_broadcast, METH_FASTCALL | METH_KEYWORDS, broadcast_doc},
    {"_format_sse", (PyCFunction)(void (*)(void))broadcaster_format_sse, METH_FASTCALL | METH_KEYWORDS, format_sse_doc},
    {"_subscribe", broadcaster_subscribe, METH_NOARGS, subscribe_doc},
    {"close", broadcaster_close, METH_NOARGS, close_doc},
    {"_end_streams", broadcaster_end_streams, METH_O, end_streams_doc},
    {"_start_over", broadcaster_start_over, METH_NOARGS, start_over_doc},
    {"stats", broadcaster_stats, METH_NOARGS, stats_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(broadcaster_doc,
             "Broadcaster(buffer_size=256, *, strict=True, heartbeat_interval=None, retry=None, graceful_exit=True)\n"
             "--\n\n"
             "One log of events and the clients that read it: everything but the streams.");

static PyType_Slot broadcaster_slots[] = {
    {Py_tp_doc, (void *)broadcaster_doc},
    {Py_tp_new, broadcaster_new},
    {Py_tp_init, broadcaster_init},
    {Py_tp_traverse, broadcaster_traverse},
    {Py_tp_clear, broadcaster_clear},
    {Py_tp_dealloc, broadcaster_dealloc},
    {Py_tp_methods, broadcaster_methods},
    {Py_tp_members, broadcaster_members},
    {Py_tp_getset, broadcaster_getset},
    {Py_tp_repr, broadcaster_repr},
    {0, NULL},
};

PyType_Spec broadcaster_spec = {
    .name = "fastware_sse._core.Broadcaster",
    .basicsize = sizeof(Broadcaster),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = broadcaster_slots,
};
