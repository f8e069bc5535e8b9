/* A window: the bytes of some events one after the other, as they go to a socket; made once, shared by all clients that
 * are sent the same. Immutable and counted, by one fan-out for itself: no lock. */
#ifndef FW_CORE_WINDOW_H
#define FW_CORE_WINDOW_H

#include "core/log.h"

struct fw_window {
    uint32_t references;
    bool is_chunked;
    struct fw_window **place; /* on the shelf, if it stands there */
    uint64_t first;           /* the events [first, last); none for a heartbeat */
    uint64_t last;
    uint64_t text; /* bytes of their text */
    size_t size;
    char at[];
};

/* What of `frame` goes to a socket. */
static inline struct fw_text fw_window_piece(const struct fw_frame *frame, bool is_chunked)
{
    return is_chunked ? fw_frame_chunk(frame) : fw_frame_text(frame);
}

/* Returns the window of the `count` events from `first` on, with one reference, or NULL if there is no memory. The frames
 * are copied from, not kept. */
struct fw_window *fw_window_new(struct fw_frame *const *frames, uint64_t first, size_t count, bool is_chunked);

struct fw_window *fw_window_ref(struct fw_window *window);

/* NULL is allowed. */
void fw_window_unref(struct fw_window *window);

/* Windows by where they begin, so that clients at the same place find the same one as long as anybody holds it. The shelf
 * holds none: with the last reference a window goes from it too. Zeroed memory is an empty shelf. */
#define FW_SHELF_PLACES 64

struct fw_shelf {
    struct fw_window *places[FW_SHELF_PLACES];
};

/* Returns the window that begins with the event `first`, borrowed, or NULL. */
struct fw_window *fw_shelf_find(const struct fw_shelf *shelf, uint64_t first, bool is_chunked);

void fw_shelf_put(struct fw_shelf *shelf, struct fw_window *window);

/* Before the memory of the shelf goes. */
void fw_shelf_clear(struct fw_shelf *shelf);

#endif
