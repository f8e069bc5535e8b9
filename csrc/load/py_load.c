/* The module `fastware_sse._load`: the engine and the parser for Python. All that knows Python of csrc/load.
 *
 * No state, no types. run() lets the GIL go and takes it back for `progress`, about ten times a second and after a
 * signal; so Ctrl-C works, and the loop is not held up.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "core/alloc.h"
#include "core/status.h"
#include "load/engine.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ADDRESSES_MAX 16

/* ---- counts ---- */

/* Adds `value`, of which it takes the reference over, to `dict`. Returns 0, or -1 with an exception. */
static int put(PyObject *dict, const char *name, PyObject *value)
{
    int status = value != NULL ? PyDict_SetItemString(dict, name, value) : -1;
    Py_XDECREF(value);
    return status;
}

static int put_count(PyObject *dict, const char *name, uint64_t count)
{
    return put(dict, name, PyLong_FromUnsignedLongLong(count));
}

/* {"what": count} of the kinds that occurred. */
static PyObject *kinds(const uint64_t *counts, int size, const char *(*name)(int))
{
    PyObject *dict = PyDict_New();
    for (int kind = 0; dict != NULL && kind < size; kind++)
        if (counts[kind] != 0 && put_count(dict, name(kind), counts[kind]) < 0)
            Py_CLEAR(dict);
    return dict;
}

static const char *fault_name(int kind)
{
    return fw_fault_name((enum fw_fault)kind);
}

static const char *failure_name(int kind)
{
    return fw_failure_name((enum fw_failure)kind);
}

static PyObject *counts_of(const struct fw_tally *tally)
{
    const struct fw_histogram *latency = &tally->latency;
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    if (put_count(dict, "tried", tally->tried) == 0 && put_count(dict, "opened", tally->opened) == 0 &&
        put_count(dict, "open", tally->open) == 0 && put_count(dict, "most_open", tally->most_open) == 0 &&
        put_count(dict, "connects", tally->connects) == 0 && put_count(dict, "disconnects", tally->disconnects) == 0 &&
        put_count(dict, "resumes", tally->resumes) == 0 && put_count(dict, "bytes", tally->bytes) == 0 &&
        put_count(dict, "events", tally->events) == 0 && put_count(dict, "numbered", tally->numbered) == 0 &&
        put_count(dict, "lost", tally->disorder.lost) == 0 &&
        put_count(dict, "duplicates", tally->disorder.duplicates) == 0 &&
        put_count(dict, "out_of_order", tally->disorder.late) == 0 &&
        put_count(dict, "event_ns", tally->last_event - tally->first_event) == 0 &&
        put_count(dict, "timed", latency->count) == 0 &&
        put_count(dict, "p50_ns", fw_histogram_quantile(latency, 0.5)) == 0 &&
        put_count(dict, "p90_ns", fw_histogram_quantile(latency, 0.9)) == 0 &&
        put_count(dict, "p99_ns", fw_histogram_quantile(latency, 0.99)) == 0 &&
        put_count(dict, "max_ns", latency->highest) == 0 &&
        put_count(dict, "bad_status", (uint64_t)tally->bad_status) == 0 &&
        put_count(dict, "connect_errno", (uint64_t)tally->connect_error) == 0 &&
        put(dict, "failures", kinds(tally->failures, FW_FAILURES, failure_name)) == 0 &&
        put(dict, "faults", kinds(tally->faults, FW_FAULTS, fault_name)) == 0)
        return dict;
    Py_DECREF(dict);
    return NULL;
}

/* ---- run() ---- */

struct tick {
    const struct fw_tally *tally;
    PyObject *progress;    /* borrowed; NULL for none */
    PyThreadState *thread; /* NULL while the GIL is held */
};

/* Called by the engine. False, with an exception or without: stop. */
static bool on_tick(void *context)
{
    struct tick *tick = context;
    PyEval_RestoreThread(tick->thread);
    bool goes_on = PyErr_CheckSignals() == 0;
    if (goes_on && tick->progress != NULL) {
        PyObject *counts = counts_of(tick->tally);
        PyObject *result = counts != NULL ? PyObject_CallOneArg(tick->progress, counts) : NULL;
        int stop = result != NULL ? PyObject_IsTrue(result) : 1;
        goes_on = stop == 0;
        Py_XDECREF(counts);
        Py_XDECREF(result);
    }
    tick->thread = PyEval_SaveThread();
    return goes_on;
}

