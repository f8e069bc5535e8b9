/* Publishing: from (event, data) to the log and to those who wait. Methods of Broadcaster, and their docstrings. */
#ifndef FW_PY_PUBLISH_H
#define FW_PY_PUBLISH_H

#include "py/state.h" /* Python.h comes before everything else */

#include <stdbool.h>
#include <stdint.h>

PyObject *publish_register_event(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *publish_format_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *publish_broadcast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Whether _format_sse is still ours: neither a subclass nor the instance has replaced it. 1, 0, or -1 with an exception. */
int publish_formats_itself(PyObject *op);

/* Logs that `pruned` clients had too much waiting, some of whom read as soon as their loop lets them if
 * `was_ready`. Returns 0, or -1 with an exception. */
int publish_log_pruned(PyObject *op, uint64_t pruned, bool was_ready);

extern const char publish_register_event_doc[], publish_format_sse_doc[], publish_broadcast_doc[];

#endif
