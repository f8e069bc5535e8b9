/* The state of one instance of the module, and the one door from status codes to exceptions.
 *
 * All of csrc/py runs with the GIL held, which is also the lock of every field that no comment says otherwise of.
 */
#ifndef FW_PY_STATE_H
#define FW_PY_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct {
    PyTypeObject *chunk_type;
    PyTypeObject *waiter_type;
    PyTypeObject *bridge_type;
    PyTypeObject *subscription_type;
    PyTypeObject *outbox_type;
    PyTypeObject *broadcaster_type;
    PyTypeObject *handoff_type;
    PyTypeObject *sender_type;
    PyTypeObject *wrapper_type;

    PyObject *backplane_full;   /* a RuntimeError of our own */
    PyObject *json_encode;      /* msgspec.json.encode */
    PyObject *get_running_loop; /* asyncio.get_running_loop */
    PyObject *queue_full;       /* asyncio.QueueFull */
    PyObject *invalid_state;    /* asyncio.InvalidStateError */
    PyObject *cancelled_error;  /* asyncio.CancelledError */
    PyObject *logger;           /* logging.getLogger("fastware_sse") */
    PyObject *str_encode;       /* str.encode */

    PyObject *name_add_reader; /* interned names and words, and ("context",) */
    PyObject *name_broken;
    PyObject *name_call_later;
    PyObject *name_call_soon;
    PyObject *name_call_soon_threadsafe;
    PyObject *name_cancel;
    PyObject *name_ended;
    PyObject *name_extensions;
    PyObject *name_fastware_sse;
    PyObject *name_format_sse;
    PyObject *name_is_closed;
    PyObject *name_put_nowait;
    PyObject *name_released;
    PyObject *name_remove_reader;
    PyObject *name_send;
    PyObject *name_stuck;
    PyObject *names_context;

    struct BridgeList *lists; /* of all Broadcasters (fork.h) */
} fw_state;

extern struct PyModuleDef fw_module_def;

/* Returns the state behind `type`, which is one of ours or a subclass; never NULL while an instance lives. */
fw_state *fw_state_of_type(PyTypeObject *type);

/* Sets the exception that belongs to a negative status of the core, and returns NULL. */
void *fw_raise(int status);

/* The monotonic clock, in seconds. */
double fw_now(void);

#endif
