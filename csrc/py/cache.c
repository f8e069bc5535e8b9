#include "py/cache.h"

#include "py/chunk.h"

#include <string.h>

uint64_t cache_last(const Cache *cache, uint64_t first)
{
    if (cache->slots == NULL)
        return 0;
    const CacheSlot *slot = &cache->slots[first % CACHE_SLOTS];
    return slot->chunk != NULL && slot->first == first ? slot->last : 0;
}

static PyObject *join_texts(const struct fw_batch *batch)
{
    Py_ssize_t size = 0;
    for (size_t i = 0; i < batch->count; i++)
        size += (Py_ssize_t)batch->frames[i]->size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(bytes);
    for (size_t i = 0; i < batch->count; i++) {
        struct fw_text text = fw_frame_text(batch->frames[i]);
        memcpy(to, text.at, text.size);
        to += text.size;
    }
    return bytes;
}

PyObject *cache_chunk(Cache *cache, fw_state *state, const struct fw_batch *batch)
{
    if (batch->count == 0)
        return Py_NewRef(cache->slots[batch->first % CACHE_SLOTS].chunk);
    if (cache->slots == NULL && (cache->slots = PyMem_Calloc(CACHE_SLOTS, sizeof(CacheSlot))) == NULL)
        return PyErr_NoMemory();
    PyObject *bytes = join_texts(batch);
    if (bytes == NULL)
        return NULL;
    PyObject *chunk = chunk_new(state, bytes);
    Py_DECREF(bytes);
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
