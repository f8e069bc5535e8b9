#include "py/subscription.h"

#include "core/status.h"
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
    bool joined;
    bool ended; /* nothing will ever be read again */
} Subscription;

PyObject *subscription_new(fw_state *state, PyObject *owner, BridgeList *bridges)
{
    Subscription *self = (Subscription *)state->subscription_type->tp_alloc(state->subscription_type, 0); /* zeroed */
    if (self != NULL) {
        self->state = state;
        self->owner = Py_NewRef(owner);
        self->bridges = bridges;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(subscription_join_doc,
             "join($self, loop, /)\n"
             "--\n\n"
             "Register as a client, at the head of the log, on the running event loop `loop`.\n\n"
             "Raises RuntimeError on a second call.");

static PyObject *subscription_join(PyObject *op, PyObject *loop)
{
    Subscription *self = (Subscription *)op;
    if (self->joined || self->ended) {
        PyErr_SetString(PyExc_RuntimeError, "this subscription has joined already");
        return NULL;
    }
    if (bridge_join(self->state, self->bridges, loop, &self->client) < 0)
        return NULL;
    self->joined = true;
    fork_warn(self->state, self->bridges);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(subscription_park_doc, "park($self, /)\n"
                                    "--\n\n"
                                    "Return what to await until there is something to read, or None at the end of\n"
                                    "the stream.");

static PyObject *subscription_park(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->ended || self->client.bridge == NULL)
        Py_RETURN_NONE;
    return bridge_park(&self->client);
}

PyDoc_STRVAR(subscription_finish_doc, "finish($self, /)\n"
                                      "--\n\n"
                                      "End the stream: what is owed until now can still be read, then nothing.");

static PyObject *subscription_finish(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    if (self->client.bridge != NULL)
        fw_hub_finish(self->bridges->hub, &self->client.reader);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(subscription_close_doc, "close($self, /)\n"
                                     "--\n\n"
                                     "Unregister the client. Idempotent; from any thread.");

static PyObject *subscription_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Subscription *self = (Subscription *)op;
    self->ended = true;
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
        self->ended = true;
    return chunk;
}

static int subscription_traverse(PyObject *op, visitproc visit, void *arg)
{
    Subscription *self = (Subscription *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->client.bridge);
    Py_VISIT(self->client.waiter);
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
    {"join", subscription_join, METH_O, subscription_join_doc},
    {"park", subscription_park, METH_NOARGS, subscription_park_doc},
    {"finish", subscription_finish, METH_NOARGS, subscription_finish_doc},
    {"close", subscription_close, METH_NOARGS, subscription_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef subscription_members[] = {
    {"coalesce", T_BOOL, offsetof(Subscription, coalesce), 0,
     "Whether events that wait together are read as one chunk of at most 64 KiB; else one event a chunk."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(subscription_doc, "One client. Not registered before join().");

static PyType_Slot subscription_slots[] = {
    {Py_tp_doc, (void *)subscription_doc}, {Py_tp_traverse, subscription_traverse}, {Py_tp_clear, subscription_clear},
    {Py_tp_dealloc, subscription_dealloc}, {Py_tp_iter, PyObject_SelfIter},         {Py_tp_iternext, subscription_next},
    {Py_tp_methods, subscription_methods}, {Py_tp_members, subscription_members},   {0, NULL},
};

PyType_Spec subscription_spec = {
    .name = "fastware_sse._core.Subscription",
    .basicsize = sizeof(Subscription),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = subscription_slots,
};
