/* The one allocation seam of the core: it counts the bytes that are live and can be told to fail.
 *
 * Every function may be called from any thread, with or without the GIL, but never under a hub's lock.
 */
#ifndef FW_CORE_ALLOC_H
#define FW_CORE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Returns `size` bytes (uninitialised), or NULL. The caller frees them with fw_free and the same size. */
void *fw_alloc(size_t size);

/* Frees what fw_alloc(size) returned; NULL is allowed. */
void fw_free(void *block, size_t size);

/* Returns the bytes that are allocated now, as they were asked for (malloc's own overhead not counted). */
size_t fw_alloc_live(void);

/* Lets the next `successes` allocations of the process succeed and the one after them fail, once; a negative
 * number switches this off. For tests. */
void fw_alloc_fail_after(long successes);

/* While forbidden in this thread, fw_alloc and fw_free abort (debug builds; nothing otherwise). The hub forbids them
 * between lock and unlock. */
#ifdef FW_DEBUG
void fw_alloc_forbid(bool forbid);
#else
static inline void fw_alloc_forbid(bool forbid)
{
    (void)forbid;
}
#endif

#endif