/* Reads [(numeric host, port)]. Returns how many, or -1 with an exception. */
static Py_ssize_t to_addresses(PyObject *list, struct sockaddr_storage *addresses, socklen_t *sizes)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (count < 1 || count > ADDRESSES_MAX) {
        PyErr_Format(PyExc_ValueError, "between 1 and %d addresses", ADDRESSES_MAX);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        const char *host, *port;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "ss;addresses are pairs (host, port) of str", &host, &port))
            return -1;
        int error = getaddrinfo(host, port, &hints, &found);
        if (error != 0) {
            PyErr_Format(PyExc_ValueError, "not a numeric address: %.100s %.20s (%s)", host, port, gai_strerror(error));
            return -1;
        }
        memcpy(&addresses[i], found->ai_addr, found->ai_addrlen);
        sizes[i] = found->ai_addrlen;
        freeaddrinfo(found);
    }
    return count;
}

static int check_plan(const struct fw_plan *plan)
{
    if (plan->streams >= 1 && plan->rate > 0 && plan->rate <= 1e9 && plan->seconds > 0 && plan->seconds <= 1e9)
        return 0; /* false for NaN */
    PyErr_SetString(PyExc_ValueError, "streams must be at least 1, rate and seconds above 0 and at most 1e9");
    return -1;
}

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static PyObject *run(PyObject *Py_UNUSED(module), PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"addresses", "request", "streams", "rate",     "seconds",
                            "reconnect", "seq",     "ts",      "progress", NULL};
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    socklen_t sizes[ADDRESSES_MAX];
    struct fw_plan plan = {.addresses = addresses, .address_sizes = sizes, .tick = on_tick};
    struct fw_keys *keys = &plan.keys;
    PyObject *list, *progress, *counts = NULL;
    Py_ssize_t request_size, sequence_size, time_size;
    int reconnects;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!y#$Iddpy#y#O:run", names, &PyList_Type, &list,
                                     &plan.request.at, &request_size, &plan.streams, &plan.rate, &plan.seconds,
                                     &reconnects, &keys->sequence.at, &sequence_size, &keys->time.at, &time_size,
                                     &progress))
        return NULL;
    plan.request.size = (size_t)request_size;
    keys->sequence.size = (size_t)sequence_size;
    keys->time.size = (size_t)time_size;
    plan.reconnects = reconnects;
    Py_ssize_t count = check_plan(&plan) == 0 ? to_addresses(list, addresses, sizes) : -1;
    if (count < 0)
        return NULL;
    plan.address_count = (size_t)count;

    struct fw_tally *tally = PyMem_Calloc(1, sizeof *tally); /* large, for a stack */
    if (tally == NULL)
        return PyErr_NoMemory();
    struct tick tick = {tally, progress != Py_None ? progress : NULL, NULL};
    plan.context = &tick;
    double cpu = cpu_seconds();
    tick.thread = PyEval_SaveThread();
    int status = fw_engine_run(&plan, tally), error = errno;
    PyEval_RestoreThread(tick.thread);
    cpu = cpu_seconds() - cpu;

    if (PyErr_Occurred()) {
        /* of `progress`, or a signal's */
    } else if (status == FW_ENOMEM) {
        PyErr_NoMemory();
    } else if (status == FW_ESIZE) {
        PyErr_SetString(PyExc_ValueError, "the request is too large");
    } else if (status != FW_OK) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        counts = counts_of(tally);
        if (counts != NULL && put(counts, "cpu_seconds", PyFloat_FromDouble(cpu)) < 0)
            Py_CLEAR(counts);
    }
    PyMem_Free(tally);
    return counts;
}

PyDoc_STRVAR(run_doc,
             "run($module, addresses, request, *, streams, rate, seconds, reconnect, seq, ts, progress)\n--\n\n"
             "Hold streams and check what comes; return the counts.");

/* ---- parse() ---- */

struct parsing {
    PyObject *events;
    uint64_t faults[FW_FAULTS];
    bool has_failed; /* with an exception */
};

