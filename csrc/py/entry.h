/* Entries of a backplane's stream, (position, event, data), as frames and as chunks: what anybody may have written there,
 * so all of it is checked for the wire. */
#ifndef FW_PY_ENTRY_H
#define FW_PY_ENTRY_H

#include "py/state.h" /* Python.h comes before everything else */

#include "core/hub.h"

#include <stdbool.h>

/* Reads `text`, a str of `digits` digits. Returns 0, or -1 with TypeError or ValueError. */
int entry_position(PyObject *text, size_t digits, struct fw_position *position);

/* Returns 0, or -1 with ValueError where `epoch` is none. */
int entry_check_epoch(const char *epoch, Py_ssize_t size);

/* Formats `entry`, a tuple (position: str, event: str, data: bytes), into a new frame with room for an id. Returns 1; 0
 * where the event may not stand on the wire (CR, LF or NUL in its name, text that is not UTF-8, or too much of it); or -1
 * with TypeError, ValueError or MemoryError. */
int entry_frame(PyObject *entry, size_t digits, struct fw_position *position, struct fw_frame **frame);

/* What the ids of replayed entries are made of, and how far they go. */
struct entry_ids {
    const char *epoch; /* FW_EPOCH_DIGITS */
    size_t digits;
    const struct fw_position *upto; /* or NULL: all */
};

/* Returns `entries` (a list) as a list of Chunks, one event each or, to `coalesce`, as many as have 64 KiB; without those
 * that may not stand on the wire, or lie behind `upto`. NULL with an exception. Adds their number and text to *events and
 * *bytes. The list may not change meanwhile: nothing here runs Python code. */
PyObject *entry_chunks(fw_state *state, PyObject *entries, const struct entry_ids *ids, bool coalesce, uint64_t *events,
                       uint64_t *bytes);

#endif
