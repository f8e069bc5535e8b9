#include "py/subscription.h"

#include "core/hub_resume.h"
#include "core/status.h"
#include "py/direct.h"
#include "py/entry.h"
#include "py/fork.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    fw_state *state;
    PyObject *owner; /* the Broadcaster; it keeps `bridges` alive */
    BridgeList *bridges;
    Client client;
    char coalesce;
    bool ended;        /* nothing will ever be read again */
    int join;          /* an fw_join, FW_JOINS where the hub was closed, -1 before it has joined */
    enum fw_fate fate; /* once it has ended */
} Subscription;

static void end(Subscription *self)
{
    if (!self->ended && self->client.bridge != NULL)
        self->fate = fw_hub_fate(self->client.bridge->hub, &self->client.reader);
    self->ended = true;
}

PyObject *subscription_new(fw_state *state, PyObject *owner, BridgeList *bridges)
{
    Subscription *self = (Subscription *)state->subscription_type->tp_alloc(state->subscription_type, 0); /* zeroed */
    if (self != NULL) {
        self->state = state;
        self->owner = Py_NewRef(owner);
        self->bridges = bridges;
        self->join = -1;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(
    subscription_join_doc,
    "join($self, loop, last_event_id=None, /)\n"
    "--\n\n"
    "Register as a client on the running event loop `loop`: at the head of the log or, if the Broadcaster has a\n"
    "history and last_event_id (bytes) is given, where that says.\n\n"
    "Raises RuntimeError on a second call.");

static PyObject *subscription_join(PyObject *op, PyObject *args)
{
    Subscription *self = (Subscription *)op;
    PyObject *loop;
    const char *last_id = NULL;
    Py_ssize_t size = 0;
    if (!PyArg_ParseTuple(args, "O|z#:join", &loop, &last_id, &size))
        return NULL;
    if (self->join >= 0 || self->ended) {
        PyErr_SetString(PyExc_RuntimeError, "this subscription has joined already");
        return NULL;
    }
    int join = bridge_join(self->state, self->bridges, loop, (struct fw_text){last_id, (size_t)size}, &self->client);
    if (join < 0)
        return NULL;
    self->join = self->client.reader.counted ? join : FW_JOINS;
    fork_warn(self->state, self->bridges);
    Py_RETURN_NONE;
}

/* Returns the size of the positions from outside, or 0 with RuntimeError unless the client is aside, waiting for them. */
static size_t digits_aside(const Subscription *self)
{
    if (self->client.bridge != NULL && self->client.reader.aside != 0)
        return self->bridges->id_size - FW_ID_SIZE_OF(0);
    PyErr_SetString(PyExc_RuntimeError, "this subscription is not aside");
    return 0;
}

PyDoc_STRVAR(subscription_judge_doc,
             "judge($self, last_event_id, is_covered=True, /)\n"
             "--\n\n"
             "Judge the id of a client that has joined as 'behind' or 'unknown' again, and change `start`. With\n"
             "is_covered=False what would be 'behind' is a gap.");

static PyObject *subscription_judge(PyObject *op, PyObject *args)
{
    Subscription *self = (Subscription *)op;
    const char *last_id;
    Py_ssize_t size;
    int is_covered = 1;
    struct fw_id id;
    if (!PyArg_ParseTuple(args, "y#|p:judge", &last_id, &size, &is_covered) || digits_aside(self) == 0)
        return NULL;
    bool is_id = fw_id_parse((struct fw_text){last_id, (size_t)size}, &id) == FW_OK;
    int join = fw_hub_judge(self->client.bridge->hub, &self->client.reader, is_id ? &id : NULL, is_covered);
    self->join = self->client.reader.counted ? join : FW_JOINS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    subscription_arrive_doc,
    "arrive($self, /)\n"
    "--\n\n"
    "Let a client that has joined as 'behind' go on at the head of the log. Return the head's position, up to\n"
    "which the client gets its events from elsewhere; or None where its stream is over.");

static PyObject *subscription_arrive(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    char id[FW_ID_SIZE_MAX];
    struct fw_position head;
    size_t digits = digits_aside(self);
    if (digits == 0)
        return NULL;
    if (!fw_hub_arrive(self->client.bridge->hub, &self->client.reader, &head))
        Py_RETURN_NONE;
    self->join = FW_JOIN_RESUMED;
    fw_id_write(id, "aaaaaaaaaaaaa", head, digits);
    return PyUnicode_FromStringAndSize(id + FW_ID_SIZE_OF(0), (Py_ssize_t)digits);
}

PyDoc_STRVAR(subscription_strand_doc, "strand($self, /)\n"
                                      "--\n\n"
                                      "End the stream at once, as if the history had passed the client.");

static PyObject *subscription_strand(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->client.bridge != NULL)
        fw_hub_strand(self->client.bridge->hub, &self->client.reader);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    subscription_replay_doc,
    "replay($self, epoch, entries, upto=None, /)\n"
    "--\n\n"
    "Return the entries (position, event, data) of a list as chunks with ids of `epoch`, but those behind the\n"
    "position `upto` and those that may not stand on the wire. They count as read.");

static PyObject *subscription_replay(PyObject *op, PyObject *args)
{
    Subscription *self = (Subscription *)op;
    size_t digits = self->bridges->id_size - FW_ID_SIZE_OF(0);
    const char *epoch;
    Py_ssize_t size;
    PyObject *entries, *upto = Py_None;
    struct fw_position last;
    if (!PyArg_ParseTuple(args, "s#O!|O:replay", &epoch, &size, &PyList_Type, &entries, &upto) ||
        (upto != Py_None && entry_position(upto, digits, &last) < 0) || entry_check_epoch(epoch, size) < 0)
        return NULL;
    struct entry_ids ids = {epoch, digits, upto != Py_None ? &last : NULL};
    return entry_chunks(self->state, entries, &ids, self->coalesce, &self->client.events, &self->client.bytes);
}

PyDoc_STRVAR(subscription_settle_doc, "settle($self, /)\n"
                                      "--\n\n"
                                      "To be called before the first read: where the history has passed a client that\n"
                                      "came back to a gap, it begins at the oldest event of now.");

static PyObject *subscription_settle(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->client.bridge != NULL)
        fw_hub_settle(self->client.bridge->hub, &self->client.reader);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(subscription_park_doc, "park($self, /)\n"
                                    "--\n\n"
                                    "Return what to await until there is something to read, or None at the end of\n"
                                    "the stream, or for a client that is aside.");

static PyObject *subscription_park(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->ended || self->client.bridge == NULL || self->client.reader.aside != 0)
        Py_RETURN_NONE;
    return bridge_park(&self->client);
}

