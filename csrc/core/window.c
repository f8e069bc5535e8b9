#include "core/window.h"

#include "core/alloc.h"

#include <string.h>

struct fw_window *fw_window_new(struct fw_frame *const *frames, uint64_t first, size_t count, bool is_chunked)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += fw_window_piece(frames[i], is_chunked).size;
    struct fw_window *window = fw_alloc(sizeof *window + size);
    if (window == NULL)
        return NULL;
    *window = (struct fw_window){
        .references = 1, .is_chunked = is_chunked, .first = first, .last = first + count, .size = size};
    char *to = window->at;
    for (size_t i = 0; i < count; i++) {
        struct fw_text piece = fw_window_piece(frames[i], is_chunked);
        memcpy(to, piece.at, piece.size);
        to += piece.size;
        window->text += frames[i]->size;
    }
    return window;
}

struct fw_window *fw_window_ref(struct fw_window *window)
{
    window->references++;
    return window;
}

void fw_window_unref(struct fw_window *window)
{
    if (window == NULL || --window->references != 0)
        return;
    if (window->place != NULL)
        *window->place = NULL;
    fw_free(window, sizeof *window + window->size);
}

static size_t place_of(uint64_t first, bool is_chunked)
{
    return (size_t)(2 * first + is_chunked) % FW_SHELF_PLACES;
}

struct fw_window *fw_shelf_find(const struct fw_shelf *shelf, uint64_t first, bool is_chunked)
{
    struct fw_window *window = shelf->places[place_of(first, is_chunked)];
    return window != NULL && window->first == first && window->is_chunked == is_chunked ? window : NULL;
}

static void vacate(struct fw_window **place)
{
    if (*place != NULL)
        (*place)->place = NULL;
    *place = NULL;
}

void fw_shelf_put(struct fw_shelf *shelf, struct fw_window *window)
{
    struct fw_window **place = &shelf->places[place_of(window->first, window->is_chunked)];
    vacate(place);
    *place = window;
    window->place = place;
}

void fw_shelf_clear(struct fw_shelf *shelf)
{
    for (size_t i = 0; i < FW_SHELF_PLACES; i++)
        vacate(&shelf->places[i]);
}
