#include "load/buffer.h"

#include "core/alloc.h"
#include "core/status.h"

#include <string.h>

static int grow(struct fw_buffer *buffer, size_t size)
{
    size_t capacity = buffer->capacity != 0 ? buffer->capacity : FW_BUFFER_KEPT;
    while (capacity < size)
        capacity *= 2;
    char *at = fw_alloc(capacity);
    if (at == NULL)
        return FW_ENOMEM;
    if (buffer->size != 0)
        memcpy(at, buffer->at, buffer->size);
    fw_free(buffer->at, buffer->capacity);
    buffer->at = at;
    buffer->capacity = (uint32_t)capacity;
    return FW_OK;
}

int fw_buffer_append(struct fw_buffer *buffer, const char *bytes, size_t size)
{
    if (size == 0)
        return FW_OK;
    if (size > FW_BUFFER_MAX - buffer->size)
        return FW_ESIZE;
    size_t total = buffer->size + size;
    if (total > buffer->capacity) {
        int status = grow(buffer, total);
        if (status != FW_OK)
            return status;
    }
    memcpy(buffer->at + buffer->size, bytes, size);
    buffer->size = (uint32_t)total;
    return FW_OK;
}

void fw_buffer_clear(struct fw_buffer *buffer)
{
    buffer->size = 0;
    if (buffer->capacity > FW_BUFFER_KEPT)
        fw_buffer_free(buffer);
}

void fw_buffer_free(struct fw_buffer *buffer)
{
    fw_free(buffer->at, buffer->capacity);
    *buffer = (struct fw_buffer){0};
}
