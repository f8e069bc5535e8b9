/* Clients of a fan-out with both ends of their sockets. What comes out of a socket, then the rest that a detach gives back,
 * then what the reader still reads must be one gap-free run of whole events, byte by byte, with whole heartbeats in between.
 *
 * send() is wrapped (the Makefile links with --wrap=send): it can be made to take little, nothing, or to fail. */
#ifndef VIEWERS_H
#define VIEWERS_H

#include "core/fanout.h"
#include "core/fanout_state.h"
#include "core/hub_state.h"
#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MOST = 200000
};

/* What has been published to the one hub of a test. */
static struct {
    struct fw_frame *frames[EVENTS_MOST];
    uint64_t head;
} published;

static _Thread_local struct {
    size_t most;              /* bytes that one send takes; 0: as many as the socket does */
    int error;                /* it fails with */
    uint64_t *random;         /* then it takes 1 to 700 bytes or nothing, as these numbers say */
    size_t calls, bytes_most; /* since the last reset, and the largest */
    int descriptors[4096];    /* the first of them */
} sends;

ssize_t __real_send(int fd, const void *at, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *at, size_t size, int flags);

ssize_t __wrap_send(int fd, const void *at, size_t size, int flags)
{
    CHECK_EQ(flags, MSG_DONTWAIT | MSG_NOSIGNAL);
    CHECK(size != 0);
    if (sends.calls < 4096)
        sends.descriptors[sends.calls] = fd;
    sends.calls++;
    if (size > sends.bytes_most)
        sends.bytes_most = size;
    if (sends.error != 0) {
        errno = sends.error;
        return -1;
    }
    if (sends.random != NULL) {
        uint64_t kind = random_below(sends.random, 8);
        if (kind == 0) {
            errno = random_below(sends.random, 2) != 0 ? EAGAIN : EWOULDBLOCK;
            return -1;
        }
        size_t most = 1 + random_below(sends.random, 700);
        if (kind < 4 && size > most)
            size = most;
    }
    if (sends.most != 0 && size > sends.most)
        size = sends.most;
    return __real_send(fd, at, size, flags);
}

static inline void reset_sends(void)
{
    memset(&sends, 0, sizeof sends);
}

/* ---- events ---- */

static inline struct fw_published put_frame(struct fw_hub *hub, struct fw_frame *frame)
{
    struct fw_published result;
    CHECK(published.head < EVENTS_MOST);
    CHECK_EQ(fw_hub_publish(hub, frame, &result), FW_OK);
    if (!fw_hub_counts(hub).closed)
        published.frames[published.head++] = frame;
    else
        fw_frame_unref(frame);
    return result;
}

static inline struct fw_published put(struct fw_hub *hub, size_t size)
{
    return put_frame(hub, sample_frame(published.head, size));
}

static inline uint64_t put_many(struct fw_hub *hub, size_t count, size_t size)
{
    uint64_t pruned = 0;
    while (count-- > 0)
        pruned += put(hub, size).pruned;
    return pruned;
}

static inline struct fw_frame *empty_frame(void)
{
    struct fw_frame *frame;
    CHECK_EQ(fw_frame_wrap((struct fw_text){"", 0}, false, &frame), FW_OK);
    return frame;
}

static inline void forget_events(void)
{
    while (published.head != 0)
        fw_frame_unref(published.frames[--published.head]);
}

/* ---- clients ---- */

struct viewer {
    struct fw_direct direct;
    struct fw_reader reader;
    int ours, theirs;    /* -1: closed */
    bool is_lost;        /* nobody sees what the socket took */
    bool may_be_cut_off; /* an allocation may fail: its stream ends early then */
    uint64_t start;      /* where its reader stood at the attach */
    uint64_t next;       /* the event of which the next bytes are */
    size_t event_bytes;  /* of it that have come, or SIZE_MAX if these bytes are not of it */
    size_t beat_bytes;   /* likewise of a heartbeat */
    uint64_t heartbeats; /* that have come */
};

static inline struct fw_text beat_piece(bool is_chunked)
{
    static const char text[] = "d\r\n: heartbeat\n\n\r\n";
    return is_chunked ? (struct fw_text){text, sizeof text - 1} : (struct fw_text){text + 3, sizeof text - 6};
}

static inline struct fw_text event_piece(const struct viewer *viewer)
{
    return fw_window_piece(published.frames[viewer->next], viewer->direct.chunked);
}

static inline bool is_between_events(const struct viewer *viewer)
{
    return viewer->event_bytes == 0 && viewer->beat_bytes == 0;
}

