#include "core/direct.h"

#include <string.h>

size_t fw_direct_rest(const struct fw_direct *client)
{
    size_t size = client->window != NULL ? client->window->size - client->offset : 0;
    if (client->owed != NULL)
        for (size_t i = (size_t)(client->owed_at - client->owed->first); i < client->owed->count; i++)
            size += fw_window_piece(client->owed->frames[i], client->chunked).size;
    return size;
}

void fw_direct_take_rest(const struct fw_direct *client, char *to)
{
    if (client->window != NULL) {
        size_t size = client->window->size - client->offset;
        memcpy(to, client->window->at + client->offset, size);
        to += size;
    }
    if (client->owed == NULL)
        return;
    for (size_t i = (size_t)(client->owed_at - client->owed->first); i < client->owed->count; i++) {
        struct fw_text piece = fw_window_piece(client->owed->frames[i], client->chunked);
        memcpy(to, piece.at, piece.size);
        to += piece.size;
    }
}

void fw_direct_release(struct fw_direct *client)
{
    fw_window_unref(client->window);
    client->window = NULL;
    fw_range_unref(client->owed);
    client->owed = NULL;
}
