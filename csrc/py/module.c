/* The module `fastware_sse._core`: multi-phase initialisation, one state an interpreter, heap types only. */
#include "py/broadcaster.h"
#include "py/chunk.h"
#include "py/encode.h"
#include "py/fork.h"
#include "py/handoff.h"
#include "py/outbox.h"
#include "py/subscription.h"
#include "py/waiter.h"

#include "core/alloc.h"

/* Every object that the state owns, for traverse and clear. */
/* clang-format off */
#define EACH_MEMBER(DO) \
    DO(chunk_type) DO(waiter_type) DO(bridge_type) DO(subscription_type) DO(outbox_type) DO(broadcaster_type) \
    DO(handoff_type) DO(sender_type) DO(wrapper_type) DO(backplane_full) \
    DO(json_encode) DO(get_running_loop) DO(queue_full) DO(invalid_state) DO(cancelled_error) DO(logger) \
    DO(str_encode) \
    DO(name_add_reader) DO(name_broken) DO(name_call_later) DO(name_call_soon) DO(name_call_soon_threadsafe) \
    DO(name_cancel) DO(name_ended) DO(name_extensions) DO(name_fastware_sse) DO(name_format_sse) \
    DO(name_is_closed) DO(name_put_nowait) DO(name_released) DO(name_remove_reader) DO(name_send) DO(name_stuck) \
    DO(names_context)
/* clang-format on */

static PyObject *import_from(const char *module_name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module != NULL ? PyObject_GetAttrString(module, attribute) : NULL;
    Py_XDECREF(module);
    return value;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type != NULL ? PyModule_AddType(module, *type) : -1;
}

/* A str subclass: the one spec that has a base. */
static int add_chunk_type(PyObject *module, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &chunk_spec, (PyObject *)&PyUnicode_Type);
    return *type != NULL ? PyModule_AddType(module, *type) : -1;
}

static int module_exec(PyObject *module)
{
    fw_state *state = PyModule_GetState(module);
    if (add_chunk_type(module, &state->chunk_type) < 0 || add_type(module, &waiter_spec, &state->waiter_type) < 0 ||
        add_type(module, &bridge_spec, &state->bridge_type) < 0 ||
        add_type(module, &subscription_spec, &state->subscription_type) < 0 ||
        add_type(module, &outbox_spec, &state->outbox_type) < 0 ||
        add_type(module, &broadcaster_spec, &state->broadcaster_type) < 0 ||
        add_type(module, &handoff_spec, &state->handoff_type) < 0 ||
        add_type(module, &sender_spec, &state->sender_type) < 0 ||
        add_type(module, &wrapper_spec, &state->wrapper_type) < 0)
        return -1;

    state->backplane_full = PyErr_NewExceptionWithDoc(
        "fastware_sse.backplane.BackplaneFull",
        "broadcast() finds no room for the event: the server has been away for so long. The event is not sent.",
        PyExc_RuntimeError, NULL);
    if (PyModule_AddObjectRef(module, "BackplaneFull", state->backplane_full) < 0)
        return -1;
    PyObject *get_logger = import_from("logging", "getLogger");
    state->logger = get_logger != NULL ? PyObject_CallFunction(get_logger, "s", "fastware_sse") : NULL;
    Py_XDECREF(get_logger);
    state->json_encode = import_from("msgspec.json", "encode");
    state->get_running_loop = import_from("asyncio", "get_running_loop");
    state->cancelled_error = import_from("asyncio", "CancelledError");
    state->queue_full = import_from("asyncio", "QueueFull");
    state->invalid_state = import_from("asyncio", "InvalidStateError");
    state->str_encode = PyObject_GetAttrString((PyObject *)&PyUnicode_Type, "encode");
    state->name_add_reader = PyUnicode_InternFromString("add_reader");
    state->name_broken = PyUnicode_InternFromString("broken");
    state->name_call_later = PyUnicode_InternFromString("call_later");
    state->name_call_soon = PyUnicode_InternFromString("call_soon");
    state->name_call_soon_threadsafe = PyUnicode_InternFromString("call_soon_threadsafe");
    state->name_cancel = PyUnicode_InternFromString("cancel");
    state->name_ended = PyUnicode_InternFromString("ended");
    state->name_extensions = PyUnicode_InternFromString("extensions");
    state->name_fastware_sse = PyUnicode_InternFromString("fastware.sse");
    state->name_format_sse = PyUnicode_InternFromString("_format_sse");
    state->name_is_closed = PyUnicode_InternFromString("is_closed");
    state->name_put_nowait = PyUnicode_InternFromString("put_nowait");
    state->name_released = PyUnicode_InternFromString("released");
    state->name_remove_reader = PyUnicode_InternFromString("remove_reader");
    state->name_send = PyUnicode_InternFromString("send");
    state->name_stuck = PyUnicode_InternFromString("stuck");
    state->names_context = Py_BuildValue("(s)", "context");
#define CHECK_MEMBER(member)                                                                                           \
    if (state->member == NULL)                                                                                         \
        return -1;
    EACH_MEMBER(CHECK_MEMBER)
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    fw_state *state = PyModule_GetState(module);
#define VISIT_MEMBER(member) Py_VISIT(state->member);
    EACH_MEMBER(VISIT_MEMBER)
    return 0;
}

static int module_clear(PyObject *module)
{
    fw_state *state = PyModule_GetState(module);
#define CLEAR_MEMBER(member) Py_CLEAR(state->member);
    EACH_MEMBER(CLEAR_MEMBER)
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyObject *alloc_live(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(fw_alloc_live());
}

static PyObject *broadcasters(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return fork_owners(PyModule_GetState(module));
}

#ifdef FW_DEBUG
static PyObject *alloc_fail_after(PyObject *Py_UNUSED(module), PyObject *number)
{
    long successes = PyLong_AsLong(number);
    if (successes == -1 && PyErr_Occurred())
        return NULL;
    fw_alloc_fail_after(successes);
    Py_RETURN_NONE;
}
#endif

static PyMethodDef module_methods[] = {
    {"_alloc_live", alloc_live, METH_NOARGS,
     "_alloc_live($module, /)\n--\n\nReturn the bytes that the C core has allocated in this process."},
    {"_broadcasters", broadcasters, METH_NOARGS,
     "_broadcasters($module, /)\n--\n\nReturn a list of all Broadcasters that are alive."},
#ifdef FW_DEBUG
    {"_alloc_fail_after", alloc_fail_after, METH_O,
     "_alloc_fail_after($module, successes, /)\n--\n\nLet one allocation of the core fail after so many; negative: "
     "none."},
#endif
    {"wire", (PyCFunction)(void (*)(void))encode_wire_call, METH_VARARGS | METH_KEYWORDS, encode_wire_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

struct PyModuleDef fw_module_def = {
    PyModuleDef_HEAD_INIT,         .m_name = "fastware_sse._core", .m_doc = "The C part of fastware_sse.",
    .m_size = sizeof(fw_state),    .m_methods = module_methods,    .m_slots = module_slots,
    .m_traverse = module_traverse, .m_clear = module_clear,        .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&fw_module_def);
}
