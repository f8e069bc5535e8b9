#include "py/handoff.h"

#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *send; /* the server's */
    PyObject *protocol;
    PyObject *handoff;
    PyObject *start; /* the first message; NULL before it, None once it has been looked at */
    PyObject *offer; /* or NULL, or None */
} Sender;

typedef struct {
    PyObject_HEAD
    Sender *sender; /* not owned; NULL once it has gone */
    PyObject *streams;
    char had_stream;
    char is_ending;
} Handoff;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    fw_state *state;
    PyObject *app;
    PyObject *protocol; /* a cycle until release(); NULL then */
    PyObject *current;  /* the Handoff of the last request, or NULL */
    char is_ending;
} Wrapper;

/* ---- the hand-off ---- */

static PyObject *handoff_new(fw_state *state, char is_ending)
{
    Handoff *self = PyObject_GC_New(Handoff, state->handoff_type);
    if (self == NULL)
        return NULL;
    self->sender = NULL;
    self->streams = PyTuple_New(0); /* always the same one */
    self->had_stream = false;
    self->is_ending = is_ending;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *get_sender(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *sender = (PyObject *)((Handoff *)op)->sender;
    return Py_NewRef(sender != NULL ? sender : Py_None);
}

static int handoff_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((Handoff *)op)->streams);
    return 0;
}

static int handoff_clear(PyObject *op)
{
    Py_CLEAR(((Handoff *)op)->streams);
    return 0;
}

/* Of what is in tp_clear, for all three types. */
static void dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    type->tp_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef handoff_members[] = {
    {"streams", T_OBJECT, offsetof(Handoff, streams), 0, "A tuple of those of the request that have begun."},
    {"had_stream", T_BOOL, offsetof(Handoff, had_stream), 0, "Whether one has begun."},
    {"is_ending", T_BOOL, offsetof(Handoff, is_ending), 0, "Whether the server stops."},
    {NULL, 0, 0, 0, NULL},
};

/* Whoever copies a scope means the same connection. */
static PyObject *handoff_copy(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(op);
}

