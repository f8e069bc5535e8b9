/* Chunk: a `str` that has its UTF-8 bytes ready.
 *
 * Frameworks promise `str` chunks and call chunk.encode() once for each client; ours returns the same bytes object to
 * all of them. */
#ifndef FW_PY_CHUNK_H
#define FW_PY_CHUNK_H

#include "py/state.h" /* Python.h comes before everything else */

#include "core/frame.h"

extern PyType_Spec chunk_spec;

/* Returns a new Chunk around `bytes` (valid UTF-8; a reference is taken), or NULL with an exception. */
PyObject *chunk_new(fw_state *state, PyObject *bytes);

/* Returns a new Chunk of the texts of `count` frames, or NULL with MemoryError. */
PyObject *chunk_join(fw_state *state, struct fw_frame *const *frames, size_t count);

#endif
