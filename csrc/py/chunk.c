#include "py/chunk.h"

#include <string.h>

typedef struct {
    PyUnicodeObject text;
    PyObject *bytes;
} Chunk;

static PyObject *make(PyTypeObject *type, PyObject *text, PyObject *bytes)
{
    PyObject *arguments = PyTuple_Pack(1, text);
    if (arguments == NULL)
        return NULL;
    Chunk *chunk = (Chunk *)PyUnicode_Type.tp_new(type, arguments, NULL);
    Py_DECREF(arguments);
    if (chunk != NULL)
        chunk->bytes = Py_NewRef(bytes);
    return (PyObject *)chunk;
}

PyObject *chunk_new(fw_state *state, PyObject *bytes)
{
    PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), NULL);
    if (text == NULL)
        return NULL;
    PyObject *chunk = make(state->chunk_type, text, bytes);
    Py_DECREF(text);
    return chunk;
}

PyObject *chunk_join(fw_state *state, struct fw_frame *const *frames, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += frames[i]->size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(bytes);
    for (size_t i = 0; i < count; i++) {
        struct fw_text text = fw_frame_text(frames[i]);
        memcpy(to, text.at, text.size);
        to += text.size;
    }
    PyObject *chunk = chunk_new(state, bytes);
    Py_DECREF(bytes);
    return chunk;
}

static PyObject *chunk_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", NULL};
    PyObject *text;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U:Chunk", names, &text))
        return NULL;
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    if (bytes == NULL)
        return NULL;
    PyObject *chunk = make(type, text, bytes);
    Py_DECREF(bytes);
    return chunk;
}

static void chunk_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(((Chunk *)self)->bytes);
    PyUnicode_Type.tp_dealloc(self);
    Py_DECREF(type);
}

/* Whether `name` is a spelling of UTF-8 that codecs.lookup() would take for it. */
static int is_utf8(PyObject *name)
{
    Py_ssize_t size = 0;
    const char *at = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    if (at == NULL) {
        PyErr_Clear(); /* str.encode says what is wrong with it */
        return 0;
    }
    char plain[5] = "";
    size_t length = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (at[i] == '-' || at[i] == '_')
            continue;
        if (length == sizeof plain - 1)
            return 0;
        plain[length++] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] + ('a' - 'A') : at[i]);
    }
    return strcmp(plain, "utf8") == 0 || strcmp(plain, "u8") == 0 || strcmp(plain, "utf") == 0;
}

PyDoc_STRVAR(chunk_encode_doc,
             "encode($self, /, encoding='utf-8', errors='strict')\n"
             "--\n\n"
             "Return the chunk as bytes: for any spelling of UTF-8 the same, ready object each time;\n"
             "otherwise what str.encode() returns.");

static PyObject *chunk_encode(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *bytes = ((Chunk *)self)->bytes;
    if (nargs + keywords == 0)
        return Py_NewRef(bytes);
    /* Text that decoded from UTF-8 has nothing for an error handler, so one argument or two make no difference. */
    int names_encoding = nargs > 0 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "encoding") == 0;
    if (names_encoding && nargs + keywords == 1 && is_utf8(args[0]))
        return Py_NewRef(bytes);
    if (nargs == 2 && is_utf8(args[0]) && PyUnicode_Check(args[1]))
        return Py_NewRef(bytes);

    fw_state *state = fw_state_of_type(Py_TYPE(self));
    PyObject *stack[4] = {self};
    if (state == NULL || nargs + keywords > 2)
        return PyErr_Format(PyExc_TypeError, "encode() takes at most 2 arguments (%zd given)", nargs + keywords);
    for (Py_ssize_t i = 0; i < nargs + keywords; i++)
        stack[i + 1] = args[i];
    return PyObject_Vectorcall(state->str_encode, stack, (size_t)nargs + 1, kwnames);
}

static PyMethodDef chunk_methods[] = {
    {"encode", (PyCFunction)(void (*)(void))chunk_encode, METH_FASTCALL | METH_KEYWORDS, chunk_encode_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(chunk_doc, "Chunk(text, /)\n"
                        "--\n\n"
                        "A str whose encode() returns ready UTF-8 bytes, made once and shared by all clients.\n"
                        "Raises UnicodeEncodeError for a lone surrogate.");

static PyType_Slot chunk_slots[] = {
    {Py_tp_doc, (void *)chunk_doc},
    {Py_tp_new, chunk_tp_new},
    {Py_tp_dealloc, chunk_dealloc},
    {Py_tp_methods, chunk_methods},
    {0, NULL},
};

PyType_Spec chunk_spec = {
    .name = "fastware_sse._core.Chunk",
    .basicsize = sizeof(Chunk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = chunk_slots,
};
