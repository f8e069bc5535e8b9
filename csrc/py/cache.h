/* The chunks that a bridge has made lately: a thousand readers at the same place share one object. Keyed by the events
 * that a chunk holds; a new one takes the place of whichever stood there. */
#ifndef FW_PY_CACHE_H
#define FW_PY_CACHE_H

#include "py/state.h" /* Python.h comes before everything else */

#include "core/hub.h"

#define CACHE_SLOTS                                                                                                    \
    256 /* a burst of so many events is formatted into chunks once, even if each client reads it in one go */

typedef struct {
    uint64_t first, last; /* the events [first, last) */
    PyObject *chunk;      /* owned reference, or NULL */
} CacheSlot;

/* Empty when zeroed. The slots exist only while there is something in them: most of the time a stream is idle. */
typedef struct {
    CacheSlot *slots;
} Cache;

/* Returns the `last` of the chunk that begins with event `first`, or 0 if there is none. */
uint64_t cache_last(const Cache *cache, uint64_t first);

/* Returns a new reference to the chunk of `batch`: the one that is there if the batch has no frames, else a new one,
 * which is kept. NULL with an exception if there is no memory. Does not release the batch. */
PyObject *cache_chunk(Cache *cache, fw_state *state, const struct fw_batch *batch);

void cache_clear(Cache *cache);

#endif
