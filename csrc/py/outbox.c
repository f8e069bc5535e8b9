#include "py/outbox.h"

#include "core/status.h"
#include "py/encode.h"

#include <stddef.h>
#include <structmember.h>

#define FIRST_CAPACITY 64

typedef struct {
    PyObject *event; /* an exact str; owned, as the data */
    PyObject *data;  /* bytes, or a str that is ASCII: its UTF-8 text */
    size_t size;     /* of both */
} Item;

typedef struct {
    PyObject_HEAD
    fw_state *state;
    PyObject *begin; /* NULL once it was called, or where there is none */
    PyObject *wake;
    Item *items; /* a ring of `capacity`, a power of two; NULL where that is 0 */
    size_t capacity, count, most_count;
    size_t bytes, most_bytes;
    uint64_t oldest; /* the counter of the oldest, or of the next that will come */
    bool is_asleep;  /* nobody has been told that there is something */
    bool is_closed;
} Outbox;

static Item *item_at(const Outbox *self, uint64_t counter)
{
    return &self->items[counter & (self->capacity - 1)];
}

/* Returns 0, or -1 with MemoryError. */
static int make_room(Outbox *self)
{
    if (self->count < self->capacity)
        return 0;
    Outbox grown = *self;
    grown.capacity = self->capacity != 0 ? 2 * self->capacity : FIRST_CAPACITY;
    grown.items = PyMem_New(Item, grown.capacity);
    if (grown.items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint64_t counter = self->oldest; counter != self->oldest + self->count; counter++)
        *item_at(&grown, counter) = *item_at(self, counter);
    PyMem_Free(self->items);
    self->items = grown.items;
    self->capacity = grown.capacity;
    return 0;
}

/* Lets whoever empties the box begin, before anything is in it. Returns 0, or -1 with an exception. */
static int begin(Outbox *self)
{
    if (self->begin == NULL)
        return 0;
    PyObject *call = Py_NewRef(self->begin); /* another thread may come as far meanwhile */
    PyObject *done = PyObject_CallNoArgs(call);
    Py_DECREF(call);
    if (done == NULL)
        return -1;
    Py_DECREF(done);
    Py_CLEAR(self->begin);
    return 0;
}

