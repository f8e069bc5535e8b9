#include "py/state.h"

#include "core/status.h"

#include <time.h>

fw_state *fw_state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &fw_module_def);
    return module != NULL ? PyModule_GetState(module) : NULL;
}

void *fw_raise(int status)
{
    switch (status) {
    case FW_ENOMEM:
        return PyErr_NoMemory();
    case FW_ESIZE:
        PyErr_SetString(PyExc_ValueError, "the event is too large: its wire form must be under 2 GiB");
        return NULL;
    case FW_EEVENT:
        PyErr_SetString(PyExc_ValueError, "event must not contain CR, LF or NUL: it is one line on the wire");
        return NULL;
    case FW_EID:
        PyErr_SetString(PyExc_ValueError, "id must not contain CR, LF or NUL: it is one line on the wire");
        return NULL;
    case FW_ERANDOM:
        PyErr_SetString(PyExc_OSError, "the system gives no random bytes for the ids of events");
        return NULL;
    case FW_ESYSTEM:
        PyErr_SetFromErrno(PyExc_OSError);
        return NULL;
    case FW_EBUSY:
        PyErr_SetString(PyExc_RuntimeError, "__init__() of a Broadcaster that has clients: its limits are fixed");
        return NULL;
    default:
        return PyErr_Format(PyExc_SystemError, "fastware_sse: unexpected status %d", status);
    }
}

double fw_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}
