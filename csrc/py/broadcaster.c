#include "py/broadcaster.h"

#include "core/hub_check.h"
#include "core/status.h"
#include "py/broadcaster_state.h"
#include "py/deliver.h"
#include "py/fork.h"
#include "py/options.h"
#include "py/publish.h"
#include "py/subscription.h"
#include "py/wake.h"

#include <stddef.h>
#include <structmember.h>

#define BUFFER_SIZE 256

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
    self->history = PyLong_FromLong(0);
    self->history_bytes = Py_NewRef(Py_None);
    self->max_buffer_bytes = Py_NewRef(Py_None);
    fork_enlist(state, &self->bridges, (PyObject *)self);
    self->bridges.queues = PyList_New(0);
    self->event_types = PySet_New(NULL);
    int status = fw_hub_new(&self->bridges.hub);
    if (status != FW_OK)
        fw_raise(status);
    else
        fw_hub_set_limits(self->bridges.hub, (struct fw_limits){.events = BUFFER_SIZE}, (struct fw_history){0});
    if (status != FW_OK || self->bridges.queues == NULL || self->event_types == NULL || self->history == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int broadcaster_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer_size",      "strict",  "heartbeat_interval", "retry",           "graceful_exit",
                            "max_buffer_bytes", "history", "history_bytes",      "position_digits", NULL};
    Broadcaster *self = (Broadcaster *)op;
    PyObject *size = NULL, *interval_object = Py_None, *retry = Py_None, *history_object = self->history,
             *history_bytes = Py_None, *max_buffer_bytes = Py_None;
    int strict = 1, graceful_exit = 1;
    double interval;
    Py_ssize_t events = BUFFER_SIZE, digits = 0;
    struct fw_limits limits;
    struct fw_history history;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$pOOpOOOn:Broadcaster", names, &size, &strict, &interval_object,
                                     &retry, &graceful_exit, &max_buffer_bytes, &history_object, &history_bytes,
                                     &digits))
        return -1;
    if ((size != NULL && options_buffer_size(size, &events) < 0) || options_interval(interval_object, &interval) < 0 ||
        options_retry(retry) < 0 || options_size(max_buffer_bytes, "max_buffer_bytes", 1, &limits.bytes) < 0 ||
        options_size(history_object, "history", 0, &history.events) < 0 ||
        options_size(history_bytes, "history_bytes", 1, &history.bytes) < 0)
        return -1;
    if (history.bytes != 0 && history.events == 0) {
        PyErr_SetString(PyExc_ValueError, "history_bytes limits a history: set history, the number of events, too");
        return -1;
    }
    if (digits != 0 && digits != FW_POSITION_DIGITS && digits != FW_POSITION_DIGITS_MAX) {
        PyErr_Format(PyExc_ValueError, "position_digits must be 0, 13 or 26, not %zd", digits);
        return -1;
    }
    limits.events = events > 0 ? (uint64_t)events : 0;
    int status = fw_hub_set_positions(self->bridges.hub, (size_t)digits);
    if (status == FW_OK)
        status = fw_hub_set_limits(self->bridges.hub, limits, history);
    if (status != FW_OK) {
        fw_raise(status);
        return -1;
    }
    self->buffer_size = events;
    self->strict = (char)strict;
    self->graceful_exit = (char)graceful_exit;
    self->bridges.interval = interval;
    self->position_digits = (size_t)digits;
    self->bridges.id_size = digits != 0 ? FW_ID_SIZE_OF((size_t)digits) : history.events != 0 ? FW_ID_SIZE : 0;
    Py_SETREF(self->heartbeat_interval, Py_NewRef(interval_object));
    Py_SETREF(self->retry, Py_NewRef(retry));
    Py_SETREF(self->history, Py_NewRef(history_object));
    Py_SETREF(self->history_bytes, Py_NewRef(history_bytes));
    Py_SETREF(self->max_buffer_bytes, Py_NewRef(max_buffer_bytes));
    return 0;
}

static int broadcaster_traverse(PyObject *op, visitproc visit, void *arg)
{
    Broadcaster *self = (Broadcaster *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->bridges.queues);
    Py_VISIT(self->heartbeat_interval);
    Py_VISIT(self->retry);
    Py_VISIT(self->outbox);
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
    Py_CLEAR(self->history);
    Py_CLEAR(self->history_bytes);
    Py_CLEAR(self->max_buffer_bytes);
    Py_CLEAR(self->outbox);
    fw_hub_unref(self->bridges.hub);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- calls ---- */

static PyObject *broadcaster_subscribe(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return subscription_new(((Broadcaster *)op)->state, op, &((Broadcaster *)op)->bridges);
}

static PyObject *broadcaster_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Broadcaster *self = (Broadcaster *)op;
    self->is_closed = 1;
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
    Broadcaster *self = (Broadcaster *)op;
    if (fork_start_over(&self->bridges) < 0)
        return NULL;
    if (self->position_digits != 0)
        self->bridges.inherited = false; /* nothing to warn of: what one process publishes reaches all */
    Py_RETURN_NONE;
}

/* ---- attributes ---- */

static uint64_t client_count(Broadcaster *self, const struct fw_hub_counts *counts)
{
    return counts->clients + (size_t)PyList_GET_SIZE(self->bridges.queues);
}