/* An event without text has no bytes: whether it has come cannot be seen. */
static inline uint64_t past_empty(uint64_t sequence)
{
    while (sequence != published.head && published.frames[sequence]->size == 0)
        sequence++;
    return sequence;
}

static inline void take_byte(size_t *taken, struct fw_text piece, char byte)
{
    if (*taken != SIZE_MAX)
        *taken = piece.at[*taken] == byte ? *taken + 1 : SIZE_MAX;
}

/* The next bytes of the stream. */
static inline void feed(struct viewer *viewer, const char *at, size_t size)
{
    for (const char *end = at + size; at != end; at++) {
        struct fw_text beat = beat_piece(viewer->direct.chunked), event = {NULL, 0};
        if (is_between_events(viewer))
            viewer->next = past_empty(viewer->next);
        if (viewer->next != published.head) {
            event = event_piece(viewer);
            take_byte(&viewer->event_bytes, event, *at);
        } else {
            viewer->event_bytes = SIZE_MAX;
        }
        take_byte(&viewer->beat_bytes, beat, *at);
        CHECK(viewer->event_bytes != SIZE_MAX || viewer->beat_bytes != SIZE_MAX);
        bool is_event = viewer->event_bytes == event.size, is_beat = viewer->beat_bytes == beat.size;
        viewer->next += is_event;
        viewer->heartbeats += is_beat;
        if (is_event || is_beat)
            viewer->event_bytes = viewer->beat_bytes = 0;
    }
}

