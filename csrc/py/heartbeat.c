#include "py/heartbeat.h"

#include "py/chunk.h"
#include "py/parked.h"
#include "py/schedule.h"

#define TIMER_MAX 3600.0 /* seconds; loops refuse or clamp delays that are far longer */

static PyObject *bridge_beat(PyObject *self, PyObject *ignored);

static PyMethodDef beat_def = {"heartbeat", bridge_beat, METH_NOARGS, NULL};

int heartbeat_arm(Bridge *bridge)
{
    if (bridge->timer != NULL || bridge->parked.first == NULL || bridge->interval == 0)
        return 0;
    double seconds = bridge->parked.first->deadline - fw_now();
    PyObject *delay = PyFloat_FromDouble(seconds < 0 ? 0 : seconds > TIMER_MAX ? TIMER_MAX : seconds);
    if (delay == NULL)
        return -1;
    PyObject *timer = bridge_schedule(bridge, bridge->state->name_call_later, delay, &beat_def);
    Py_DECREF(delay);
    if (timer == NULL)
        return -1;
    Py_XSETREF(bridge->timer, timer);
    return 0;
}

static PyObject *bridge_beat(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Bridge *bridge = (Bridge *)self;
    Py_CLEAR(bridge->timer);
    double due = fw_now() + TIMER_SLACK;
    bool failed = false;
    Client *client;
    for (int woken = 0;
         woken < PARKED_SLICE && !failed && (client = bridge->parked.first) != NULL && client->deadline <= due;
         woken++) {
        client->beat = true;
        failed = parked_step(client) < 0;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (heartbeat_arm(bridge) < 0) /* at once, if the slice was full */
        PyErr_WriteUnraisable(self);
    if (!failed)
        Py_RETURN_NONE;
    PyErr_Restore(type, value, traceback);
    return NULL;
}

void heartbeat_cancel(Bridge *bridge)
{
    PyObject *timer = bridge->timer;
    if (timer == NULL || !bridge_runs_here(bridge))
        return;
    bridge->timer = NULL;
    PyObject *result = PyObject_CallMethodNoArgs(timer, bridge->state->name_cancel);
    if (result == NULL)
        PyErr_WriteUnraisable(timer);
    Py_XDECREF(result);
    Py_DECREF(timer);
}

PyObject *heartbeat_chunk(Bridge *bridge)
{
    if (bridge->heartbeat == NULL) {
        PyObject *bytes = PyBytes_FromString(": heartbeat\n\n");
        PyObject *chunk = bytes != NULL ? chunk_new(bridge->state, bytes) : NULL;
        Py_XDECREF(bytes);
        Py_XSETREF(bridge->heartbeat, chunk);
    }
    return Py_XNewRef(bridge->heartbeat);
}
