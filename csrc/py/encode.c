#include "py/encode.h"

#include "core/status.h"

#include <string.h>

#define RETRY_MAX 2147483647LL /* milliseconds; what every browser can hold */

PyObject *encode_name(PyObject *name, const char *what)
{
    if (PyUnicode_CheckExact(name))
        return Py_NewRef(name);
    if (PyUnicode_Check(name))
        return PyUnicode_FromObject(name); /* an exact copy of its characters */
    return PyErr_Format(PyExc_TypeError, "%s must be a str, not %.100s", what, Py_TYPE(name)->tp_name);
}

static bool is_ascii(const char *at, size_t size)
{
    uint64_t word, high = 0;
    for (; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(&word, at, sizeof word);
        high |= word;
    }
    for (; size != 0; at++, size--)
        high |= (unsigned char)*at;
    return (high & 0x8080808080808080u) == 0;
}

/* Takes over the reference to `bytes`. */
static int hold_bytes(Field *field, PyObject *bytes)
{
    if (bytes == NULL)
        return -1;
    field->owner = bytes;
    field->text = (struct fw_text){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)};
    return 0;
}

int encode_text(PyObject *text, Field *field)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        field->owner = Py_NewRef(text);
        field->text = (struct fw_text){(const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text)};
        return 0;
    }
    /* Not PyUnicode_AsUTF8: that would keep a second copy inside the caller's string. */
    return hold_bytes(field, PyUnicode_AsUTF8String(text));
}

int encode_data(fw_state *state, PyObject *data, Field *field)
{
    if (PyUnicode_Check(data))
        return encode_text(data, field);
    if (PyBytes_Check(data) || PyByteArray_Check(data) || PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError,
                     "data must be a str or a value that msgspec encodes as JSON, not %.100s; decode it first",
                     Py_TYPE(data)->tp_name);
        return -1;
    }
    PyObject *json = PyObject_CallOneArg(state->json_encode, data);
    if (json != NULL && !PyBytes_CheckExact(json)) {
        PyErr_Format(PyExc_TypeError, "msgspec.json.encode returned %.100s", Py_TYPE(json)->tp_name);
        Py_DECREF(json);
        return -1;
    }
    if (hold_bytes(field, json) < 0)
        return -1;
    if (is_ascii(field->text.at, field->text.size))
        return 0;
    /* msgspec.Raw may bring any bytes; what is not UTF-8 must not reach a client. */
    PyObject *valid = PyUnicode_DecodeUTF8(field->text.at, (Py_ssize_t)field->text.size, NULL);
    if (valid == NULL)
        field_clear(field);
    Py_XDECREF(valid);
    return valid != NULL ? 0 : -1;
}

void field_clear(Field *field)
{
    Py_CLEAR(field->owner);
    field->text = (struct fw_text){NULL, 0};
}

PyObject *encode_wire(const struct fw_event *event)
{
    size_t size = 0;
    int status = fw_wire_measure(event, &size);
    if (status == FW_OK && size > FW_FRAME_MAX)
        status = FW_ESIZE;
    if (status != FW_OK)
        return fw_raise(status);
    if (is_ascii(event->event.at, event->event.size) && is_ascii(event->data.at, event->data.size) &&
        is_ascii(event->id.at, event->id.size) && is_ascii(event->comment.at, event->comment.size)) {
        PyObject *text = PyUnicode_New((Py_ssize_t)size, 127);
        if (text != NULL)
            fw_wire_write(event, (char *)PyUnicode_1BYTE_DATA(text));
        return text;
    }
    char *wire = PyMem_Malloc(size);
    if (wire == NULL)
        return PyErr_NoMemory();
    fw_wire_write(event, wire);
    PyObject *text = PyUnicode_DecodeUTF8(wire, (Py_ssize_t)size, NULL);
    PyMem_Free(wire);
    return text;
}