/* Tells whoever empties the box, once each time that there is something. */
static int wake(Outbox *self)
{
    if (!self->is_asleep)
        return 0;
    self->is_asleep = false;
    PyObject *done = PyObject_CallNoArgs(self->wake);
    if (done == NULL)
        self->is_asleep = true; /* the next one tells it again */
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* Takes over `data`. Returns 0, or -1 with an exception and nothing changed. */
static int append(Outbox *self, PyObject *name, PyObject *data, size_t size)
{
    if (self->is_closed)
        PyErr_SetString(PyExc_RuntimeError, "the backplane of this Broadcaster is closed");
    else if (self->count == self->most_count || (self->count != 0 && self->bytes + size > self->most_bytes))
        PyErr_Format(self->state->backplane_full,
                     "the backplane has not taken %zu events (%zu bytes), and backplane_buffer has no room for more",
                     self->count, self->bytes);
    else if (make_room(self) == 0) {
        *item_at(self, self->oldest + self->count) = (Item){Py_NewRef(name), data, size};
        self->count++;
        self->bytes += size;
        return 0;
    }
    Py_DECREF(data);
    return -1;
}

int outbox_put(PyObject *op, PyObject *name, PyObject *data, bool only_check)
{
    Outbox *self = (Outbox *)op;
    Field event = {NULL, {NULL, 0}}, payload = event;
    int result = -1;
    if (encode_text(name, &event) == 0 && encode_data(self->state, data, &payload) == 0) {
        size_t size = 0;
        int status =
            fw_wire_measure(&(struct fw_event){.event = event.text, .data = payload.text, .retry = FW_NO_RETRY}, &size);
        if (status == FW_OK && size > FW_FRAME_MAX - sizeof "id: " - FW_ID_SIZE_MAX)
            status = FW_ESIZE;
        if (status != FW_OK)
            fw_raise(status);
        else if (only_check)
            result = 0;
        else if (begin(self) == 0)
            result = append(self, name, Py_NewRef(payload.owner), event.text.size + payload.text.size);
    }
    field_clear(&event);
    field_clear(&payload);
    return result == 0 && !only_check ? wake(self) : result;
}

static void drop_oldest(Outbox *self)
{
    Item item = *item_at(self, self->oldest);
    self->oldest++;
    self->count--;
    self->bytes -= item.size;
    Py_DECREF(item.event);
    Py_DECREF(item.data);
    if (self->count != 0)
        return;
    self->is_asleep = true;
    if (self->capacity > FIRST_CAPACITY) { /* of an outage */
        PyMem_Free(self->items);
        self->items = NULL;
        self->capacity = 0;
    }
}

/* ---- calls ---- */

static PyObject *as_tuple(const Outbox *self, uint64_t counter)
{
    const Item *item = item_at(self, counter);
    PyObject *event = Py_NewRef(item->event);
    PyObject *data = PyUnicode_Check(item->data) ? PyUnicode_AsUTF8String(item->data) : Py_NewRef(item->data);
    PyObject *tuple = data != NULL ? Py_BuildValue("(KOO)", (unsigned long long)counter, event, data) : NULL;
    Py_DECREF(event);
    Py_XDECREF(data);
    return tuple;
}

PyDoc_STRVAR(take_doc, "take($self, events, bytes, /)\n"
                       "--\n\n"
                       "Return the oldest as a list of (counter, event, data), without removing them: at most so many\n"
                       "events and so many bytes, but at least one if there is one.");

static PyObject *outbox_take(PyObject *op, PyObject *args)
{
    Outbox *self = (Outbox *)op;
    Py_ssize_t events, most;
    if (!PyArg_ParseTuple(args, "nn:take", &events, &most))
        return NULL;
    PyObject *taken = PyList_New(0);
    size_t bytes = 0;
    for (uint64_t n = 0; taken != NULL && n < self->count && (Py_ssize_t)n < events; n++) {
        bytes += item_at(self, self->oldest + n)->size;
        if (n != 0 && bytes > (size_t)most)
            break;
        PyObject *tuple = as_tuple(self, self->oldest + n);
        if (tuple == NULL || PyList_Append(taken, tuple) < 0)
            Py_CLEAR(taken);
        Py_XDECREF(tuple);
    }
    return taken;
}

PyDoc_STRVAR(done_doc, "done($self, counter, /)\n"
                       "--\n\n"
                       "Remove what was published: everything up to and including that counter.");

static PyObject *outbox_done(PyObject *op, PyObject *number)
{
    Outbox *self = (Outbox *)op;
    unsigned long long counter = PyLong_AsUnsignedLongLong(number);
    if (counter == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    while (self->count != 0 && self->oldest <= counter)
        drop_oldest(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc, "close($self, /)\n"
                        "--\n\n"
                        "Drop what is left, and return how many events that were. Nothing can be put in any more.");

static PyObject *outbox_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Outbox *self = (Outbox *)op;
    size_t left = self->count;
    self->is_closed = true;
    while (self->count != 0)
        drop_oldest(self);
    return PyLong_FromSize_t(left);
}

static Py_ssize_t outbox_length(PyObject *op)
{
    return (Py_ssize_t)((Outbox *)op)->count;
}

/* ---- the type ---- */

static PyObject *outbox_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"events", "bytes", "wake", "begin", NULL};
    Py_ssize_t events, bytes;
    PyObject *wake_object, *begin_object = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nnO|O:Outbox", names, &events, &bytes, &wake_object, &begin_object))
        return NULL;
    if (events < 1 || bytes < 1) {
        PyErr_SetString(PyExc_ValueError, "an Outbox has room for at least one event and one byte");
        return NULL;
    }
    fw_state *state = fw_state_of_type(type);
    Outbox *self = state != NULL ? (Outbox *)type->tp_alloc(type, 0) : NULL; /* zeroed */
    if (self == NULL)
        return NULL;
    self->state = state;
    self->wake = Py_NewRef(wake_object);
    self->begin = Py_XNewRef(begin_object);
    self->most_count = (size_t)events;
    self->most_bytes = (size_t)bytes;
    self->oldest = 1;
    self->is_asleep = true;
    return (PyObject *)self;
}

static int outbox_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((Outbox *)op)->wake);
    Py_VISIT(((Outbox *)op)->begin);
    return 0;
}

static int outbox_clear(PyObject *op)
{
    Py_SETREF(((Outbox *)op)->wake, Py_NewRef(Py_None)); /* a put may still come, and cannot call that */
    Py_CLEAR(((Outbox *)op)->begin);
    return 0;
}

static void outbox_dealloc(PyObject *op)
{
    Outbox *self = (Outbox *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    while (self->count != 0)
        drop_oldest(self);
    PyMem_Free(self->items);
    Py_CLEAR(self->wake);
    Py_CLEAR(self->begin);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef outbox_methods[] = {
    {"take", outbox_take, METH_VARARGS, take_doc},
    {"done", outbox_done, METH_O, done_doc},
    {"close", outbox_close, METH_NOARGS, close_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef outbox_members[] = {
    {"bytes", T_PYSSIZET, offsetof(Outbox, bytes), READONLY, "Bytes of event names and data that wait."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(outbox_doc,
             "Outbox(events, bytes, wake, begin=...)\n"
             "--\n\n"
             "What broadcast() was given and a backplane has not taken yet. wake() is called when there is\n"
             "something again. An empty one takes an event of any size. begin() is called before the first\n"
             "is put in; if it raises, that one is not, and it is called again before the next.");

static PyType_Slot outbox_slots[] = {
    {Py_tp_doc, (void *)outbox_doc}, {Py_tp_new, outbox_new},         {Py_tp_traverse, outbox_traverse},
    {Py_tp_clear, outbox_clear},     {Py_tp_dealloc, outbox_dealloc}, {Py_tp_methods, outbox_methods},
    {Py_tp_members, outbox_members}, {Py_sq_length, outbox_length},   {0, NULL},
};

PyType_Spec outbox_spec = {
    .name = "fastware_sse._core.Outbox",
    .basicsize = sizeof(Outbox),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = outbox_slots,
};
