#include "py/fork.h"

#include "core/status.h"

void fork_enlist(fw_state *state, BridgeList *list, PyObject *owner)
{
    list->owner = owner;
    list->next = state->lists;
    if (list->next != NULL)
        list->next->previous = list;
    state->lists = list;
}

void fork_delist(fw_state *state, BridgeList *list)
{
    if (list->previous != NULL)
        list->previous->next = list->next;
    else
        state->lists = list->next;
    if (list->next != NULL)
        list->next->previous = list->previous;
}

PyObject *fork_owners(fw_state *state)
{
    PyObject *owners = PyList_New(0);
    for (BridgeList *list = state->lists; owners != NULL && list != NULL; list = list->next)
        if (PyList_Append(owners, list->owner) < 0)
            Py_CLEAR(owners);
    return owners;
}

int fork_start_over(BridgeList *list)
{
    struct fw_hub_counts counts = fw_hub_counts(list->hub);
    struct fw_hub *hub = fw_hub_renew(list->hub);
    if (hub == NULL) {
        fw_raise(FW_ENOMEM);
        return -1;
    }
    list->inherited = list->inherited || counts.total != 0 || counts.head != 0;
    while (list->first != NULL)
        bridge_abandon(list->first);
    fw_hub_unref(list->hub);
    list->hub = hub;
    return PyList_SetSlice(list->queues, 0, PyList_GET_SIZE(list->queues), NULL);
}

void fork_warn(fw_state *state, BridgeList *list)
{
    if (!list->inherited)
        return;
    list->inherited = false;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *done = PyObject_CallMethod(
        state->logger, "warning", "s",
        "a Broadcaster that was in use before a fork is used in the child: each process has clients "
        "and events of its own; publish in the process that serves the clients, or run one worker");
    if (done == NULL)
        PyErr_Clear();
    Py_XDECREF(done);
    PyErr_Restore(type, value, traceback);
}
