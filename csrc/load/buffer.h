/* Bytes that must outlive the read they came with: the head of a line, an unfinished event, an id.
 *
 * A stream that waits between two events owns next to nothing, so that tens of thousands fit: memory above
 * FW_BUFFER_KEPT goes back as soon as the buffer is emptied.
 */
#ifndef FW_LOAD_BUFFER_H
#define FW_LOAD_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define FW_BUFFER_MAX (8u << 20) /* what one stream may make us keep; an event beyond it ends the stream */
#define FW_BUFFER_KEPT 64u       /* a usual id fits */

/* All zero is an empty buffer. */
struct fw_buffer {
    char *at; /* owned */
    uint32_t size;
    uint32_t capacity;
};

/* Returns FW_OK, FW_ENOMEM, or FW_ESIZE if more than FW_BUFFER_MAX would be kept; then nothing has changed.
 * `bytes` may not point into the buffer. */
int fw_buffer_append(struct fw_buffer *buffer, const char *bytes, size_t size);

/* Empties it, and frees its memory where that is more than FW_BUFFER_KEPT. */
void fw_buffer_clear(struct fw_buffer *buffer);

void fw_buffer_free(struct fw_buffer *buffer);

#endif
