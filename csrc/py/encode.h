/* From Python values to the fields of an event, and to text. */
#ifndef FW_PY_ENCODE_H
#define FW_PY_ENCODE_H

#include "py/state.h" /* Python.h comes before everything else */

#include "core/frame.h"

#include <stdbool.h>

/* A field of an event and the object that keeps its bytes alive. */
typedef struct {
    PyObject *owner; /* owned reference, or NULL */
    struct fw_text text;
} Field;

/* Returns `name` as an exact str (the value of a (str, Enum) member is what its str part says): a new reference, or
 * NULL with TypeError. `what` names the argument in the message. */
PyObject *encode_name(PyObject *name, const char *what);

/* Makes `field` the UTF-8 form of `text`, a str. Returns 0, or -1 with UnicodeEncodeError for a lone surrogate. */
int encode_text(PyObject *text, Field *field);

/* Makes `field` the payload for `data`: a str as it is, anything else but bytes as msgspec's JSON. Returns 0, or -1 with
 * TypeError for bytes and the like, or with whatever msgspec raises. */
int encode_data(fw_state *state, PyObject *data, Field *field);

void field_clear(Field *field);

/* Returns the wire form of `event` as a new str, or NULL with an exception. */
PyObject *encode_wire(const struct fw_event *event);

/* Returns the text of `frame` as a new str, or NULL with MemoryError. */
PyObject *encode_frame_text(const struct fw_frame *frame);

/* Formats (event, data) into a new frame, with room for an id of `id_size` bytes (0: none): `name` is an exact str.
 * Returns NULL with an exception. */
struct fw_frame *encode_frame(fw_state *state, PyObject *name, PyObject *data, size_t id_size);

/* The same with `text`, a str, as it stands. */
struct fw_frame *encode_raw_frame(PyObject *text, size_t id_size);

/* wire(event=None, data=None, *, id=None, retry=None, comment=None): the module's function and its docstring. */
PyObject *encode_wire_call(PyObject *module, PyObject *args, PyObject *kwargs);
extern const char encode_wire_doc[];

#endif
