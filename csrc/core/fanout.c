#include "core/fanout.h"

#ifdef FW_HAS_FANOUT

#include "core/alloc.h"
#include "core/laggard.h"
#include "core/status.h"

#include <assert.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READY_CLIENTS 64
#define EXPIRE_CLIENTS 64
#define EXPIRE_BYTES (4u << 20)

static void link_init(struct fw_link *link)
{
    link->previous = link->next = link;
}

int fw_fanout_new(struct fw_hub *hub, struct fw_fanout **made)
{
    struct fw_fanout *fanout = fw_alloc(sizeof *fanout);
    if (fanout == NULL)
        return FW_ENOMEM;
    *fanout = (struct fw_fanout){.hub = hub, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (fanout->epoll < 0) {
        fw_free(fanout, sizeof *fanout);
        return FW_ESYSTEM;
    }
    link_init(&fanout->members);
    link_init(&fanout->due);
    link_init(&fanout->ahead);
    link_init(&fanout->lagging);
    link_init(&fanout->notes);
    fw_hub_ref(hub);
    fw_group_open(hub, &fanout->group);
    *made = fanout;
    return FW_OK;
}

/* The running pass holds its windows no longer. */
static void drop_windows(struct fw_fanout *fanout)
{
    for (int chunked = 0; chunked < 2; chunked++) {
        fw_window_unref(fanout->windows[chunked]);
        fanout->windows[chunked] = NULL;
    }
}

static void drop_owed(struct fw_fanout *fanout)
{
    fw_range_unref(fanout->owed);
    fanout->owed = NULL;
}

void fw_fanout_free(struct fw_fanout *fanout)
{
    assert(fanout->count == 0);
    drop_windows(fanout);
    drop_owed(fanout);
    fw_shelf_clear(&fanout->shelf);
    fw_fanout_abandon(fanout);
    fw_group_close(fanout->hub, &fanout->group);
    fw_hub_unref(fanout->hub);
    fw_free(fanout, sizeof *fanout);
}

void fw_fanout_abandon(struct fw_fanout *fanout)
{
    if (fanout->epoll >= 0)
        close(fanout->epoll);
    fanout->epoll = -1;
}

int fw_fanout_fd(const struct fw_fanout *fanout)
{
    return fanout->epoll;
}

void fw_fanout_attach(struct fw_fanout *fanout, struct fw_direct *client, struct fw_reader *reader, int fd,
                      bool chunked, double patience, double now)
{
    size_t most;
    *client = (struct fw_direct){.reader = reader, .patience = patience, .fd = fd, .chunked = chunked, .since = now};
    link_init(&client->link);
    if (fanout->count++ == 0)
        fanout->sent = now;
    if (fw_laggard_gather(fanout, client, &most))
        fw_laggard_move(fanout, client, FW_DIRECT_WAITING, &fanout->due);
}

/* Whether the running pass still has its window for this member. */
static bool is_unvisited(const struct fw_fanout *fanout, const struct fw_direct *client)
{
    return fanout->is_running && client->stamp != fanout->stamp;
}

/* Takes a member out of the group; a window of the running pass that it was not sent becomes its own, from `offset` on.
 * Returns FW_OK, or FW_ENOMEM if its reader has been cut off. */
static int part(struct fw_fanout *fanout, struct fw_direct *client, size_t offset)
{
    bool owes;
    struct fw_range *range = fanout->owed;
    int status = fw_group_part(fanout->hub, client->reader, &range, &owes);
    if (range != fanout->owed) {
        drop_owed(fanout);
        fanout->owed = range;
        range->references = 1;
    }
    if (owes) {
        client->owed = range;
        client->owed_at = fanout->group.sequence;
        range->references++;
    }
    if (is_unvisited(fanout, client)) {
        struct fw_window *window = fanout->windows[client->chunked];
        client->stamp = fanout->stamp;
        client->window = fw_window_ref(window);
        client->offset = offset;
        fw_laggard_count(client, window->last - window->first, window->text);
    }
    return status;
}

/* Likewise, for one that nothing more is sent to in this pass. */
static void leave(struct fw_fanout *fanout, struct fw_direct *client)
{
    const struct fw_window *window = fanout->windows[client->chunked];
    if (is_unvisited(fanout, client) && window->first == window->last)
        client->stamp = fanout->stamp; /* it can do without a heartbeat */
    part(fanout, client, 0);
}

void fw_fanout_detach(struct fw_fanout *fanout, struct fw_direct *client)
{
    if (client->state == FW_DIRECT_MEMBER)
        leave(fanout, client);
    fw_laggard_move(fanout, client, FW_DIRECT_DETACHED, NULL);
    fanout->count--;
    if (client->owed != NULL) {
        uint64_t bytes, end = client->owed->first + client->owed->count;
        fw_range_stop(client->owed, client->owed_at, end, SIZE_MAX, SIZE_MAX, &bytes);
        fw_laggard_count(client, end - client->owed_at, bytes);
    }
}

/* Makes the windows of `count` events that the members need. Returns FW_OK or FW_ENOMEM. */
static int make_windows(struct fw_fanout *fanout, struct fw_frame *const *frames, uint64_t first, size_t count)
{
    for (int chunked = 0; chunked < 2; chunked++) {
        if (fanout->framings[chunked] == 0)
            continue;
        fanout->windows[chunked] = fw_window_new(frames, first, count, chunked);
        if (fanout->windows[chunked] == NULL) {
            drop_windows(fanout);
            return FW_ENOMEM;
        }
    }
    return FW_OK;
}

static int make_heartbeat(struct fw_fanout *fanout)
{
    static const char text[] = "heartbeat";
    struct fw_event event = {.comment = {text, sizeof text - 1}, .retry = FW_NO_RETRY};
    struct fw_frame *frame;
    int status = fw_frame_format(&event, 0, &frame);
    if (status != FW_OK)
        return status;
    status = make_windows(fanout, &frame, fanout->group.sequence, 1);
    fw_frame_unref(frame);
    for (int chunked = 0; chunked < 2; chunked++)
        if (fanout->windows[chunked] != NULL) { /* no event of the log */
            fanout->windows[chunked]->last = fanout->windows[chunked]->first;
            fanout->windows[chunked]->text = 0;
        }
    return status;
}

/* Moves the group over the events that wait for it, with windows of them. Returns FW_OK, FW_ENOMEM, or FW_EAGAIN if there
 * are none. */
static int make_events(struct fw_fanout *fanout)
{
    struct fw_batch *batch = &fanout->batch;
    int status = fw_group_peek(fanout->hub, &fanout->group, batch);
    if (status != FW_OK)
        return status;
    status = make_windows(fanout, batch->frames, batch->first, batch->count);
    fw_batch_release(batch);
    if (status != FW_OK)
        return status;
    if (!fw_group_advance(fanout->hub, &fanout->group, batch->last)) {
        drop_windows(fanout);
        return FW_EAGAIN;
    }
    for (int chunked = 0; chunked < 2; chunked++)
        if (fanout->windows[chunked] != NULL)
            fw_shelf_put(&fanout->shelf, fanout->windows[chunked]);
    fw_laggard_call(fanout);
    return FW_OK;
}

/* Begins a pass if there is something to send. Returns FW_OK or FW_ENOMEM. */
static int begin(struct fw_fanout *fanout, const struct fw_group_view *view, double now)
{
    int status = make_events(fanout);
    if (status == FW_EAGAIN && fanout->is_beating)
        status = make_heartbeat(fanout);
    else if (status == FW_EAGAIN)
        return FW_OK;
    if (status != FW_OK)
        return status;
    fanout->is_beating = false;
    fanout->is_cut = fanout->group.sequence < view->head;
    fanout->is_running = true;
    fanout->sent = now;
    fanout->stamp++;
    return FW_OK;
}

static void finish(struct fw_fanout *fanout)
{
    fanout->is_running = false;
    drop_windows(fanout);
    struct fw_direct *first = fw_laggard_first(&fanout->members);
    if (first != NULL) /* somebody else is the first of the next pass */
        fw_laggard_move(fanout, first, FW_DIRECT_MEMBER, &fanout->members);
}

/* Sends a member the window. Returns how many bytes its socket took. */
static size_t visit(struct fw_fanout *fanout, struct fw_direct *client, double now)
{
    struct fw_window *window = fanout->windows[client->chunked];
    ssize_t sent = fw_laggard_push(client, window->at, window->size);
    if (sent >= 0 && (size_t)sent == window->size) {
        client->stamp = fanout->stamp;
        fw_laggard_count(client, window->last - window->first, window->text);
        fw_laggard_move(fanout, client, FW_DIRECT_MEMBER, &fanout->members);
        return (size_t)sent;
    }
    size_t offset = sent > 0 ? (size_t)sent : 0;
    if (part(fanout, client, offset) != FW_OK || sent < 0)
        fw_laggard_note(fanout, client, FW_NOTE_BROKEN);
    else
        fw_laggard_lag(fanout, client, now);
    return offset;
}

/* The group was broken: those who were in it read what they are owed each for itself. Returns whether all do. */
static bool scatter(struct fw_fanout *fanout, size_t *clients)
{
    struct fw_direct *client;
    while ((client = fw_laggard_first(&fanout->members)) != NULL) {
        if (*clients == 0)
            return false;
        fw_laggard_move(fanout, client, FW_DIRECT_WAITING, &fanout->due);
        --*clients;
    }
    fw_group_mend(fanout->hub, &fanout->group);
    return true;
}

/* The hub is closed, and its members have everything. */
static void end(struct fw_fanout *fanout, size_t *clients)
{
    struct fw_direct *client;
    while (*clients != 0 && (client = fw_laggard_first(&fanout->members)) != NULL) {
        leave(fanout, client);
        fw_laggard_note(fanout, client, FW_NOTE_ENDED);
        --*clients;
    }
}

/* Between two passes: begins the next, or lets the group go. Returns FW_OK or FW_ENOMEM. */
static int turn(struct fw_fanout *fanout, size_t *clients, double now)
{
    struct fw_group_view view = fw_group_look(fanout->hub, &fanout->group);
    bool is_over = view.is_closed && fanout->group.sequence == view.head;
    if (view.is_broken && !scatter(fanout, clients))
        return FW_OK;
    if (is_over)
        end(fanout, clients);
    if (fw_laggard_first(&fanout->members) != NULL)
        return is_over ? FW_OK : begin(fanout, &view, now);
    fanout->is_beating = false;
    fw_laggard_call(fanout);
    return FW_OK;
}

/* What is left to do once no client is due and no pass is running. */
static enum fw_pass judge(struct fw_fanout *fanout)
{
    struct fw_group_view view = fw_group_look(fanout->hub, &fanout->group);
    bool has_members = fw_laggard_first(&fanout->members) != NULL;
    if (view.is_broken)
        return FW_PASS_MORE;
    if (!has_members && fw_laggard_first(&fanout->ahead) == NULL)
        return FW_PASS_IDLE;
    if (!has_members || view.is_closed || fanout->is_beating)
        return FW_PASS_MORE;
    if (fanout->group.sequence != view.head)
        return fanout->is_cut ? FW_PASS_MORE : FW_PASS_AGAIN;
    return FW_PASS_IDLE;
}

enum fw_pass fw_fanout_pass(struct fw_fanout *fanout, size_t clients, size_t bytes, double now)
{
    size_t sent = 0;
    int status = FW_OK;
    if (fanout->epoll < 0)
        return FW_PASS_IDLE;
    if (!fanout->is_running)
        status = turn(fanout, &clients, now);
    while (clients != 0 && sent < bytes) {
        struct fw_direct *member = fw_laggard_first(&fanout->members);
        if (member != NULL && is_unvisited(fanout, member)) {
            sent += visit(fanout, member, now);
            clients--;
        } else if (fanout->is_running) {
            finish(fanout);
        } else if (fw_laggard_first(&fanout->due) == NULL) {
            break;
        }
        struct fw_direct *due = fw_laggard_first(&fanout->due);
        if (due != NULL && clients != 0) {
            sent += fw_laggard_step(fanout, due, now);
            clients--;
        }
    }
    if (status != FW_OK)
        return FW_PASS_AGAIN;
    if (fanout->is_running || fw_laggard_first(&fanout->due) != NULL)
        return FW_PASS_MORE;
    enum fw_pass pass = judge(fanout);
    if (pass == FW_PASS_IDLE)
        drop_owed(fanout);
    return pass;
}

void fw_fanout_ready(struct fw_fanout *fanout, double now)
{
    struct epoll_event events[READY_CLIENTS];
    /* A step changes the state of its own client alone, and nobody is detached meanwhile: so every event is of a
     * client that is still lagging. */
    int count = epoll_wait(fanout->epoll, events, READY_CLIENTS, 0);
    for (int i = 0; i < count; i++) {
        struct fw_direct *client = events[i].data.ptr;
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            fw_laggard_note(fanout, client, FW_NOTE_BROKEN);
        else
            fw_laggard_step(fanout, client, now);
    }
}

void fw_fanout_beat(struct fw_fanout *fanout)
{
    fanout->is_beating = true;
}

/* Fills the socket of a laggard. Returns how many bytes it took, about `most` at most.
 *
 * The epoll tells of room only once a third of the send buffer is free. So this is how one who reads little is told from
 * one who reads nothing; and once it is full, the latter shows for certain. */
static size_t fill_up(struct fw_fanout *fanout, struct fw_direct *client, size_t most, double now)
{
    size_t filled = 0, sent;
    do
        filled += sent = fw_laggard_step(fanout, client, now);
    while (sent != 0 && filled < most && client->state == FW_DIRECT_LAGGING);
    return filled;
}

bool fw_fanout_expire(struct fw_fanout *fanout, double now)
{
    size_t most = EXPIRE_BYTES, clients = EXPIRE_CLIENTS;
    if (fanout->epoll < 0)
        return false;
    for (struct fw_link *link = fanout->lagging.next, *next; link != &fanout->lagging; link = next) {
        struct fw_direct *client = fw_direct_of(link);
        next = link->next;
        if (client->patience == 0 || now - client->since < client->patience)
            continue;
        if (most == 0 || clients-- == 0)
            return true;
        size_t filled = fill_up(fanout, client, most, now);
        if (filled == 0 && client->state == FW_DIRECT_LAGGING)
            fw_laggard_note(fanout, client, FW_NOTE_STUCK);
        most -= filled < most ? filled : most;
    }
    return false;
}

size_t fw_fanout_laggards(const struct fw_fanout *fanout)
{
    return fanout->laggards;
}

double fw_fanout_sent(const struct fw_fanout *fanout)
{
    return fanout->sent;
}

struct fw_direct *fw_fanout_note(struct fw_fanout *fanout)
{
    struct fw_direct *client = fw_laggard_first(&fanout->notes);
    if (client != NULL)
        fw_laggard_move(fanout, client, FW_DIRECT_NOTED, NULL);
    return client;
}

bool fw_fanout_endangered(struct fw_fanout *fanout)
{
    const struct fw_link *lists[] = {&fanout->members, &fanout->due, &fanout->ahead};
    for (int i = 0; i < 3; i++) {
        const struct fw_direct *client = fw_laggard_first(lists[i]);
        if (client != NULL && fw_hub_endangered(fanout->hub, client->reader))
            return true;
    }
    return false;
}

bool fw_fanout_overflowed(struct fw_fanout *fanout)
{
    const struct fw_direct *member = fw_laggard_first(&fanout->members), *ahead = fw_laggard_first(&fanout->ahead);
    return (member != NULL && fw_hub_fate(fanout->hub, member->reader) == FW_FATE_PRUNED) ||
           (ahead != NULL && fw_hub_fate(fanout->hub, ahead->reader) == FW_FATE_PRUNED);
}

#endif
