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
    frame->id_at = 0;
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

/* Returns FW_OK, FW_ENOMEM or FW_ESIZE. */
static int allocate(size_t size, struct fw_frame **frame)
{
    if (size > FW_FRAME_MAX)
        return FW_ESIZE;
    *frame = fw_frame_new(size);
    return *frame != NULL ? FW_OK : FW_ENOMEM;
}

static const char no_id[FW_ID_SIZE_MAX + 1] = "----------------------------------------";

int fw_frame_format(const struct fw_event *event, size_t id_size, struct fw_frame **frame)
{
    struct fw_event complete = *event;
    size_t size = 0;
    if (id_size != 0)
        complete.id = (struct fw_text){no_id, id_size};
    int status = fw_wire_measure(&complete, &size);
    if (status == FW_OK)
        status = allocate(size, frame);
    if (status != FW_OK)
        return status;
    char *end = fw_wire_write(&complete, (*frame)->bytes + FW_FRAME_HEAD);
    assert(end == (*frame)->bytes + FW_FRAME_HEAD + size);
    (void)end;
    if (id_size != 0)
        (*frame)->id_at = (uint32_t)fw_wire_id_at(&complete);
    return FW_OK;
}

/* Where the last block of `text` begins: an event with an id is complete with it, so the id goes there. */
static size_t last_block(struct fw_text text)
{
    for (size_t at = text.size < 2 ? 0 : text.size - 2; at > 2; at--)
        if (text.at[at - 1] == '\n' && text.at[at - 2] == '\n')
            return at;
    return 0;
}

int fw_frame_wrap(struct fw_text text, size_t id_size, struct fw_frame **frame)
{
    static const char prefix[] = "id: ";
    size_t line = id_size != 0 && text.size != 0 ? sizeof prefix - 1 + id_size + 1 : 0;
    if (text.size > FW_FRAME_MAX)
        return FW_ESIZE;
    int status = allocate(line + text.size, frame);
    if (status != FW_OK)
        return status;
    size_t before = line != 0 ? last_block(text) : 0;
    char *to = (*frame)->bytes + FW_FRAME_HEAD;
    if (before != 0)
        memcpy(to, text.at, before);
    if (line != 0) {
        (*frame)->id_at = (uint32_t)(before + sizeof prefix - 1);
        memcpy(to + before, prefix, sizeof prefix - 1);
        memcpy(to + (*frame)->id_at, no_id, id_size);
        to[before + line - 1] = '\n';
    }
    if (text.size != before)
        memcpy(to + before + line, text.at + before, text.size - before);
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
