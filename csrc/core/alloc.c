#include "core/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Relaxed: both are counters that order nothing else. */
static atomic_size_t live_bytes;
static atomic_long successes_left = -1;

#ifdef FW_DEBUG
static _Thread_local bool forbidden;

void fw_alloc_forbid(bool forbid)
{
    forbidden = forbid;
}

static void check_allowed(void)
{
    if (forbidden)
        abort();
}
#else
static void check_allowed(void)
{
}
#endif

static bool told_to_fail(void)
{
    if (atomic_load_explicit(&successes_left, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub_explicit(&successes_left, 1, memory_order_relaxed) == 0;
}

void *fw_alloc(size_t size)
{
    check_allowed();
    if (told_to_fail())
        return NULL;
    void *block = malloc(size);
    if (block != NULL)
        atomic_fetch_add_explicit(&live_bytes, size, memory_order_relaxed);
    return block;
}

void fw_free(void *block, size_t size)
{
    check_allowed();
    if (block == NULL)
        return;
    atomic_fetch_sub_explicit(&live_bytes, size, memory_order_relaxed);
    free(block);
}

size_t fw_alloc_live(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

void fw_alloc_fail_after(long successes)
{
    atomic_store_explicit(&successes_left, successes, memory_order_relaxed);
}
