/* Delivering: what was read from a backplane's stream goes to the log and to those who wait. Methods of Broadcaster, and
 * their docstrings. */
#ifndef FW_PY_DELIVER_H
#define FW_PY_DELIVER_H

#include "py/state.h"

PyObject *deliver_attach_outbox(PyObject *op, PyObject *outbox);
PyObject *deliver_entries(PyObject *op, PyObject *entries);
PyObject *deliver_rebase(PyObject *op, PyObject *args);

extern const char deliver_attach_outbox_doc[], deliver_entries_doc[], deliver_rebase_doc[];

#endif
