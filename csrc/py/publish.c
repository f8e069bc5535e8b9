#include "py/publish.h"

#include "core/status.h"
#include "py/broadcaster_state.h"
#include "py/encode.h"
#include "py/fork.h"
#include "py/outbox.h"
#include "py/patience.h"
#include "py/queues.h"
#include "py/wake.h"

#define WARN_EVERY 60.0 /* seconds */

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

PyObject *publish_format_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

PyObject *publish_register_event(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        PyCFunction_GET_FUNCTION(method) == (PyCFunction)(void (*)(void))publish_format_sse &&
        PyCFunction_GET_SELF(method) == op) {
        Py_DECREF(method);
        return 1;
    }
    *override = method;
    return 0;
}

int publish_formats_itself(PyObject *op)
{
    PyObject *override = NULL;
    int ours = formats_itself(op, &override);
    Py_XDECREF(override);
    return ours;
}

/* Leaves the event to whoever empties the outbox. Returns 0, or -1 with an exception. */
static int leave_to_outbox(Broadcaster *self, PyObject *name, PyObject *data)
{
    if (self->outbox == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing publishes the events of this Broadcaster: it has no outbox");
        return -1;
    }
    PyObject *outbox = Py_NewRef(self->outbox); /* encoding the data may run any code */
    int result = outbox_put(outbox, name, data, self->is_closed);
    Py_DECREF(outbox);
    return result;
}

/* Validates and formats; a new frame, or NULL with an exception and nothing sent. */
static struct fw_frame *make_frame(PyObject *op, PyObject *name, PyObject *event, PyObject *data)
{
    Broadcaster *self = (Broadcaster *)op;
    PyObject *override = NULL;
    int ours = formats_itself(op, &override);
    if (ours != 0)
        return ours > 0 ? encode_frame(self->state, name, data, self->bridges.id_size) : NULL;
    struct fw_frame *frame = NULL;
    PyObject *legal = legal_name(name, "event"), *text = NULL;
    if (legal != NULL)
        text = PyObject_CallFunctionObjArgs(override, event, data, NULL);
    if (text != NULL && !PyUnicode_Check(text))
        PyErr_Format(PyExc_TypeError, "_format_sse() must return a str, not %.100s", Py_TYPE(text)->tp_name);
    else if (text != NULL)
        frame = encode_raw_frame(text, self->bridges.id_size);
    Py_XDECREF(text);
    Py_XDECREF(legal);
    Py_DECREF(override);
    return frame;
}

int publish_log_pruned(PyObject *op, uint64_t pruned, bool was_ready)
{
    Broadcaster *self = (Broadcaster *)op;
    struct fw_hub_counts counts = fw_hub_counts(self->bridges.hub);
    unsigned long long remain = counts.clients + (unsigned long long)PyList_GET_SIZE(self->bridges.queues);
    PyObject *done = PyObject_CallMethod(self->state->logger, "debug", "sKK", "pruned %d slow SSE clients (%d remain)",
                                         (unsigned long long)pruned, remain);
    if (done != NULL && was_ready && (self->warned_at == 0 || fw_now() - self->warned_at >= WARN_EVERY)) {
        self->warned_at = fw_now();
        Py_SETREF(done, PyObject_CallMethod(
                            self->state->logger, "warning", "sKnO",
                            "pruned %d SSE clients that had no chance to read: more was broadcast while their event "
                            "loop had no turn than may wait for a client (buffer_size=%d, max_buffer_bytes=%s); await "
                            "between broadcasts, or raise these limits",
                            (unsigned long long)pruned, self->buffer_size, self->max_buffer_bytes));
    }
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

PyObject *publish_broadcast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
    bool leaves = known > 0 && self->position_digits != 0;
    if (leaves)
        leaves = leave_to_outbox(self, name, found[1]) == 0;
    else if (known > 0)
        frame = make_frame(op, name, found[0], found[1]);
    else if (known == 0)
        raise_unregistered(self, name);
    Py_DECREF(name);
    if (leaves)
        Py_RETURN_NONE;
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
    bool was_ready = published.pruned != 0 && bridges_pruned_ready(&self->bridges);
    int failed = bridges_wake(&self->bridges);
    if (PyList_GET_SIZE(self->bridges.queues) != 0 && !fw_hub_counts(self->bridges.hub).closed) {
        PyErr_Fetch(&type, &value, &traceback);
        failed |= queues_put(self->state, self->bridges.queues, frame, &published.pruned);
        if (type != NULL)
            PyErr_Restore(type, value, traceback);
    }
    fw_frame_unref(frame);
    fork_warn(self->state, &self->bridges);
    if (failed || (published.pruned != 0 && publish_log_pruned(op, published.pruned, was_ready) < 0))
        return NULL;
    Py_RETURN_NONE;
}

const char publish_register_event_doc[] =
    PyDoc_STR("register_event($self, /, name)\n"
              "--\n\n"
              "Declare an allowed event type. Idempotent.\n\n"
              "Raises TypeError if name is not a str, ValueError if it contains CR, LF or NUL.");

const char publish_broadcast_doc[] = PyDoc_STR(
    "broadcast($self, /, event, data)\n"
    "--\n\n"
    "Send an event to all connected clients.\n\n"
    "data is a str, sent as it is with one `data:` line for each of its lines (WHATWG HTML, 9.2.6), or anything that\n"
    "msgspec encodes as JSON. May be called from any thread, from signal handlers and destructors.\n"
    "Returns at once on a thread that runs an event loop; on others it may wait, at most 20 ms, for clients of a loop\n"
    "that had no turn.\n"
    "Clients that have buffer_size events waiting already are pruned: they get those, then their stream ends.\n\n"
    "Raises ValueError if event is not registered (strict mode) or contains CR, LF or NUL, UnicodeEncodeError for a\n"
    "lone surrogate, TypeError for data of a wrong type; with a backplane BackplaneFull where backplane_buffer has no\n"
    "room, and RuntimeError once the backplane is closed or the interpreter ends, or where no thread can start. Then\n"
    "nothing was sent to anybody.");

const char publish_format_sse_doc[] =
    PyDoc_STR("_format_sse($self, /, event, data)\n"
              "--\n\n"
              "Return the event as text/event-stream text (WHATWG HTML, 9.2.5), as broadcast() sends it.");
