/* The values of the constructor's options: each is checked here, and named in the TypeError or ValueError. */
#ifndef FW_PY_OPTIONS_H
#define FW_PY_OPTIONS_H

#include "py/state.h"

/* Stores how many events may wait; 0 or less: no limit. Returns 0, or -1 with TypeError. */
int options_buffer_size(PyObject *size, Py_ssize_t *events);

/* Stores `number`, a count or size named `what` of at least `lowest`: 0, or 1 and then None for none, stored as 0.
 * Returns 0, or -1 with TypeError or ValueError. */
int options_size(PyObject *number, const char *what, uint64_t lowest, uint64_t *size);

/* Stores the seconds between heartbeats, 0 for None. Returns 0, or -1 with TypeError or ValueError. */
int options_interval(PyObject *number, double *interval);

/* Checks `retry`: None, seconds, or a pair of them. Returns 0, or -1 with TypeError or ValueError. */
int options_retry(PyObject *retry);

#endif
