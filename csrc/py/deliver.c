#include "py/deliver.h"

#include "core/status.h"
#include "py/broadcaster_state.h"
#include "py/encode.h"
#include "py/entry.h"
#include "py/patience.h"
#include "py/publish.h"
#include "py/wake.h"

/* Returns 0, or -1 with RuntimeError. */
static int check_told(const Broadcaster *self)
{
    if (self->position_digits != 0)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "this Broadcaster numbers its events itself: it has no position_digits");
    return -1;
}

PyObject *deliver_attach_outbox(PyObject *op, PyObject *outbox)
{
    Broadcaster *self = (Broadcaster *)op;
    if (check_told(self) < 0)
        return NULL;
    if (!Py_IS_TYPE(outbox, self->state->outbox_type))
        return PyErr_Format(PyExc_TypeError, "not an Outbox, but %.100s", Py_TYPE(outbox)->tp_name);
    int ours = publish_formats_itself(op);
    if (ours == 0)
        PyErr_Format(PyExc_TypeError,
                     "%s has its own _format_sse(), and with a backplane each process formats what others have sent",
                     Py_TYPE(op)->tp_name);
    if (ours <= 0)
        return NULL;
    Py_XSETREF(self->outbox, Py_NewRef(outbox));
    Py_RETURN_NONE;
}

/* What has become of a batch. */
typedef struct {
    unsigned long long refused;
    uint64_t pruned;
    bool was_ready; /* one of those pruned, to read */
} Outcome;

static void note(Broadcaster *self, const struct fw_published *published, Outcome *outcome)
{
    outcome->pruned += published->pruned;
    if (published->pruned != 0 && bridges_pruned_ready(&self->bridges))
        outcome->was_ready = true;
}

/* Wakes those who wait, whatever was raised before. Returns 0, or -1 with the first exception. */
static int finish(Broadcaster *self, const Outcome *outcome, bool failed)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (bridges_wake(&self->bridges) < 0 ||
        (outcome->pruned != 0 && publish_log_pruned((PyObject *)self, outcome->pruned, outcome->was_ready) < 0)) {
        if (failed)
            PyErr_Clear();
        else
            PyErr_Fetch(&type, &value, &traceback);
        failed = true;
    }
    PyErr_Restore(type, value, traceback);
    return failed ? -1 : 0;
}

/* Returns 0, or -1 with an exception. */
static int deliver_one(Broadcaster *self, PyObject *entry, Outcome *outcome)
{
    struct fw_position position;
    struct fw_frame *frame = NULL;
    int made = entry_frame(entry, self->position_digits, &position, &frame);
    if (made <= 0) {
        outcome->refused += made == 0;
        return made;
    }
    /* A batch is longer than a buffer may be. So those who wait are told of its beginning, and have a turn. */
    int failed = 0;
    if (bridges_need_turn(&self->bridges)) {
        failed = bridges_wake(&self->bridges);
        bridges_await_turn(&self->bridges);
    }
    struct fw_published published = {0};
    int status = failed < 0 ? FW_OK : fw_hub_deliver(self->bridges.hub, frame, position, &published);
    fw_frame_unref(frame);
    note(self, &published, outcome);
    if (status == FW_ENOMEM)
        fw_raise(status);
    return status == FW_ENOMEM ? -1 : failed;
}

PyObject *deliver_entries(PyObject *op, PyObject *entries)
{
    Broadcaster *self = (Broadcaster *)op;
    Outcome outcome = {0};
    if (check_told(self) < 0)
        return NULL;
    if (!PyList_Check(entries))
        return PyErr_Format(PyExc_TypeError, "entries must be a list, not %.100s", Py_TYPE(entries)->tp_name);
    int failed = 0;
    for (Py_ssize_t i = 0; failed == 0 && i < PyList_GET_SIZE(entries); i++) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(entries, i));
        failed = deliver_one(self, entry, &outcome);
        Py_DECREF(entry);
    }
    return finish(self, &outcome, failed < 0) == 0 ? PyLong_FromUnsignedLongLong(outcome.refused) : NULL;
}

/* The block that tells of the new epoch: the event `gap`, a pair, or with None nothing but the id. */
static struct fw_frame *rebase_frame(Broadcaster *self, PyObject *gap)
{
    size_t id_size = FW_ID_SIZE_OF(self->position_digits);
    struct fw_frame *frame = NULL;
    PyObject *event, *data;
    if (gap == Py_None) {
        int status = fw_frame_format(&(struct fw_event){.retry = FW_NO_RETRY}, id_size, &frame);
        return status == FW_OK ? frame : fw_raise(status);
    }
    if (!PyTuple_Check(gap))
        return (PyErr_SetString(PyExc_TypeError, "gap must be a pair (event, data), or None"), NULL);
    if (!PyArg_ParseTuple(gap, "UU;gap must be a pair (event, data), or None", &event, &data))
        return NULL;
    PyObject *name = encode_name(event, "gap");
    if (name != NULL)
        frame = encode_frame(self->state, name, data, id_size);
    Py_XDECREF(name);
    return frame;
}

PyObject *deliver_rebase(PyObject *op, PyObject *args)
{
    Broadcaster *self = (Broadcaster *)op;
    const char *epoch;
    Py_ssize_t epoch_size;
    PyObject *text, *gap = Py_None;
    struct fw_position position;
    struct fw_published published;
    Outcome outcome = {0};
    if (check_told(self) < 0 || !PyArg_ParseTuple(args, "s#O|O:_rebase", &epoch, &epoch_size, &text, &gap) ||
        entry_position(text, self->position_digits, &position) < 0 || entry_check_epoch(epoch, epoch_size) < 0)
        return NULL;
    struct fw_frame *frame = rebase_frame(self, gap);
    if (frame == NULL)
        return NULL;
    int status = fw_hub_rebase(self->bridges.hub, frame, epoch, position, &published);
    fw_frame_unref(frame);
    if (status != FW_OK)
        return fw_raise(status);
    note(self, &published, &outcome);
    if (finish(self, &outcome, false) < 0)
        return NULL;
    Py_RETURN_NONE;
}

const char deliver_attach_outbox_doc[] =
    PyDoc_STR("_attach_outbox($self, outbox, /)\n"
              "--\n\n"
              "Let broadcast() put its events there from now on. Raises TypeError if _format_sse() is overridden.");

const char deliver_entries_doc[] = PyDoc_STR(
    "_deliver($self, entries, /)\n"
    "--\n\n"
    "Publish a list of (position, event, data) with one wake-up for all.\n\n"
    "Return how many were refused because they may not stand on the wire.\n"
    "Those whose positions are not above that of the last are passed over: a batch may be tried again. From a thread\n"
    "that has no clients: it may wait, at most 20 ms an event, for those of a loop that had no turn.");

const char deliver_rebase_doc[] = PyDoc_STR("_rebase($self, epoch, position, gap=None, /)\n"
                                            "--\n\n"
                                            "From here on positions are those of `epoch`, behind `position`, and what "
                                            "was history is none any more. All clients\n"
                                            "get the event `gap`, a pair (event, data), with that id, or nothing but "
                                            "the id. The first call is the first contact.");
