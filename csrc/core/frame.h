/* A frame: one event, formatted once, immutable from then on, and shared by everyone who still needs it.
 *
 *        bytes                                        bytes + FW_FRAME_HEAD (the text)
 *          |  unused  | <hex size> CR LF |  event: m LF data: x LF LF  | CR LF |
 *                     ^ the chunk, for sockets that speak HTTP/1.1     ^ end of the text
 *
 * So either slice can be sent as it is. The size of the text, and with it the chunk header, never changes after
 * creation; its id, of fixed width, is written into it as it is published, before anybody else can see it.
 * A frame never owns a Python object. It is freed with its last reference, by whichever thread drops it.
 */
#ifndef FW_CORE_FRAME_H
#define FW_CORE_FRAME_H

#include "core/id.h"
#include "core/wire.h"

#include <stdatomic.h>
#include <stdint.h>

#define FW_FRAME_HEAD 10                  /* eight hex digits, CR, LF */
#define FW_FRAME_MAX ((size_t)0x7fffffff) /* bytes of text: what those digits and an int can hold */

struct fw_frame {
    atomic_uint_least32_t references;
    uint32_t size;              /* bytes of the text */
    uint32_t chunk_at;          /* where the chunk begins in `bytes` */
    uint32_t id_at;             /* where in the text the hub writes its id as it is published; 0: nowhere */
    struct fw_frame *next_free; /* used by the log alone, to chain the frames that a trim gives up */
    char bytes[];
};

/* Returns a frame with one reference and room for `size` bytes of text, its chunk framing in place and its text not
 * yet written; NULL if there is no memory. `size` is at most FW_FRAME_MAX. */
struct fw_frame *fw_frame_new(size_t size);

/* Formats `event` into a new frame in *frame, with one reference for the caller; with room for an id of `id_size` bytes
 * unless that is 0 (then `event` has none of its own, and no comment). Returns FW_OK, FW_ENOMEM, FW_ESIZE, FW_EEVENT or
 * FW_EID. */
int fw_frame_format(const struct fw_event *event, size_t id_size, struct fw_frame **frame);

/* The same for text that is formatted already: `text` as it stands, with a line for the id in front of its last block
 * unless `id_size` is 0. Returns FW_OK, FW_ENOMEM or FW_ESIZE. */
int fw_frame_wrap(struct fw_text text, size_t id_size, struct fw_frame **frame);

/* Adds a reference. Any thread; may be called under a lock. */
void fw_frame_ref(struct fw_frame *frame);

/* Drops a reference and frees the frame with the last. Any thread; never under a hub's lock. */
void fw_frame_unref(struct fw_frame *frame);

static inline struct fw_text fw_frame_text(const struct fw_frame *frame)
{
    return (struct fw_text){frame->bytes + FW_FRAME_HEAD, frame->size};
}

/* Empty for an empty text: a chunk of size 0 would end the body. */
static inline struct fw_text fw_frame_chunk(const struct fw_frame *frame)
{
    size_t around = FW_FRAME_HEAD - frame->chunk_at + 2;
    return (struct fw_text){frame->bytes + frame->chunk_at, frame->size != 0 ? around + frame->size : 0};
}

#endif
