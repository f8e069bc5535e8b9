#include "py/queues.h"

#include "py/encode.h"

/* Removes the very object `queue`, if it is still there. Returns 1, 0, or -1 with an exception. */
static int remove_queue(PyObject *queues, PyObject *queue)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(queues); i++)
        if (PyList_GET_ITEM(queues, i) == queue)
            return PyList_SetSlice(queues, i, i + 1, NULL) < 0 ? -1 : 1;
    return 0;
}

int queues_put(fw_state *state, PyObject *queues, const struct fw_frame *frame, uint64_t *pruned)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyObject *text = encode_frame_text(frame);
    PyObject *snapshot = text != NULL ? PyList_AsTuple(queues) : NULL;
    if (snapshot == NULL) {
        Py_XDECREF(text);
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(snapshot); i++) {
        PyObject *stack[2] = {PyTuple_GET_ITEM(snapshot, i), text};
        PyObject *done = PyObject_VectorcallMethod(state->name_put_nowait, stack, 2, NULL);
        if (done == NULL && PyErr_ExceptionMatches(state->queue_full)) {
            PyErr_Clear();
            if (remove_queue(queues, stack[0]) > 0)
                ++*pruned;
        }
        Py_XDECREF(done);
        if (PyErr_Occurred()) {
            if (type == NULL)
                PyErr_Fetch(&type, &value, &traceback);
            else
                PyErr_Clear();
        }
    }
    Py_DECREF(snapshot);
    Py_DECREF(text);
    if (type == NULL)
        return 0;
    PyErr_Restore(type, value, traceback);
    return -1;
}