static uint64_t direct_clients(const Broadcaster *self)
{
    uint64_t count = 0;
    for (const Bridge *bridge = self->bridges.first; bridge != NULL; bridge = bridge->next)
        count += bridge->attached.count;
    return count;
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
        {"direct", direct_clients(self)},
        {"total", counts.total},
        {"resumed", counts.joins[FW_JOIN_RESUMED]},
        {"gaps_evicted", counts.joins[FW_JOIN_EVICTED]},
        {"gaps_epoch", counts.joins[FW_JOIN_EPOCH]},
        {"gaps_future", counts.joins[FW_JOIN_FUTURE]},
        {"gaps_invalid", counts.joins[FW_JOIN_INVALID]},
        {"pruned", counts.pruned + counts.passed},
        {"pruned_by_events", counts.pruned - counts.pruned_by_bytes},
        {"pruned_by_bytes", counts.pruned_by_bytes},
        {"pruned_by_history", counts.passed},
        {"events", counts.head},
        {"bytes", counts.text},
        {"log_events", counts.frames},
        {"log_bytes", counts.bytes},
        {"lag", counts.lag},
        {"history_events", counts.history_events},
        {"history_bytes", counts.history_bytes},
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

static PyObject *get_has_ids(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Broadcaster *)op)->bridges.id_size != 0);
}

static PyGetSetDef broadcaster_getset[] = {
    {"event_types", get_event_types, NULL, "The registered event types, a frozenset copy.", NULL},
    {"client_count", get_client_count, NULL,
     "The number of clients whose stream has begun and has neither ended nor been pruned.", NULL},
    {"_closed", get_closed, NULL, "Whether close() has been called.", NULL},
    {"_has_ids", get_has_ids, NULL, "Whether events carry ids, with which clients may come back.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef broadcaster_members[] = {
    {"_clients", T_OBJECT, offsetof(Broadcaster, bridges.queues), READONLY, "The caller's own queues: a list."},
    {"_event_types", T_OBJECT, offsetof(Broadcaster, event_types), READONLY, "The registered event types: a set."},
    {"_buffer_size", T_PYSSIZET, offsetof(Broadcaster, buffer_size), READONLY, "Events that may wait for a client."},
    {"_strict", T_BOOL, offsetof(Broadcaster, strict), READONLY, "Whether event types must be registered."},
    {"_heartbeat_interval", T_OBJECT, offsetof(Broadcaster, heartbeat_interval), READONLY, "In seconds, or None."},
    {"_retry", T_OBJECT, offsetof(Broadcaster, retry), READONLY, "In seconds, a pair (low, high), or None."},
    {"_max_buffer_bytes", T_OBJECT, offsetof(Broadcaster, max_buffer_bytes), READONLY, "As given."},
    {"_history", T_OBJECT, offsetof(Broadcaster, history), READONLY, "As given."},
    {"_history_bytes", T_OBJECT, offsetof(Broadcaster, history_bytes), READONLY, "As given."},
    {"_graceful_exit", T_BOOL, offsetof(Broadcaster, graceful_exit), READONLY, "Whether signals end the streams."},
    {NULL, 0, 0, 0, NULL},
};

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
    "connected: clients now, as client_count; direct: those to whose sockets C writes itself; total:\n"
    "streams that ever began, those among them that resumed, and those that could not (gaps_), by reason; pruned:\n"
    "clients that could not keep up, by what had no more room. Queues in _clients count as connected, and nowhere\n"
    "else.\n"
    "events, bytes: published, and their text; with a backplane, what came back from it. log_events, log_bytes: kept,\n"
    "for clients that have not read them yet or as history; lag: events that the live client furthest behind still\n"
    "has to read, without those that catch up in the history, or have been pruned; history_events, history_bytes:\n"
    "kept for those who come back. Counters start at 0 in each process.");

static PyMethodDef broadcaster_methods[] = {
    {"register_event", (PyCFunction)(void (*)(void))publish_register_event, METH_FASTCALL | METH_KEYWORDS,
     publish_register_event_doc},
    {"broadcast", (PyCFunction)(void (*)(void))publish_broadcast, METH_FASTCALL | METH_KEYWORDS, publish_broadcast_doc},
    {"_format_sse", (PyCFunction)(void (*)(void))publish_format_sse, METH_FASTCALL | METH_KEYWORDS,
     publish_format_sse_doc},
    {"_subscribe", broadcaster_subscribe, METH_NOARGS, subscribe_doc},
    {"close", broadcaster_close, METH_NOARGS, close_doc},
    {"_end_streams", broadcaster_end_streams, METH_O, end_streams_doc},
    {"_start_over", broadcaster_start_over, METH_NOARGS, start_over_doc},
    {"_attach_outbox", deliver_attach_outbox, METH_O, deliver_attach_outbox_doc},
    {"_deliver", deliver_entries, METH_O, deliver_entries_doc},
    {"_rebase", deliver_rebase, METH_VARARGS, deliver_rebase_doc},
    {"stats", broadcaster_stats, METH_NOARGS, stats_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(broadcaster_doc,
             "Broadcaster(buffer_size=256, *, strict=True, heartbeat_interval=None, retry=None, graceful_exit=True,\n"
             "max_buffer_bytes=None, history=0, history_bytes=None, position_digits=0)\n"
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