PyDoc_STRVAR(subscription_rest_doc,
             "rest($self, /)\n"
             "--\n\n"
             "Return what to await so that others have a turn, or None where it has not joined.");

static PyObject *subscription_rest(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->client.bridge == NULL)
        Py_RETURN_NONE;
    return bridge_rest(&self->client);
}

PyDoc_STRVAR(
    subscription_attach_doc,
    "attach($self, fd, chunked, patience, offer, /)\n"
    "--\n\n"
    "Let C write to the socket `fd` what can be read from now on, in HTTP/1.1 chunks if `chunked`, until\n"
    "detach(), or until offer.released(why, rest) tells that it is over: why is 'ended' (the stream is), 'broken'\n"
    "or 'stuck' (the socket took nothing for `patience` seconds; None: for ever), and rest (bytes) must be\n"
    "written before anything else. Return False where the client is not parked.\n\n"
    "Raises OSError or MemoryError, and what the loop's add_reader() raises; then nothing has changed.");

static PyObject *subscription_attach(PyObject *op, PyObject *args)
{
    Subscription *self = (Subscription *)op;
    int fd, chunked;
    PyObject *patience, *offer;
    if (!PyArg_ParseTuple(args, "ipOO:attach", &fd, &chunked, &patience, &offer))
        return NULL;
    double seconds = patience == Py_None ? 0 : PyFloat_AsDouble(patience);
    if (seconds == -1 && PyErr_Occurred())
        return NULL;
    int result = direct_attach(&self->client, fd, chunked, seconds, offer);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

PyDoc_STRVAR(subscription_detach_doc, "detach($self, /)\n"
                                      "--\n\n"
                                      "End what attach() began, if it has not ended. Return bytes to be written\n"
                                      "before anything else.");

static PyObject *subscription_detach(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return direct_detach(&((Subscription *)op)->client);
}

PyDoc_STRVAR(subscription_finish_doc, "finish($self, /)\n"
                                      "--\n\n"
                                      "End the stream: what is owed until now can still be read, then nothing.");

static PyObject *subscription_finish(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->client.bridge != NULL)
        fw_hub_finish(self->client.bridge->hub, &self->client.reader, false);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(subscription_end_doc, "end($self, /)\n"
                                   "--\n\n"
                                   "finish(), and let the stream end now if it waits. From a callback of its loop.");

static PyObject *subscription_end(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (bridge_end(&((Subscription *)op)->client) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(subscription_close_doc, "close($self, /)\n"
                                     "--\n\n"
                                     "Unregister the client. Idempotent; from any thread.");

static PyObject *subscription_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    end(self);
    bridge_leave(&self->client);
    Py_RETURN_NONE;
}

/* Iteration gives what can be read now and then stops; park() tells when to iterate again. */
static PyObject *subscription_next(PyObject *op)
{
    Subscription *self = (Subscription *)op;
    PyObject *chunk = NULL;
    if (self->ended || self->client.bridge == NULL)
        return NULL;
    int status = bridge_read(&self->client, self->coalesce ? FW_BATCH_FRAMES : 1, &chunk);
    if (status == FW_EEND)
        end(self);
    return chunk;
}

static int subscription_traverse(PyObject *op, visitproc visit, void *arg)
{
    Subscription *self = (Subscription *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->client.bridge);
    Py_VISIT(self->client.waiter);
    Py_VISIT(direct_offer(&self->client));
    return 0;
}

static int subscription_clear(PyObject *op)
{
    /* The owner stays: what is cleared may still be called, and it breaks its own cycles. */
    bridge_leave(&((Subscription *)op)->client);
    return 0;
}

static void subscription_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    bridge_leave(&((Subscription *)op)->client);
    Py_CLEAR(((Subscription *)op)->owner);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef subscription_methods[] = {
    {"join", subscription_join, METH_VARARGS, subscription_join_doc},
    {"judge", subscription_judge, METH_VARARGS, subscription_judge_doc},
    {"arrive", subscription_arrive, METH_NOARGS, subscription_arrive_doc},
    {"strand", subscription_strand, METH_NOARGS, subscription_strand_doc},
    {"replay", subscription_replay, METH_VARARGS, subscription_replay_doc},
    {"settle", subscription_settle, METH_NOARGS, subscription_settle_doc},
    {"park", subscription_park, METH_NOARGS, subscription_park_doc},
    {"rest", subscription_rest, METH_NOARGS, subscription_rest_doc},
    {"attach", subscription_attach, METH_VARARGS, subscription_attach_doc},
    {"detach", subscription_detach, METH_NOARGS, subscription_detach_doc},
    {"finish", subscription_finish, METH_NOARGS, subscription_finish_doc},
    {"end", subscription_end, METH_NOARGS, subscription_end_doc},
    {"close", subscription_close, METH_NOARGS, subscription_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *get_start(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"live",    "resumed", "evicted", "epoch", "future",
                                        "invalid", "behind",  "unknown", "closed"};
    int join = ((Subscription *)op)->join;
    return join < 0 ? Py_NewRef(Py_None) : PyUnicode_InternFromString(names[join]);
}

static PyObject *get_fate(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const names[] = {NULL, "pruned", "history", "finished", "closed"};
    const char *name = names[((Subscription *)op)->fate];
    return name == NULL ? Py_NewRef(Py_None) : PyUnicode_InternFromString(name);
}

static PyObject *get_is_ending(PyObject *op, void *Py_UNUSED(closure))
{
    Subscription *self = (Subscription *)op;
    bool is_here = !self->ended && self->client.bridge != NULL;
    return PyBool_FromLong(!is_here || fw_hub_fate(self->client.bridge->hub, &self->client.reader) != FW_FATE_NONE);
}

static PyObject *get_id(PyObject *op, void *Py_UNUSED(closure))
{
    Subscription *self = (Subscription *)op;
    char id[FW_ID_SIZE_MAX];
    if (self->client.bridge == NULL || self->bridges->id_size == 0 || self->join == FW_JOINS)
        Py_RETURN_NONE;
    size_t size = fw_hub_id(self->client.bridge->hub, &self->client.reader, id);
    return size == 0 ? Py_NewRef(Py_None) : PyUnicode_FromStringAndSize(id, (Py_ssize_t)size);
}

static PyObject *get_events(PyObject *op, void *Py_UNUSED(closure))
{
    const Client *client = &((Subscription *)op)->client;
    return PyLong_FromUnsignedLongLong(client->events + direct_events(client));
}

static PyObject *get_bytes(PyObject *op, void *Py_UNUSED(closure))
{
    const Client *client = &((Subscription *)op)->client;
    return PyLong_FromUnsignedLongLong(client->bytes + direct_bytes(client));
}

static PyGetSetDef subscription_getset[] = {
    {"events", get_events, NULL, "Events read.", NULL},
    {"bytes", get_bytes, NULL, "Bytes of their text.", NULL},
    {"start", get_start, NULL,
     "How it has joined: live, resumed, evicted, epoch, future, invalid, behind, unknown or closed; None before.",
     NULL},
    {"fate", get_fate, NULL, "Why it has ended: pruned, history, finished or closed; None if the client left.", NULL},
    {"is_ending", get_is_ending, NULL, "Whether it is not registered, or will not be for long.", NULL},
    {"id", get_id, NULL,
     "The id of the event in front of the next; None without ids, where it joined a closed one, and where that id is "
     "not\n"
     "known, or not here any more.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef subscription_members[] = {
    {"coalesce", T_BOOL, offsetof(Subscription, coalesce), 0,
     "Whether events that wait together are read as one chunk of at most 64 KiB; else one event a chunk."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(subscription_doc, "One client. Not registered before join().");

static PyType_Slot subscription_slots[] = {
    {Py_tp_doc, (void *)subscription_doc}, {Py_tp_traverse, subscription_traverse},
    {Py_tp_clear, subscription_clear},     {Py_tp_dealloc, subscription_dealloc},
    {Py_tp_iter, PyObject_SelfIter},       {Py_tp_iternext, subscription_next},
    {Py_tp_methods, subscription_methods}, {Py_tp_members, subscription_members},
    {Py_tp_getset, subscription_getset},   {0, NULL},
};

PyType_Spec subscription_spec = {
    .name = "fastware_sse._core.Subscription",
    .basicsize = sizeof(Subscription),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = subscription_slots,
};
