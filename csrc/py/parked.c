#include "py/parked.h"

#include "py/waiter.h"

void parked_link(ClientList *list, Client *client)
{
    Py_INCREF(client->waiter); /* the list's own reference, which the Broadcaster shows to the collector */
    client->waits_in = list;
    client->next_waits = NULL;
    client->previous_waits = list->last;
    if (list->last != NULL)
        list->last->next_waits = client;
    else
        list->first = client;
    list->last = client;
    list->count++;
}

void parked_unlink(Client *client)
{
    ClientList *list = client->waits_in;
    if (list == NULL)
        return;
    if (client->previous_waits != NULL)
        client->previous_waits->next_waits = client->next_waits;
    else
        list->first = client->next_waits;
    if (client->next_waits != NULL)
        client->next_waits->previous_waits = client->previous_waits;
    else
        list->last = client->previous_waits;
    client->previous_waits = client->next_waits = NULL;
    client->waits_in = NULL;
    list->count--;
    Py_DECREF(client->waiter); /* never the last: the client has one */
}

int parked_step(Client *client)
{
    PyObject *waiter = Py_NewRef(client->waiter);
    parked_unlink(client);
    client->bridge->reading = client;
    client->bridge->in_vain = 0;
    int result = waiter_wake(waiter);
    Py_DECREF(waiter);
    return result;
}