static void add_event(void *context, const struct fw_parsed *event)
{
    struct parsing *parsing = context;
    const struct fw_text *type = &event->type, *data = &event->data, *id = &event->id;
    if (parsing->has_failed)
        return;
    PyObject *item = Py_BuildValue("(y#y#y#)", type->size != 0 ? type->at : "", (Py_ssize_t)type->size,
                                   data->size != 0 ? data->at : "", (Py_ssize_t)data->size, id->size != 0 ? id->at : "",
                                   (Py_ssize_t)id->size);
    parsing->has_failed = item == NULL || PyList_Append(parsing->events, item) < 0;
    Py_XDECREF(item);
}

static void add_fault(void *context, enum fw_fault fault)
{
    struct parsing *parsing = context;
    parsing->faults[fault]++;
}

/* Feeds bytes from memory of their own, which is gone before the next: a slice that was kept would show. */
static bool feed_copy(struct fw_parse *parse, const char *bytes, Py_ssize_t size, struct parsing *parsing)
{
    const struct fw_parse_sink sink = {add_event, add_fault, parsing};
    char *copy = malloc(size != 0 ? (size_t)size : 1);
    if (copy == NULL) {
        PyErr_NoMemory();
        return false;
    }
    memcpy(copy, bytes, (size_t)size);
    int status = fw_parse_feed(parse, copy, (size_t)size, &sink);
    free(copy);
    if (status == FW_ENOMEM)
        PyErr_NoMemory();
    else if (status == FW_ESIZE)
        PyErr_SetString(PyExc_ValueError, fw_fault_name(FW_FAULT_LARGE));
    return status == FW_OK && !parsing->has_failed;
}

static bool feed_piece(struct fw_parse *parse, PyObject *piece, struct parsing *parsing)
{
    char *bytes;
    Py_ssize_t size;
    return PyBytes_AsStringAndSize(piece, &bytes, &size) == 0 && feed_copy(parse, bytes, size, parsing);
}

/* Lets an earlier connection leave the id behind. */
static bool feed_id(struct fw_parse *parse, const char *id, Py_ssize_t size, struct parsing *parsing)
{
    if (size == 0)
        return true;
    bool is_fed = feed_copy(parse, "id: ", 4, parsing) && feed_copy(parse, id, size, parsing) &&
                  feed_copy(parse, "\n\n", 2, parsing);
    fw_parse_restart(parse);
    return is_fed;
}

static PyObject *parse(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    struct fw_parse parse = {0};
    struct parsing parsing = {.events = NULL};
    PyObject *pieces, *result = NULL;
    const char *before = "";
    Py_ssize_t before_size = 0;
    if (!PyArg_ParseTuple(arguments, "O!|y#:parse", &PyList_Type, &pieces, &before, &before_size))
        return NULL;
    parsing.events = PyList_New(0);
    if (parsing.events == NULL)
        return NULL;
    if (!feed_id(&parse, before, before_size, &parsing))
        goto done;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pieces); i++)
        if (!feed_piece(&parse, PyList_GET_ITEM(pieces, i), &parsing))
            goto done;
    struct fw_text id = parse.last_id.text;
    PyObject *retry = parse.has_retry ? PyLong_FromLongLong(parse.retry) : Py_NewRef(Py_None);
    PyObject *faults = kinds(parsing.faults, FW_FAULTS, fault_name);
    if (retry != NULL && faults != NULL)
        result = Py_BuildValue("(Oy#OOO)", parsing.events, id.size != 0 ? id.at : "", (Py_ssize_t)id.size, retry,
                               faults, fw_parse_unfinished(&parse) ? Py_True : Py_False);
    Py_XDECREF(retry);
    Py_XDECREF(faults);
done:
    fw_parse_free(&parse);
    Py_DECREF(parsing.events);
    return result;
}

PyDoc_STRVAR(parse_doc,
             "parse($module, pieces, last_event_id=b'', /)\n--\n\nFeed a stream in pieces; return what it means.");

/* ---- the module ---- */

static PyObject *alloc_live(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(fw_alloc_live());
}

static PyMethodDef module_methods[] = {
    {"_alloc_live", alloc_live, METH_NOARGS,
     "_alloc_live($module, /)\n--\n\nReturn the bytes that streams and engines hold in this process."},
    {"parse", parse, METH_VARARGS, parse_doc},
    {"run", (PyCFunction)(void (*)(void))run, METH_VARARGS | METH_KEYWORDS, run_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {{0, NULL}};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,       .m_name = "fastware_sse._load", .m_doc = "The load client in C. Linux.",
    .m_methods = module_methods, .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__load(void)
{
    return PyModuleDef_Init(&module_def);
}
