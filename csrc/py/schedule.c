#include "py/schedule.h"

PyObject *running_loop(fw_state *state)
{
    if (state->get_running_loop == NULL) /* the interpreter is ending */
        return NULL;
    PyObject *running = PyObject_CallNoArgs(state->get_running_loop);
    if (running == NULL)
        PyErr_Clear();
    return running;
}

bool bridge_runs_here(Bridge *bridge)
{
    PyObject *running = running_loop(bridge->state);
    Py_XDECREF(running);
    return running == bridge->loop;
}

PyObject *bridge_schedule(Bridge *bridge, PyObject *method, PyObject *delay, PyMethodDef *callback)
{
    PyObject *bound = PyCFunction_New(callback, (PyObject *)bridge);
    if (bound == NULL)
        return NULL;
    PyObject *stack[4] = {bridge->loop, delay, bound, bridge->context};
    size_t count = 3;
    if (delay == NULL) {
        stack[1] = bound;
        stack[2] = bridge->context;
        count = 2;
    }
    PyObject *handle = PyObject_VectorcallMethod(method, stack, count, bridge->state->names_context);
    Py_DECREF(bound);
    return handle;
}

bool bridge_is_closed(Bridge *bridge)
{
    PyObject *closed = PyObject_CallMethodNoArgs(bridge->loop, bridge->state->name_is_closed);
    bool answer = closed == Py_True;
    if (closed == NULL)
        PyErr_Clear();
    Py_XDECREF(closed);
    return answer;
}

bool bridge_soon(Bridge *bridge, PyMethodDef *callback)
{
    PyObject *handle = bridge_schedule(bridge, bridge->state->name_call_soon, NULL, callback);
    if (handle == NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        bool closed = bridge_is_closed(bridge);
        PyErr_Restore(type, value, traceback);
        if (closed)
            PyErr_Clear();
        else
            PyErr_WriteUnraisable((PyObject *)bridge);
    }
    Py_XDECREF(handle);
    return handle != NULL;
}
