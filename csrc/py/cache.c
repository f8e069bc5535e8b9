#include "py/cache.h"

#include "py/chunk.h"

uint64_t cache_last(const Cache *cache, uint64_t first)
{
    if (cache->slots == NULL)
        return 0;
    const CacheSlot *slot = &cache->slots[first % CACHE_SLOTS];
    return slot->chunk != NULL && slot->first == first ? slot->last : 0;
}

PyObject *cache_chunk(Cache *cache, fw_state *state, const struct fw_batch *batch)
{
    if (batch->count == 0)
        return Py_NewRef(cache->slots[batch->first % CACHE_SLOTS].chunk);
    if (cache->slots == NULL && (cache->slots = PyMem_Calloc(CACHE_SLOTS, sizeof(CacheSlot))) == NULL)
        return PyErr_NoMemory();
    PyObject *chunk = chunk_join(state, batch->frames, batch->count);
    if (chunk == NULL)
        return NULL;
    CacheSlot *slot = &cache->slots[batch->first % CACHE_SLOTS];
    slot->first = batch->first;
    slot->last = batch->last;
    Py_XSETREF(slot->chunk, Py_NewRef(chunk));
    return chunk;
}

void cache_clear(Cache *cache)
{
    if (cache->slots == NULL)
        return;
    for (size_t at = 0; at < CACHE_SLOTS; at++)
        Py_CLEAR(cache->slots[at].chunk);
    PyMem_Free(cache->slots);
    cache->slots = NULL;
}
