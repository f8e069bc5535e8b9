#include "py/waiter.h"

#include <stddef.h>
#include <structmember.h>

typedef enum {
    PENDING,
    DONE,
    CANCELLED
} State;

typedef struct {
    PyObject_HEAD
    fw_state *state;
    PyObject *loop;
    PyObject *callback; /* of the task that awaits it, or NULL */
    PyObject *context;  /* in which to call it */
    PyObject *message;  /* of the cancellation, or NULL */
    State is;
    char blocking; /* set by an await, cleared by the task that takes note of it */
} Waiter;

PyObject *waiter_new(fw_state *state, PyObject *loop)
{
    Waiter *self = (Waiter *)state->waiter_type->tp_alloc(state->waiter_type, 0); /* zeroed: PENDING */
    if (self != NULL) {
        self->state = state;
        self->loop = Py_NewRef(loop);
    }
    return (PyObject *)self;
}

void waiter_renew(PyObject *op)
{
    Waiter *self = (Waiter *)op;
    self->is = PENDING;
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->message);
}

void waiter_skip(PyObject *op)
{
    ((Waiter *)op)->is = DONE;
}

/* Calls loop.call_soon(callback, waiter, context=context). */
static int call_soon(Waiter *self, PyObject *callback, PyObject *context)
{
    PyObject *stack[] = {self->loop, callback, (PyObject *)self, context};
    PyObject *handle = PyObject_VectorcallMethod(self->state->name_call_soon, stack, 3, self->state->names_context);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

int waiter_wake(PyObject *op)
{
    Waiter *self = (Waiter *)op;
    PyObject *callback = self->callback, *context = self->context, *result = NULL;
    if (self->is != PENDING)
        return 0; /* cancelled meanwhile: the task knows */
    self->is = DONE;
    if (callback == NULL)
        return 0;
    /* The task may park on this waiter again before the call returns. */
    self->callback = self->context = NULL;
    if (PyContext_Enter(context) == 0) {
        result = PyObject_CallOneArg(callback, op);
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyContext_Exit(context);
        PyErr_Restore(type, value, traceback);
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* ---- the protocol of futures ---- */

static PyObject *waiter_next(PyObject *op)
{
    Waiter *self = (Waiter *)op;
    if (self->is == PENDING) {
        self->blocking = 1;
        return Py_NewRef(op);
    }
    if (self->is == CANCELLED)
        PyErr_SetObject(self->state->cancelled_error, self->message);
    return NULL; /* without an exception: the await returns None */
}

static PyObject *waiter_result(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Waiter *self = (Waiter *)op;
    if (self->is == DONE)
        Py_RETURN_NONE;
    if (self->is == CANCELLED)
        PyErr_SetObject(self->state->cancelled_error, self->message);
    else
        PyErr_SetString(self->state->invalid_state, "the waiter is pending");
    return NULL;
}

static PyObject *waiter_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((Waiter *)op)->is != PENDING);
}

static PyObject *waiter_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((Waiter *)op)->is == CANCELLED);
}

static PyObject *waiter_get_loop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(((Waiter *)op)->loop);
}

/* add_done_callback(callback, *, context=None), which each park calls once, hence without an argument parser. */
static PyObject *waiter_add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Waiter *self = (Waiter *)op;
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs != 1 || keywords > 1 ||
        (keywords == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "context") != 0))
        return PyErr_Format(PyExc_TypeError, "add_done_callback() takes a callback and the keyword 'context'");
    PyObject *callback = args[0], *context = keywords == 1 ? args[1] : NULL;
    if (self->callback != NULL)
        return PyErr_Format(PyExc_RuntimeError, "a stream's waiter is awaited by one task at a time");
    context = context == NULL || context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (context == NULL)
        return NULL;
    if (self->is == PENDING) {
        self->callback = Py_NewRef(callback);
        self->context = context;
        Py_RETURN_NONE;
    }
    int failed = call_soon(self, callback, context);
    Py_DECREF(context);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *waiter_remove_done_callback(PyObject *op, PyObject *callback)
{
    Waiter *self = (Waiter *)op;
    int same = self->callback != NULL ? PyObject_RichCompareBool(self->callback, callback, Py_EQ) : 0;
    if (same < 0)
        return NULL;
    if (same) {
        Py_CLEAR(self->callback);
        Py_CLEAR(self->context);
    }
    return PyLong_FromLong(same);
}

static PyObject *waiter_cancel(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"msg", NULL};
    Waiter *self = (Waiter *)op;
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", names, &message))
        return NULL;
    if (self->is != PENDING)
        Py_RETURN_FALSE;
    self->is = CANCELLED;
    Py_XSETREF(self->message, message != Py_None ? Py_NewRef(message) : NULL);
    PyObject *callback = self->callback, *context = self->context;
    self->callback = self->context = NULL;
    int failed = callback != NULL ? call_soon(self, callback, context) : 0;
    Py_XDECREF(callback);
    Py_XDECREF(context);
    if (failed)
        return NULL;
    Py_RETURN_TRUE;
}

static int waiter_traverse(PyObject *op, visitproc visit, void *arg)
{
    Waiter *self = (Waiter *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->message);
    return 0;
}

/* The loop stays for whoever still asks; it breaks its own cycles. */
static int waiter_clear(PyObject *op)
{
    Waiter *self = (Waiter *)op;
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->message);
    return 0;
}

static void waiter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    waiter_clear(op);
    Py_CLEAR(((Waiter *)op)->loop);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef waiter_methods[] = {
    {"add_done_callback", (PyCFunction)(void (*)(void))waiter_add_done_callback, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"remove_done_callback", waiter_remove_done_callback, METH_O, NULL},
    {"cancel", (PyCFunction)(void (*)(void))waiter_cancel, METH_VARARGS | METH_KEYWORDS, NULL},
    {"cancelled", waiter_cancelled, METH_NOARGS, NULL},
    {"done", waiter_done, METH_NOARGS, NULL},
    {"get_loop", waiter_get_loop, METH_NOARGS, NULL},
    {"result", waiter_result, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef waiter_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Waiter, blocking), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(waiter_doc, "What a parked client awaits: the part of asyncio.Future that a task needs.");

static PyType_Slot waiter_slots[] = {
    {Py_tp_doc, (void *)waiter_doc},  {Py_tp_traverse, waiter_traverse},
    {Py_tp_clear, waiter_clear},      {Py_tp_dealloc, waiter_dealloc},
    {Py_am_await, PyObject_SelfIter}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, waiter_next},    {Py_tp_methods, waiter_methods},
    {Py_tp_members, waiter_members},  {0, NULL},
};

PyType_Spec waiter_spec = {
    .name = "fastware_sse._core.Waiter",
    .basicsize = sizeof(Waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = waiter_slots,
};
