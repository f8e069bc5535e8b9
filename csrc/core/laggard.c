#include "core/laggard.h"

#ifdef FW_HAS_FANOUT

#include "core/status.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SEND_BYTES 65536

struct fw_direct *fw_laggard_first(const struct fw_link *list)
{
    return list->next != list ? fw_direct_of(list->next) : NULL;
}

void fw_laggard_move(struct fw_fanout *fanout, struct fw_direct *client, enum fw_direct_state state,
                     struct fw_link *list)
{
    struct fw_link *link = &client->link;
    if (client->state == FW_DIRECT_LAGGING && state != FW_DIRECT_LAGGING)
        epoll_ctl(fanout->epoll, EPOLL_CTL_DEL, client->fd, NULL);
    fanout->framings[client->chunked] += (state == FW_DIRECT_MEMBER) - (client->state == FW_DIRECT_MEMBER);
    fanout->laggards += (state == FW_DIRECT_LAGGING) - (client->state == FW_DIRECT_LAGGING);
    client->state = state;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->previous = link->next = link;
    if (list == NULL)
        return;
    link->previous = list->previous;
    link->next = list;
    link->previous->next = link;
    link->next->previous = link;
}

void fw_laggard_call(struct fw_fanout *fanout)
{
    struct fw_link *ahead = &fanout->ahead, *due = &fanout->due;
    if (ahead->next == ahead)
        return;
    ahead->next->previous = due->previous;
    due->previous->next = ahead->next;
    ahead->previous->next = due;
    due->previous = ahead->previous;
    ahead->previous = ahead->next = ahead;
}

void fw_laggard_note(struct fw_fanout *fanout, struct fw_direct *client, enum fw_note note)
{
    client->note = note;
    fw_laggard_move(fanout, client, FW_DIRECT_NOTED, &fanout->notes);
}

void fw_laggard_lag(struct fw_fanout *fanout, struct fw_direct *client, double now)
{
    struct epoll_event interest = {.events = EPOLLOUT, .data.ptr = client};
    if (client->state == FW_DIRECT_LAGGING)
        return;
    if (epoll_ctl(fanout->epoll, EPOLL_CTL_ADD, client->fd, &interest) != 0) {
        fw_laggard_note(fanout, client, FW_NOTE_BROKEN);
        return;
    }
    client->since = now;
    fw_laggard_move(fanout, client, FW_DIRECT_LAGGING, &fanout->lagging);
}

bool fw_laggard_gather(struct fw_fanout *fanout, struct fw_direct *client, size_t *most)
{
    switch (fw_group_gather(fanout->hub, &fanout->group, client->reader, most)) {
    case FW_GATHERED_JOINS:
        client->stamp = fanout->stamp;
        if (fw_laggard_first(&fanout->members) == NULL) /* the empty group went to the head */
            fw_laggard_call(fanout);
        fw_laggard_move(fanout, client, FW_DIRECT_MEMBER, &fanout->members);
        return false;
    case FW_GATHERED_WAITS:
        fw_laggard_move(fanout, client, FW_DIRECT_WAITING, &fanout->ahead);
        return false;
    default:
        return true;
    }
}

void fw_laggard_count(struct fw_direct *client, uint64_t events, uint64_t bytes)
{
    client->events += events;
    client->bytes += bytes;
}

ssize_t fw_laggard_push(const struct fw_direct *client, const char *at, size_t size)
{
    ssize_t sent;
    if (size == 0)
        return 0;
    do
        sent = send(client->fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

/* Returns the window of what `client` is owed first, with a reference, or NULL. */
static struct fw_window *owed_window(struct fw_fanout *fanout, struct fw_direct *client)
{
    struct fw_range *range = client->owed;
    uint64_t first = client->owed_at, end = range->first + range->count, bytes;
    uint64_t last = fw_range_stop(range, first, end, FW_BATCH_FRAMES, FW_BATCH_BYTES, &bytes);
    struct fw_window *window = fw_shelf_find(&fanout->shelf, first, client->chunked);
    if (window != NULL && window->last == last) {
        fw_window_ref(window);
    } else {
        window = fw_window_new(&range->frames[first - range->first], first, (size_t)(last - first), client->chunked);
        if (window == NULL)
            return NULL;
        fw_shelf_put(&fanout->shelf, window);
    }
    client->owed_at = last;
    if (last == end) {
        client->owed = NULL;
        fw_range_unref(range);
    }
    return window;
}

/* The same for what its reader reads; *ended is set where that is nothing more. */
static struct fw_window *read_window(struct fw_fanout *fanout, struct fw_direct *client, size_t most, bool *ended)
{
    struct fw_batch *batch = &fanout->batch;
    struct fw_window *window = fw_shelf_find(&fanout->shelf, client->reader->sequence, client->chunked);
    int status = fw_hub_read(fanout->hub, client->reader, most, window != NULL ? window->last : 0, batch);
    assert(status != FW_EAGAIN); /* it stands in front of the group, and so of the head, or it is ending */
    *ended = status == FW_EEND;
    if (*ended)
        return NULL;
    if (batch->count == 0)
        return fw_window_ref(window);
    window = fw_window_new(batch->frames, batch->first, batch->count, client->chunked);
    fw_batch_release(batch);
    if (window != NULL)
        fw_shelf_put(&fanout->shelf, window);
    else
        fw_group_cut_off(fanout->hub, client->reader);
    return window;
}

/* Gives `client`, which has no window, the next one. Returns whether there is one; if not, it has changed its state. */
static bool fill(struct fw_fanout *fanout, struct fw_direct *client)
{
    bool ended = false;
    size_t most;
    if (client->owed != NULL)
        client->window = owed_window(fanout, client);
    else if (fw_laggard_gather(fanout, client, &most))
        client->window = read_window(fanout, client, most, &ended);
    else
        return false;
    if (client->window == NULL) {
        fw_laggard_note(fanout, client, ended ? FW_NOTE_ENDED : FW_NOTE_BROKEN);
        return false;
    }
    client->offset = 0;
    fw_laggard_count(client, client->window->last - client->window->first, client->window->text);
    return true;
}

size_t fw_laggard_step(struct fw_fanout *fanout, struct fw_direct *client, double now)
{
    if (client->window == NULL && !fill(fanout, client))
        return 0;
    size_t left = client->window->size - client->offset, size = left < SEND_BYTES ? left : SEND_BYTES, most;
    ssize_t sent = fw_laggard_push(client, client->window->at + client->offset, size);
    if (sent < 0) {
        fw_laggard_note(fanout, client, FW_NOTE_BROKEN);
        return 0;
    }
    if (sent != 0)
        client->since = now;
    client->offset += (size_t)sent;
    if ((size_t)sent != size) {
        fw_laggard_lag(fanout, client, now);
        return (size_t)sent;
    }
    bool goes_on = true;
    if (size == left) {
        fw_window_unref(client->window);
        client->window = NULL;
        goes_on = client->owed != NULL || fw_laggard_gather(fanout, client, &most);
    }
    if (goes_on && client->state == FW_DIRECT_WAITING)
        fw_laggard_move(fanout, client, FW_DIRECT_WAITING, &fanout->due);
    return (size_t)sent;
}

#endif
