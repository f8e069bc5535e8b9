/* Publishing: from (event, data) to the log and to those who wait. Methods of Broadcaster, and their docstrings. */
#ifndef FW_PY_PUBLISH_H
#define FW_PY_PUBLISH_H

#include "py/state.h"

PyObject *publish_register_event(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *publish_format_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *publish_broadcast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

extern const char publish_register_event_doc[], publish_format_sse_doc[], publish_broadcast_doc[];

#endif
