#include "py/options.h"

#include <math.h>

#define RETRY_LOWEST 0.1      /* seconds */
#define RETRY_HIGHEST 2147483 /* seconds; 31 bits of milliseconds */

int options_buffer_size(PyObject *size, Py_ssize_t *events)
{
    int overflow = 0;
    if (!PyLong_Check(size)) {
        PyErr_Format(PyExc_TypeError, "buffer_size must be an int, not %.100s", Py_TYPE(size)->tp_name);
        return -1;
    }
    long long value = PyLong_AsLongLongAndOverflow(size, &overflow);
    *events = overflow > 0 ? PY_SSIZE_T_MAX : overflow < 0 ? 0 : (Py_ssize_t)value; /* more than can ever wait */
    return 0;
}

int options_size(PyObject *number, const char *what, uint64_t lowest, uint64_t *size)
{
    *size = 0;
    if (number == Py_None && lowest != 0)
        return 0;
    if (!PyLong_Check(number) || PyBool_Check(number)) {
        PyErr_Format(PyExc_TypeError,
                     lowest != 0 ? "%s must be an int or None, not %.100s" : "%s must be an int, not %.100s", what,
                     Py_TYPE(number)->tp_name);
        return -1;
    }
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    *size = overflow > 0 ? (uint64_t)INT64_MAX : (uint64_t)value; /* more than there is memory */
    if (overflow >= 0 && (overflow > 0 || value >= (long long)lowest))
        return 0;
    PyErr_Format(PyExc_ValueError, lowest == 0 ? "%s must not be negative" : "%s must be None or at least 1", what);
    return -1;
}

/* Reads a number of seconds. Returns 0, or -1 with TypeError. */
static int to_seconds(PyObject *number, const char *must, double *seconds)
{
    if (PyUnicode_Check(number) || PyBool_Check(number) || !PyNumber_Check(number) || PyComplex_Check(number)) {
        PyErr_Format(PyExc_TypeError, "%s, not %.100s", must, Py_TYPE(number)->tp_name);
        return -1;
    }
    *seconds = PyFloat_AsDouble(number);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear(); /* an int beyond every float */
        *seconds = INFINITY;
    }
    return 0;
}

int options_interval(PyObject *number, double *interval)
{
    *interval = 0;
    if (number == Py_None)
        return 0;
    if (to_seconds(number, "heartbeat_interval must be a number of seconds or None", interval) < 0)
        return -1;
    if (isfinite(*interval) && *interval > 0)
        return 0;
    PyErr_SetString(PyExc_ValueError, "heartbeat_interval must be None or a finite number of seconds above 0");
    return -1;
}

int options_retry(PyObject *retry)
{
    static const char must[] = "retry must be a number of seconds, a pair (low, high) of them, or None";
    double low, high;
    if (retry == Py_None)
        return 0;
    if (PyTuple_Check(retry)) {
        if (PyTuple_GET_SIZE(retry) != 2) {
            PyErr_SetString(PyExc_ValueError, must);
            return -1;
        }
        if (to_seconds(PyTuple_GET_ITEM(retry, 0), must, &low) < 0 ||
            to_seconds(PyTuple_GET_ITEM(retry, 1), must, &high) < 0)
            return -1;
    } else {
        if (to_seconds(retry, must, &low) < 0)
            return -1;
        high = low;
    }
    if (RETRY_LOWEST <= low && low <= high && high <= RETRY_HIGHEST) /* false for NaN */
        return 0;
    PyErr_Format(PyExc_ValueError, "retry must be between 0.1 and %d seconds, and low not above high", RETRY_HIGHEST);
    return -1;
}
