#include "core/frame.h"

#include "core/alloc.h"
#include "core/status.h"

#include <assert.h>
#include <string.h>

static size_t frame_bytes(size_t text)
{
    return sizeof(struct fw_frame) + FW_FRAME_HEAD + text + 2;
}

struct fw_frame *fw_frame_new(size_t size)
{
    assert(size <= FW_FRAME_MAX);
    struct fw_frame *frame = fw_alloc(frame_bytes(size));
    if (frame == NULL)
        return NULL;
    atomic_init(&frame->references, 1);
    frame->size = (uint32_t)size;
    frame->next_free = NULL;

    char *at = frame->bytes + FW_FRAME_HEAD;
    memcpy(at + size, "\r\n", 2);
    *--at = '\n';
    *--at = '\r';
    size_t rest = size;
    do
        *--at = "0123456789abcdef"[rest & 15];
    while ((rest >>= 4) != 0);
    frame->chunk_at = (uint32_t)(at - frame->bytes);
    return frame;
}

int fw_frame_format(const struct fw_event *event, struct fw_frame **frame)
{
    size_t size = 0;
    int status = fw_wire_measure(event, &size);
    if (status != FW_OK)
        return status;
    if (size > FW_FRAME_MAX)
        return FW_ESIZE;
    struct fw_frame *made = fw_frame_new(size);
    if (made == NULL)
        return FW_ENOMEM;
    char *end = fw_wire_write(event, made->bytes + FW_FRAME_HEAD);
    assert(end == made->bytes + FW_FRAME_HEAD + size);
    (void)end;
    *frame = made;
    return FW_OK;
}

void fw_frame_ref(struct fw_frame *frame)
{
    /* Relaxed: whoever adds a reference already holds one, so nothing has to be seen first. */
    atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
}

void fw_frame_unref(struct fw_frame *frame)
{
    /* Release: our reads of the frame come before the free. Acquire: the freeing thread sees that of all others. */
    if (atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel) == 1)
        fw_free(frame, frame_bytes(frame->size));
}
