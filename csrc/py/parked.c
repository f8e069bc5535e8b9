#include "py/parked.h"

#include "py/waiter.h"

void parked_link(Bridge *bridge, Client *client)
{
    client->parked = true;
    Py_INCREF(client->waiter); /* the list's own reference, which the Broadcaster shows to the collector */
    bridge->parked++;
    client->next_parked = NULL;
    client->previous_parked = bridge->last_parked;
    if (bridge->last_parked != NULL)
        bridge->last_parked->next_parked = client;
    else
        bridge->first_parked = client;
    bridge->last_parked = client;
}

void parked_unlink(Bridge *bridge, Client *client)
{
    if (!client->parked)
        return;
    if (client->previous_parked != NULL)
        client->previous_parked->next_parked = client->next_parked;
    else
        bridge->first_parked = client->next_parked;
    if (client->next_parked != NULL)
        client->next_parked->previous_parked = client->previous_parked;
    else
        bridge->last_parked = client->previous_parked;
    client->previous_parked = client->next_parked = NULL;
    client->parked = false;
    bridge->parked--;
    Py_DECREF(client->waiter); /* never the last: the client has one */
}

int parked_step(Bridge *bridge, Client *client)
{
    PyObject *waiter = Py_NewRef(client->waiter);
    parked_unlink(bridge, client);
    bridge->in_vain = 0;
    int result = waiter_wake(waiter);
    Py_DECREF(waiter);
    return result;
}
