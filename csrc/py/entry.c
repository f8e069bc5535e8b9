#include "py/entry.h"

#include "core/status.h"
#include "py/chunk.h"
#include "py/encode.h"

int entry_position(PyObject *text, size_t digits, struct fw_position *position)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "a position must be a str, not %.100s", Py_TYPE(text)->tp_name);
        return -1;
    }
    Py_ssize_t size = 0;
    const char *at = PyUnicode_IS_ASCII(text) ? PyUnicode_AsUTF8AndSize(text, &size) : "";
    if (at != NULL && (size_t)size == digits && fw_position_parse(at, digits, position) == FW_OK)
        return 0;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "a position must have %zu digits of a-z and 2-7, which %R is not", digits, text);
    return -1;
}

int entry_check_epoch(const char *epoch, Py_ssize_t size)
{
    if (fw_id_is_epoch((struct fw_text){epoch, (size_t)size}))
        return 0;
    PyErr_Format(PyExc_ValueError, "an epoch must have %d digits of a-z and 2-7", FW_EPOCH_DIGITS);
    return -1;
}

/* Makes `field` the text of `data`. Returns 1, 0 if it is not UTF-8, or -1 with MemoryError. */
static int data_text(PyObject *data, Field *field)
{
    PyObject *valid = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), NULL);
    if (valid == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(valid);
    field->owner = Py_NewRef(data);
    field->text = (struct fw_text){PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data)};
    return 1;
}

/* The same for the name, where what it cannot be is a lone surrogate. */
static int name_text(PyObject *name, Field *field)
{
    PyObject *exact = encode_name(name, "event");
    int made = exact != NULL && encode_text(exact, field) == 0 ? 1 : -1;
    if (made < 0 && exact != NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        made = 0;
    }
    Py_XDECREF(exact);
    return made;
}

int entry_frame(PyObject *entry, size_t digits, struct fw_position *position, struct fw_frame **frame)
{
    if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 3 || !PyBytes_Check(PyTuple_GET_ITEM(entry, 2))) {
        PyErr_SetString(PyExc_TypeError, "an entry must be (position, event, data): a str, a str and bytes");
        return -1;
    }
    if (entry_position(PyTuple_GET_ITEM(entry, 0), digits, position) < 0)
        return -1;
    Field event = {NULL, {NULL, 0}}, data = event;
    int made = name_text(PyTuple_GET_ITEM(entry, 1), &event);
    if (made > 0)
        made = data_text(PyTuple_GET_ITEM(entry, 2), &data);
    if (made > 0) {
        struct fw_event fields = {.event = event.text, .data = data.text, .retry = FW_NO_RETRY};
        int status = fw_frame_format(&fields, FW_ID_SIZE_OF(digits), frame);
        made = status == FW_OK ? 1 : status == FW_ENOMEM ? -1 : 0;
        if (made < 0)
            fw_raise(status);
    }
    field_clear(&event);
    field_clear(&data);
    return made;
}

/* Makes a frame, its id in place, of each entry that is to be replayed. Returns 0, or -1 with an exception;
 * the caller drops those that are in `frames` either way, *count of them. */
static int make_frames(PyObject *entries, const struct entry_ids *ids, struct fw_frame **frames, Py_ssize_t *count)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(entries); i++) {
        struct fw_frame *frame = NULL;
        struct fw_position position;
        int made = entry_frame(PyList_GET_ITEM(entries, i), ids->digits, &position, &frame);
        if (made < 0)
            return -1;
        if (made == 0)
            continue;
        frames[(*count)++] = frame;
        fw_id_write(frame->bytes + FW_FRAME_HEAD + frame->id_at, ids->epoch, position, ids->digits);
        if (ids->upto != NULL && fw_position_is_above(position, *ids->upto))
            fw_frame_unref(frames[--*count]);
    }
    return 0;
}

/* Returns how many of the frames, one at least, go into a chunk. */
static Py_ssize_t chunk_stop(struct fw_frame *const *frames, Py_ssize_t count, bool coalesce, size_t *size)
{
    Py_ssize_t stop = 1;
    *size = frames[0]->size;
    while (coalesce && stop != count && *size + frames[stop]->size <= FW_BATCH_BYTES)
        *size += frames[stop++]->size;
    return stop;
}

PyObject *entry_chunks(fw_state *state, PyObject *entries, const struct entry_ids *ids, bool coalesce, uint64_t *events,
                       uint64_t *bytes)
{
    Py_ssize_t count = 0;
    struct fw_frame **frames = PyMem_New(struct fw_frame *, (size_t)PyList_GET_SIZE(entries));
    if (frames == NULL)
        return PyErr_NoMemory();
    PyObject *chunks = make_frames(entries, ids, frames, &count) == 0 ? PyList_New(0) : NULL;
    for (Py_ssize_t at = 0, stop; chunks != NULL && at < count; at += stop) {
        size_t size;
        stop = chunk_stop(frames + at, count - at, coalesce, &size);
        PyObject *chunk = chunk_join(state, frames + at, (size_t)stop);
        if (chunk == NULL || PyList_Append(chunks, chunk) < 0)
            Py_CLEAR(chunks);
        Py_XDECREF(chunk);
        *events += (uint64_t)stop;
        *bytes += size;
    }
    while (count != 0)
        fw_frame_unref(frames[--count]);
    PyMem_Free(frames);
    return chunks;
}
