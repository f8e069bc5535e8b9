/* Which streams are to be connected again, and when: a binary heap of times. */
#ifndef FW_LOAD_DUE_H
#define FW_LOAD_DUE_H

#include <stddef.h>
#include <stdint.h>

struct fw_due {
    uint64_t time; /* ns of the monotonic clock */
    uint32_t stream;
};

struct fw_due_heap {
    struct fw_due *at; /* the caller's, with room for every stream; the earliest first */
    size_t size;
};

void fw_due_push(struct fw_due_heap *heap, struct fw_due due);

/* Takes the earliest out; the heap must not be empty. */
struct fw_due fw_due_pop(struct fw_due_heap *heap);

#endif