PyObject *encode_frame_text(const struct fw_frame *frame)
{
    struct fw_text text = fw_frame_text(frame);
    return PyUnicode_DecodeUTF8(text.at, (Py_ssize_t)text.size, NULL);
}

struct fw_frame *encode_frame(fw_state *state, PyObject *name, PyObject *data, size_t id_size)
{
    Field event = {NULL, {NULL, 0}}, payload = {NULL, {NULL, 0}};
    struct fw_frame *frame = NULL;
    if (encode_text(name, &event) < 0 || encode_data(state, data, &payload) < 0)
        goto done;
    struct fw_event fields = {.event = event.text, .data = payload.text, .retry = FW_NO_RETRY};
    int status = fw_frame_format(&fields, id_size, &frame);
    if (status != FW_OK)
        fw_raise(status);
done:
    field_clear(&event);
    field_clear(&payload);
    return frame;
}

struct fw_frame *encode_raw_frame(PyObject *text, size_t id_size)
{
    Field field = {NULL, {NULL, 0}};
    struct fw_frame *frame = NULL;
    if (encode_text(text, &field) < 0)
        return NULL;
    int status = fw_frame_wrap(field.text, id_size, &frame);
    if (status != FW_OK)
        fw_raise(status);
    field_clear(&field);
    return frame;
}

/* Returns 0 with FW_NO_RETRY or the milliseconds, or -1 with an exception. */
static int encode_retry(PyObject *retry, int64_t *milliseconds)
{
    *milliseconds = FW_NO_RETRY;
    if (retry == Py_None)
        return 0;
    if (!PyLong_Check(retry) || PyBool_Check(retry)) {
        PyErr_Format(PyExc_TypeError, "retry must be an int, not %.100s", Py_TYPE(retry)->tp_name);
        return -1;
    }
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(retry, &overflow);
    if (overflow != 0 || value < 0 || value > RETRY_MAX) {
        PyErr_Format(PyExc_ValueError, "retry must be between 0 and %lld milliseconds", RETRY_MAX);
        return -1;
    }
    *milliseconds = value;
    return 0;
}

static int encode_optional(PyObject *text, const char *what, Field *field)
{
    if (text == Py_None)
        return 0;
    PyObject *exact = encode_name(text, what);
    int result = exact != NULL ? encode_text(exact, field) : -1;
    Py_XDECREF(exact);
    return result;
}

const char encode_wire_doc[] =
    PyDoc_STR("wire($module, /, event=None, data=None, *, id=None, retry=None, comment=None)\n"
              "--\n\n"
              "Return the text/event-stream form (WHATWG HTML, 9.2.5) of the fields that are not None, as a str.\n\n"
              "data belongs to event: without one it is not looked at, with one None is JSON's null. retry is an\n"
              "int in milliseconds. Raises what broadcast() raises, and ValueError for CR, LF or NUL in id.");

PyObject *encode_wire_call(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"event", "data", "id", "retry", "comment", NULL};
    PyObject *event = Py_None, *data = Py_None, *id = Py_None, *retry = Py_None, *comment = Py_None, *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO$OOO:wire", names, &event, &data, &id, &retry, &comment))
        return NULL;
    Field event_field = {NULL, {NULL, 0}}, data_field = event_field, id_field = event_field,
          comment_field = event_field;
    int64_t milliseconds;
    if (encode_optional(event, "event", &event_field) == 0 &&
        (event == Py_None || encode_data(PyModule_GetState(module), data, &data_field) == 0) &&
        encode_optional(id, "id", &id_field) == 0 && encode_retry(retry, &milliseconds) == 0 &&
        encode_optional(comment, "comment", &comment_field) == 0)
        result = encode_wire(&(struct fw_event){.event = event_field.text,
                                                .data = data_field.text,
                                                .id = id_field.text,
                                                .comment = comment_field.text,
                                                .retry = milliseconds});
    field_clear(&event_field);
    field_clear(&data_field);
    field_clear(&id_field);
    field_clear(&comment_field);
    return result;
}
