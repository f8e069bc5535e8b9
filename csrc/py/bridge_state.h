/* What is behind a bridge, its clients and the list of a Broadcaster's bridges (bridge.h tells how they hang together). */
#ifndef FW_PY_BRIDGE_STATE_H
#define FW_PY_BRIDGE_STATE_H

#include "py/state.h" /* Python.h comes before everything else */

#include "core/hub.h"
#include "py/cache.h"

#include <stdatomic.h>

typedef struct Bridge Bridge;

/* A client on its bridge; part of the Subscription that owns it. */
typedef struct Client {
    struct fw_reader reader;
    Bridge *bridge;               /* owned reference; NULL before it joined and after it left */
    struct Client *previous_peer; /* all clients of the bridge */
    struct Client *next_peer;
    struct ClientList *waits_in;   /* the list in which it waits, or NULL */
    struct Client *previous_waits; /* those of that list */
    struct Client *next_waits;
    PyObject *waiter;          /* owned reference, from the first park until it leaves */
    struct Attached *attached; /* while C writes for it (direct.h), else NULL */
    double deadline;           /* of its heartbeat, on the monotonic clock, in seconds */
    uint64_t events;           /* read, and their text in bytes */
    uint64_t bytes;
    bool beat; /* its heartbeat is due */
} Client;

/* Clients whose tasks wait for us to wake them. */
typedef struct ClientList {
    Client *first, *last;
    size_t count;
} ClientList;

/* The bridges of one Broadcaster, and what their clients need of it; part of it. */
typedef struct BridgeList {
    Bridge *first;
    uint64_t rounds;    /* of wakes */
    struct fw_hub *hub; /* owned by the Broadcaster */
    PyObject *queues;   /* likewise: a list of the caller's own queues */
    double interval;    /* of heartbeats in seconds, 0 for none */
    size_t id_size;     /* of the ids of events, with which clients may come back; 0: they have none */
    bool inherited;     /* it was in use in the process that has forked this one, and nobody was told yet */
    PyObject *owner;    /* the Broadcaster, not owned */
    struct BridgeList *previous, *next; /* all of the module (fork.h) */
} BridgeList;

/* A publisher that waits for a turn of the loop (patience.h). On the heap: a daemon thread does not come back from a wait
 * in which the interpreter ends. */
struct Turn {
    PyThread_type_lock had; /* free once the loop has had it */
    struct Turn *next;
};

struct Bridge {
    PyObject_HEAD
    fw_state *state;
    struct fw_hub *hub; /* owned reference */
    PyObject *loop;
    PyObject *context;   /* an empty one: callbacks must not keep a request's context variables alive */
    PyObject *heartbeat; /* its Chunk, made with the first */
    BridgeList *list;    /* NULL once the Broadcaster has gone, or the last client */
    Bridge *previous, *next;
    uint64_t round; /* the last round of wakes that came by here */
    Client *peers;
    ClientList parked;     /* until there is something to read, in the order in which they parked */
    ClientList resting;    /* until the next turn of the loop, though there may be something to read */
    ClientList attached;   /* those for which C writes to the socket */
    struct Direct *direct; /* how it does (direct.h); NULL before the first of them */
    Client *reading;       /* whose step is running, or was the last to run in this turn of the loop; or NULL */
    unsigned long thread;  /* that runs the loop, as far as is known */
    unsigned in_vain;      /* waits of publishers since the last progress; those at the same time are one */
    double waited;         /* until when, on the monotonic clock */
    struct Turn *turns;    /* those who wait for one */
    atomic_int pending;    /* 1 while a sweep is scheduled */
    unsigned unseen;       /* wakes since then */
    double interval;
    PyObject *timer; /* the scheduled heartbeat, or NULL */
    Cache cache;
    bool cache_used; /* since bridge_forget last looked */
    bool forgets;    /* bridge_forget is scheduled */
};

#endif