static inline void open_sockets(struct viewer *viewer)
{
    int pair[2], least = 1;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQ(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    viewer->ours = pair[0];
    viewer->theirs = pair[1];
}

/* `viewer` has a joined reader that reads by itself no more. */
static inline void attach(struct fw_fanout *fanout, struct viewer *viewer, bool is_chunked, double patience, double now)
{
    open_sockets(viewer);
    viewer->start = viewer->next = viewer->reader.sequence;
    viewer->event_bytes = viewer->beat_bytes = 0;
    viewer->heartbeats = 0;
    viewer->is_lost = false;
    fw_fanout_attach(fanout, &viewer->direct, &viewer->reader, viewer->ours, is_chunked, patience, now);
}

/* Joins at the head and attaches. */
static inline void arrive(struct fw_hub *hub, struct fw_fanout *fanout, struct viewer *viewer, bool is_chunked)
{
    fw_hub_join(hub, &viewer->reader, 1);
    attach(fanout, viewer, is_chunked, 0, 0);
    fw_hub_check(hub);
}

/* Takes at most `most` bytes out of the socket. Returns how many. */
static inline size_t watch(struct viewer *viewer, size_t most)
{
    static char bytes[1 << 16];
    size_t taken = 0;
    while (taken != most) {
        ssize_t size = recv(viewer->theirs, bytes, most - taken < sizeof bytes ? most - taken : sizeof bytes, 0);
        if (size <= 0)
            break;
        feed(viewer, bytes, (size_t)size);
        taken += (size_t)size;
    }
    return taken;
}

static inline size_t watch_all(struct viewer *viewer)
{
    return watch(viewer, SIZE_MAX);
}

static inline uint64_t text_of(uint64_t from, uint64_t to)
{
    uint64_t text = 0;
    for (; from != to; from++)
        text += published.frames[from]->size;
    return text;
}

/* Detaches; from then on the reader reads what comes behind the bytes that have come. */
static inline size_t detach(struct fw_hub *hub, struct fw_fanout *fanout, struct viewer *viewer)
{
    struct fw_direct *direct = &viewer->direct;
    fw_fanout_detach(fanout, direct);
    fw_hub_check(hub);
    size_t size = fw_direct_rest(direct);
    char *rest = malloc(size + 1);
    rest[size] = 1;
    fw_direct_take_rest(direct, rest);
    CHECK_EQ(rest[size], 1);
    fw_direct_release(direct);
    fw_direct_release(direct);
    CHECK_EQ(fw_direct_rest(direct), 0);
    if (!viewer->is_lost) {
        watch_all(viewer);
        feed(viewer, rest, size);
        CHECK(is_between_events(viewer));
        CHECK_EQ(past_empty(viewer->next), past_empty(viewer->start + direct->events));
    }
    viewer->next = viewer->start + direct->events;
    if (viewer->reader.sequence != viewer->next)
        CHECK(viewer->may_be_cut_off && viewer->reader.sequence == viewer->reader.end);
    CHECK_EQ(direct->bytes, text_of(viewer->start, viewer->next));
    free(rest);
    close(viewer->ours);
    if (viewer->theirs >= 0)
        close(viewer->theirs);
    viewer->ours = viewer->theirs = -1;
    return size;
}

/* Reads with the reader of a detached client all that there is. Returns the status of the last read. */
static inline int read_on(struct fw_hub *hub, struct viewer *viewer, size_t max_events)
{
    static struct fw_batch batch;
    int status;
    while ((status = fw_hub_read(hub, &viewer->reader, max_events, 0, &batch)) == FW_OK) {
        CHECK_EQ(batch.first, viewer->next);
        for (size_t i = 0; i < batch.count; i++)
            CHECK(batch.frames[i] == published.frames[viewer->next++]);
        fw_batch_release(&batch);
        fw_hub_check(hub);
    }
    return status;
}

static inline void leave(struct fw_hub *hub, struct viewer *viewer)
{
    fw_hub_leave(hub, &viewer->reader);
    fw_hub_check(hub);
}

/* Detaches and leaves. */
static inline void go(struct fw_hub *hub, struct fw_fanout *fanout, struct viewer *viewer)
{
    detach(hub, fanout, viewer);
    leave(hub, viewer);
}

/* ---- the fan-out ---- */

static inline struct fw_fanout *open_fanout(struct fw_hub *hub)
{
    struct fw_fanout *fanout;
    CHECK_EQ(fw_fanout_new(hub, &fanout), FW_OK);
    return fanout;
}

static inline void close_both(struct fw_hub *hub, struct fw_fanout *fanout)
{
    fw_fanout_free(fanout);
    CHECK_EQ(fw_hub_counts(hub).frames, fw_hub_counts(hub).history_events);
    fw_hub_check(hub);
    fw_hub_unref(hub);
    forget_events();
    reset_sends();
}

static inline size_t length_of(const struct fw_link *list, uint8_t state)
{
    size_t length = 0;
    for (struct fw_link *link = list->next; link != list; link = link->next) {
        CHECK(link->next->previous == link && link->previous->next == link);
        CHECK_EQ(fw_direct_of(link)->state, state);
        length++;
    }
    return length;
}

/* Every client is where its state says; returns how many of them are members. */
static inline size_t check_fanout(const struct fw_fanout *fanout)
{
    size_t members = length_of(&fanout->members, FW_DIRECT_MEMBER);
    size_t lagging = length_of(&fanout->lagging, FW_DIRECT_LAGGING);
    size_t framings[2] = {0}, unvisited = 0;
    bool was_visited = false;
    for (struct fw_link *link = fanout->members.next; link != &fanout->members; link = link->next) {
        const struct fw_direct *client = fw_direct_of(link);
        bool is_visited = client->stamp == fanout->stamp;
        CHECK(!was_visited || is_visited); /* the unvisited come first */
        was_visited = is_visited;
        unvisited += !is_visited;
        framings[client->chunked]++;
        CHECK(client->window == NULL && client->owed == NULL && client->note == FW_NOTE_NONE);
        CHECK(client->reader->group == &fanout->group || fanout->group.is_broken);
    }
    CHECK(framings[0] == fanout->framings[0] && framings[1] == fanout->framings[1]);
    CHECK(fanout->is_running || (unvisited == 0 && fanout->windows[0] == NULL && fanout->windows[1] == NULL));
    CHECK_EQ(lagging, fanout->laggards);
    CHECK(members + lagging + length_of(&fanout->due, FW_DIRECT_WAITING) +
              length_of(&fanout->ahead, FW_DIRECT_WAITING) + length_of(&fanout->notes, FW_DIRECT_NOTED) <=
          fanout->count);
    return members;
}

static inline bool is_readable(const struct fw_fanout *fanout)
{
    struct pollfd entry = {.fd = fw_fanout_fd(fanout), .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

/* Runs slices until there is nothing left to do. Returns how many. */
static inline size_t run(struct fw_hub *hub, struct fw_fanout *fanout, double now)
{
    size_t slices = 1;
    while (fw_fanout_pass(fanout, 64, 1 << 20, now) != FW_PASS_IDLE) {
        check_fanout(fanout);
        fw_hub_check(hub);
        CHECK(slices++ < 100000);
    }
    check_fanout(fanout);
    fw_hub_check(hub);
    return slices;
}

/* How many sockets the private epoll watches. */
static inline size_t count_armed(const struct fw_fanout *fanout)
{
    char name[64], line[256];
    size_t armed = 0;
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fw_fanout_fd(fanout));
    FILE *file = fopen(name, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        armed += strncmp(line, "tfd:", 4) == 0;
    fclose(file);
    return armed;
}

#endif
