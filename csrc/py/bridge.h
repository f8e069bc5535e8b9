/* The bridge: what one Broadcaster and one event loop share. One wake-up for any number of parked clients, one timer
 * for all their heartbeats, one Chunk for all that read the same events.
 *
 *   first ──> client ──> client ──> ... ──> last        parked, in the order in which they parked, so both
 *             deadline <= deadline <= ...               "who waits longest" and "who is due next" is `first`
 *
 * A client is unlinked before anything is done to it, and no position in a list is kept across a call into Python: a
 * destructor or a signal handler may run there and change the list.
 *
 * Publishers on any thread come by wake.h; the rest happens on the loop's own thread. The GIL guards all of it but
 * `pending`. The bridge lives as long as a client of its own does, or a callback that the loop still has to run.
 */
#ifndef FW_PY_BRIDGE_H
#define FW_PY_BRIDGE_H

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
    struct Client *previous_parked; /* those that are parked */
    struct Client *next_parked;
    PyObject *waiter; /* owned reference, from the first park until it leaves */
    double deadline;  /* of its heartbeat, on the monotonic clock, in seconds */
    bool parked;
    bool beat; /* its heartbeat is due */
} Client;

/* The bridges of one Broadcaster, and what their clients need of it; part of it. */
typedef struct BridgeList {
    Bridge *first;
    uint64_t rounds;    /* of wakes */
    struct fw_hub *hub; /* owned by the Broadcaster */
    PyObject *queues;   /* likewise: a list of the caller's own queues */
    double interval;    /* of heartbeats in seconds, 0 for none */
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
    Client *first_parked, *last_parked;
    size_t parked;
    Client *reading;      /* who has read in this turn of the loop, and may be in the middle of its step; or NULL */
    unsigned long thread; /* that runs the loop, as far as is known */
    unsigned in_vain;     /* waits of publishers since the last progress */
    struct Turn *turns;   /* those who wait for one */
    atomic_int pending;   /* 1 while a sweep is scheduled */
    unsigned unseen;      /* wakes since then */
    double interval;
    PyObject *timer; /* the scheduled heartbeat, or NULL */
    Cache cache;
    bool cache_used; /* since bridge_forget last looked */
    bool forgets;    /* bridge_forget is scheduled */
};

extern PyType_Spec bridge_spec;

/* Registers `client` (zeroed) at the head of the hub, on the bridge of `loop`, which is made if it is the first there.
 * Returns 0, or -1 with an exception and nothing changed. */
int bridge_join(fw_state *state, BridgeList *list, PyObject *loop, Client *client);

/* Unregisters `client`, exactly once however often it is called. Keeps a pending exception. */
void bridge_leave(Client *client);

/* Parks `client` until there is something to read or its heartbeat is due. Returns a new reference to the waiter to
 * await (it is done already if there is something to read), or NULL with an exception. */
PyObject *bridge_park(Client *client);

/* Reads the next Chunk of at most `max_events` events. Returns FW_OK with a new reference in *chunk, FW_EAGAIN, FW_EEND,
 * or FW_ENOMEM with an exception set. */
int bridge_read(Client *client, size_t max_events, PyObject **chunk);

/* In the child of a fork: takes `bridge` off its list, and what is parked out of it, so that nothing wakes its clients. */
void bridge_abandon(Bridge *bridge);

/* Calls loop.METHOD([delay,] callback, context=empty) with `callback` bound to the bridge. Returns the handle. */
PyObject *bridge_schedule(Bridge *bridge, PyObject *method, PyObject *delay, PyMethodDef *callback);

/* Whether the loop is closed. Without an exception set, before and after. */
bool bridge_is_closed(Bridge *bridge);

/* The callback that wakes parked clients; to be scheduled once `pending` has gone from 0 to 1. */
extern PyMethodDef bridge_sweep_def;

/* Returns the bridge of `loop`, a new reference, or NULL (no exception). */
Bridge *bridges_find(const BridgeList *list, PyObject *loop);

/* Visits what parked clients await. So a Broadcaster keeps the tasks of its clients alive, as its queues did in the
 * original, and goes with them when nobody else holds it. */
int bridges_traverse(const BridgeList *list, visitproc visit, void *arg);

/* The Broadcaster goes; its bridges must forget the list. */
void bridges_detach(BridgeList *list);

#endif