static PyMethodDef handoff_methods[] = {
    {"__copy__", handoff_copy, METH_NOARGS, NULL},
    {"__deepcopy__", handoff_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef handoff_getset[] = {
    {"sender", get_sender, NULL, "None once the request is over.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot handoff_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What a stream finds in the scope of its request.")},
    {Py_tp_traverse, handoff_traverse},
    {Py_tp_clear, handoff_clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, handoff_methods},
    {Py_tp_members, handoff_members},
    {Py_tp_getset, handoff_getset},
    {0, NULL},
};

PyType_Spec handoff_spec = {
    .name = "fastware_sse._core.Handoff",
    .basicsize = sizeof(Handoff),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = handoff_slots,
};

/* ---- the sender ---- */

static PyObject *sender_call(PyObject *op, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Sender *self = (Sender *)op;
    bool is_named = kwnames != NULL && PyTuple_GET_SIZE(kwnames) != 0; /* send(message=...): stored behind the others */
    if (self->start == NULL && (is_named || PyVectorcall_NARGS(nargsf) != 0))
        self->start = Py_NewRef(args[0]);
    if (self->offer == NULL || self->offer == Py_None)
        return PyObject_Vectorcall(self->send, args, nargsf, kwnames);
    PyObject *send = PyObject_GetAttr(self->offer, fw_state_of_type(Py_TYPE(op))->name_send);
    PyObject *result = send != NULL ? PyObject_Vectorcall(send, args, nargsf, kwnames) : NULL;
    Py_XDECREF(send);
    return result;
}

static PyObject *sender_new(fw_state *state, PyObject *protocol, PyObject *send, PyObject *handoff)
{
    Sender *self = PyObject_GC_New(Sender, state->sender_type);
    if (self == NULL)
        return NULL;
    self->call = sender_call;
    self->send = Py_NewRef(send);
    self->protocol = Py_NewRef(protocol);
    self->handoff = Py_NewRef(handoff);
    self->start = self->offer = NULL;
    ((Handoff *)handoff)->sender = self;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int sender_traverse(PyObject *op, visitproc visit, void *arg)
{
    Sender *self = (Sender *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->send);
    Py_VISIT(self->protocol);
    Py_VISIT(self->handoff);
    Py_VISIT(self->start);
    Py_VISIT(self->offer);
    return 0;
}

static int sender_clear(PyObject *op)
{
    Sender *self = (Sender *)op;
    if (self->handoff != NULL)
        ((Handoff *)self->handoff)->sender = NULL;
    Py_CLEAR(self->handoff);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->start);
    Py_CLEAR(self->offer);
    return 0; /* without the server's send(): what is cleared may still be called */
}

static void sender_dealloc(PyObject *op)
{
    PyObject *send = ((Sender *)op)->send;
    dealloc(op);
    Py_DECREF(send);
}

static PyMemberDef sender_members[] = {
    {"offer", T_OBJECT, offsetof(Sender, offer), 0, "The stream's, or None."},
    {"send", T_OBJECT, offsetof(Sender, send), READONLY, "The server's own."},
    {"protocol", T_OBJECT, offsetof(Sender, protocol), READONLY, "Of the connection."},
    {"start", T_OBJECT, offsetof(Sender, start), 0, "The first message, or None."},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Sender, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot sender_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The server's send(), until a stream makes an offer.")},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, sender_traverse},
    {Py_tp_clear, sender_clear},
    {Py_tp_dealloc, sender_dealloc},
    {Py_tp_members, sender_members},
    {0, NULL},
};

PyType_Spec sender_spec = {
    .name = "fastware_sse._core.Sender",
    .basicsize = sizeof(Sender),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sender_slots,
};

/* ---- the wrapper ---- */

/* Puts `handoff` where a stream looks for it. Returns 0 or -1 with an exception. */
static int put_in_scope(fw_state *state, PyObject *scope, PyObject *handoff)
{
    PyObject *extensions = PyDict_GetItemWithError(scope, state->name_extensions);
    if (extensions != NULL)
        return PyDict_Check(extensions) ? PyDict_SetItem(extensions, state->name_fastware_sse, handoff) : 0;
    if (PyErr_Occurred() || (extensions = PyDict_New()) == NULL)
        return -1;
    int result = PyDict_SetItem(extensions, state->name_fastware_sse, handoff);
    if (result == 0)
        result = PyDict_SetItem(scope, state->name_extensions, extensions);
    Py_DECREF(extensions);
    return result;
}

static PyObject *wrapper_call(PyObject *op, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Wrapper *self = (Wrapper *)op;
    if (self->protocol == NULL || PyVectorcall_NARGS(nargsf) != 3 || kwnames != NULL || !PyDict_Check(args[0]))
        return PyObject_Vectorcall(self->app, args, nargsf, kwnames);
    PyObject *result = NULL, *sender = NULL, *handoff = handoff_new(self->state, self->is_ending);
    if (handoff != NULL)
        sender = sender_new(self->state, self->protocol, args[2], handoff);
    if (sender != NULL && put_in_scope(self->state, args[0], handoff) == 0) {
        Py_XSETREF(self->current, Py_NewRef(handoff));
        PyObject *stack[3] = {args[0], args[1], sender};
        result = PyObject_Vectorcall(self->app, stack, 3, NULL);
    }
    Py_XDECREF(sender);
    Py_XDECREF(handoff);
    return result;
}

static PyObject *wrapper_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *app, *protocol;
    if (!PyArg_ParseTuple(args, "OO:Wrapper", &app, &protocol))
        return NULL;
    Wrapper *self = PyObject_GC_New(Wrapper, type);
    if (self == NULL)
        return NULL;
    self->call = wrapper_call;
    self->state = fw_state_of_type(type);
    self->app = Py_NewRef(app);
    self->protocol = Py_NewRef(protocol);
    self->current = NULL;
    self->is_ending = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *wrapper_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Py_CLEAR(((Wrapper *)op)->protocol);
    Py_CLEAR(((Wrapper *)op)->current);
    Py_RETURN_NONE;
}

static int wrapper_traverse(PyObject *op, visitproc visit, void *arg)
{
    Wrapper *self = (Wrapper *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->app);
    Py_VISIT(self->protocol);
    Py_VISIT(self->current);
    return 0;
}

static int wrapper_clear(PyObject *op)
{
    Wrapper *self = (Wrapper *)op;
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->current);
    return 0; /* without the application, as above */
}

static void wrapper_dealloc(PyObject *op)
{
    PyObject *app = ((Wrapper *)op)->app;
    dealloc(op);
    Py_DECREF(app);
}

static PyMethodDef wrapper_methods[] = {
    {"release", wrapper_release, METH_NOARGS, "release($self, /)\n--\n\nThe connection is lost."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef wrapper_members[] = {
    {"current", T_OBJECT, offsetof(Wrapper, current), READONLY, "The Handoff of the last request, or None."},
    {"is_ending", T_BOOL, offsetof(Wrapper, is_ending), 0, "Whether the server stops: for the requests that follow."},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Wrapper, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot wrapper_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What a connection's server calls for each request, instead of the application.")},
    {Py_tp_new, wrapper_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, wrapper_traverse},
    {Py_tp_clear, wrapper_clear},
    {Py_tp_dealloc, wrapper_dealloc},
    {Py_tp_methods, wrapper_methods},
    {Py_tp_members, wrapper_members},
    {0, NULL},
};

PyType_Spec wrapper_spec = {
    .name = "fastware_sse._core.Wrapper",
    .basicsize = sizeof(Wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wrapper_slots,
};
