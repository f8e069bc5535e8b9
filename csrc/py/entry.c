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

static PyObject *frame_chunk(fw_state *state, const struct fw_frame *frame)
{
    struct fw_text text = fw_frame_text(frame);
    PyObject *bytes = PyBytes_FromStringAndSize(text.at, (Py_ssize_t)text.size);
    PyObject *chunk = bytes != NULL ? chunk_new(state, bytes) : NULL;
    Py_XDECREF(bytes);
    return chunk;
}

PyObject *entry_chunks(fw_state *state, PyObject *entries, const char epoch[FW_EPOCH_DIGITS], size_t digits,
                       const struct fw_position *upto, uint64_t *events, uint64_t *bytes)
{
    PyObject *chunks = PyList_New(0);
    for (Py_ssize_t i = 0; chunks != NULL && i < PyList_GET_SIZE(entries); i++) {
        struct fw_frame *frame = NULL;
        struct fw_position position;
        int made = entry_frame(PyList_GET_ITEM(entries, i), digits, &position, &frame);
        if (made > 0 && (upto == NULL || !fw_position_is_above(position, *upto))) {
            fw_id_write(frame->bytes + FW_FRAME_HEAD + frame->id_at, epoch, position, digits);
            PyObject *chunk = frame_chunk(state, frame);
            made = chunk != NULL ? PyList_Append(chunks, chunk) : -1;
            Py_XDECREF(chunk);
            *events += 1;
            *bytes += frame->size;
        }
        if (made < 0)
            Py_CLEAR(chunks);
        if (frame != NULL)
            fw_frame_unref(frame);
    }
    return chunks;
}
