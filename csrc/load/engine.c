#define _GNU_SOURCE /* IP_BIND_ADDRESS_NO_PORT, SOCK_NONBLOCK */
#include "load/engine.h"

#include "core/alloc.h"
#include "core/status.h"
#include "load/due.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000) /* ns */
#define TICK (SECOND / 10)          /* between two calls of plan->tick */
#define RETRY SECOND                /* before a reconnect, where the server has not said */
#define CONNECTING_MAX 256          /* handshakes under way: a full backlog slows the ramp, not the server */
#define CONNECTS_MAX 64             /* begun in one turn, so that open streams are read in between */
#define BATCH 256                   /* notices in one turn */
#define READ_SIZE (256 * 1024)      /* one read of one stream; stays within the second level cache */
#define SOURCE_STREAMS 4000         /* streams from one local address */
#define BURST_SHARE 0.02            /* of a second's connects may be made up for at once */

enum phase {
    IDLE, /* no socket */
    CONNECTING,
    ASKING, /* connected; the request has not been sent in full */
    READING,
};

struct slot {
    struct fw_stream stream;
    int fd;
    uint32_t generation; /* of its connections; a notice of an older one is stale */
    uint32_t sent;       /* bytes of the request */
    uint8_t phase;
    uint8_t address; /* which it was connected to */
};

struct engine {
    const struct fw_plan *plan;
    struct fw_tally *tally;
    int epoll;
    struct slot *slots;
    struct fw_due_heap waiting;
    char *input;
    uint32_t next; /* the first stream that was never tried */
    uint32_t busy; /* slots with a socket */
    uint32_t connecting;
    uint8_t address; /* of the plan; the same for all */
    double tokens;   /* connects that may be begun now */
    uint64_t now;    /* monotonic, of this turn */
    uint64_t ticked;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static uint32_t number_of(const struct engine *engine, const struct slot *slot)
{
    return (uint32_t)(slot - engine->slots);
}

/* ---- the end of a connection ---- */

static void drop(struct engine *engine, struct slot *slot)
{
    if (slot->fd < 0)
        return;
    close(slot->fd); /* leaves the epoll too */
    engine->connecting -= slot->phase == CONNECTING;
    engine->busy--;
    slot->fd = -1;
    slot->phase = IDLE;
    slot->generation++;
}

static void come_back(struct engine *engine, struct slot *slot)
{
    const struct fw_parse *parse = &slot->stream.parse;
    uint64_t wait = RETRY;
    drop(engine, slot);
    if (!engine->plan->reconnects || !slot->stream.was_open)
        return;
    if (parse->has_retry) /* a day is as good as for ever */
        wait = (parse->retry < 86400000 ? (uint64_t)parse->retry : 86400000) * (SECOND / 1000);
    fw_due_push(&engine->waiting, (struct fw_due){engine->now + wait, number_of(engine, slot)});
}

static void lost_connection(struct engine *engine, struct slot *slot)
{
    fw_stream_closed(&slot->stream, true, engine->tally);
    come_back(engine, slot);
}

/* ---- connecting ---- */

/* Lets a stream of a loopback target come from 127.0.0.1, 127.0.0.2, ..., a new one after each SOURCE_STREAMS. There are
 * about 28,000 ports for each, and the kernel's search for a free one gets slow long before they run out. */
static int bind_source(int fd, const struct sockaddr_in *to, uint32_t number)
{
    const int yes = 1; /* the port is chosen at the connect, when the other end is known */
    uint32_t source = number / SOURCE_STREAMS;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    if (source == 0 || to->sin_family != AF_INET || ntohl(to->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
        return 0;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes) < 0)
        return -1;
    return bind(fd, (const void *)&from, sizeof from);
}

/* Returns a socket that connects or has connected, or -1 with errno. */
static int begin_connect(const struct engine *engine, const struct slot *slot)
{
    const struct sockaddr *to = (const void *)&engine->plan->addresses[slot->address];
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind_source(fd, (const void *)to, number_of(engine, slot)) == 0 &&
        (connect(fd, to, engine->plan->address_sizes[slot->address]) == 0 || errno == EINPROGRESS))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_slot(struct engine *engine, struct slot *slot);

/* As long as nothing has answered, the host's next address gets its chance. */
static int failed_connect(struct engine *engine, struct slot *slot, int error)
{
    drop(engine, slot);
    if (engine->tally->opened == 0 &&
        (slot->address != engine->address || (size_t)engine->address + 1 < engine->plan->address_count)) {
        if (slot->address == engine->address)
            engine->address++;
        return open_slot(engine, slot);
    }
    engine->tally->failures[FW_FAILURE_CONNECT]++;
    engine->tally->connect_error = error;
    come_back(engine, slot);
    return FW_OK;
}

static int open_slot(struct engine *engine, struct slot *slot)
{
    slot->address = engine->address;
    slot->sent = 0;
    slot->fd = begin_connect(engine, slot);
    if (slot->fd < 0)
        return failed_connect(engine, slot, errno);
    slot->phase = CONNECTING;
    engine->connecting++;
    engine->busy++;
    struct epoll_event interest = {EPOLLOUT, {.u64 = (uint64_t)slot->generation << 32 | number_of(engine, slot)}};
    return epoll_ctl(engine->epoll, EPOLL_CTL_ADD, slot->fd, &interest) == 0 ? FW_OK : FW_ESYSTEM;
}

/* Begins as many connects as rate and handshakes under way allow: streams that come back first. */
static int open_some(struct engine *engine)
{
    for (int begun = 0; begun < CONNECTS_MAX && engine->connecting < CONNECTING_MAX && engine->tokens >= 1; begun++) {
        struct slot *slot;
        if (engine->waiting.size != 0 && engine->waiting.at[0].time <= engine->now) {
            slot = &engine->slots[fw_due_pop(&engine->waiting).stream];
        } else if (engine->next < engine->plan->streams) {
            slot = &engine->slots[engine->next++];
            engine->tally->tried++;
        } else {
            break;
        }
        engine->tokens--;
        int status = open_slot(engine, slot);
        if (status != FW_OK)
            return status;
    }
    return FW_OK;
}

/* ---- one stream's turn ---- */

/* Writes the request into the input buffer, which nobody uses just now. Returns its size. */
static size_t write_request(struct engine *engine, struct fw_text id)
{
    static const char name[] = "Last-Event-ID: ";
    struct fw_text request = engine->plan->request;
    char *at = engine->input;
    memcpy(at, request.at, request.size);
    at += request.size;
    if (id.size != 0 && request.size + id.size + sizeof name + 4 <= READ_SIZE) {
        memcpy(at, name, sizeof name - 1);
        memcpy(at += sizeof name - 1, id.at, id.size);
        memcpy(at += id.size, "\r\n", 2);
        at += 2;
    }
    memcpy(at, "\r\n", 2);
    return (size_t)(at + 2 - engine->input);
}

static int ask(struct engine *engine, struct slot *slot)
{
    struct fw_text id = slot->sent == 0 ? fw_stream_begin(&slot->stream) : slot->stream.parse.last_id.text;
    size_t size = write_request(engine, id);
    ssize_t sent = send(slot->fd, engine->input + slot->sent, size - slot->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        lost_connection(engine, slot);
        return FW_OK;
    }
    slot->sent += sent > 0 ? (uint32_t)sent : 0;
    if (slot->sent < size)
        return FW_OK;
    slot->phase = READING;
    struct epoll_event interest = {EPOLLIN, {.u64 = (uint64_t)slot->generation << 32 | number_of(engine, slot)}};
    return epoll_ctl(engine->epoll, EPOLL_CTL_MOD, slot->fd, &interest) == 0 ? FW_OK : FW_ESYSTEM;
}

static int connected(struct engine *engine, struct slot *slot)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return FW_ESYSTEM;
    if (error != 0)
        return failed_connect(engine, slot, error);
    engine->connecting--;
    slot->phase = ASKING;
    return ask(engine, slot);
}

/* One read, however much waits: every stream has its turn. */
static int read_some(struct engine *engine, struct slot *slot)
{
    ssize_t got = recv(slot->fd, engine->input, READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return FW_OK;
    if (got < 0) {
        lost_connection(engine, slot);
        return FW_OK;
    }
    if (got == 0) {
        fw_stream_closed(&slot->stream, false, engine->tally);
        come_back(engine, slot);
        return FW_OK;
    }
    switch (fw_stream_feed(&slot->stream, engine->input, (size_t)got, clock_ns(CLOCK_REALTIME), &engine->plan->keys,
                           engine->tally)) {
    case FW_STREAM_ON:
        break;
    case FW_STREAM_END:
        come_back(engine, slot);
        break;
    case FW_STREAM_REFUSED:
        drop(engine, slot);
        break;
    case FW_STREAM_NOMEM:
        return FW_ENOMEM;
    }
    return FW_OK;
}

static int take_notice(struct engine *engine, uint64_t notice)
{
    struct slot *slot = &engine->slots[(uint32_t)notice];
    if (slot->fd < 0 || slot->generation != (uint32_t)(notice >> 32))
        return FW_OK;
    switch (slot->phase) {
    case CONNECTING:
        return connected(engine, slot);
    case ASKING:
        return ask(engine, slot);
    default:
        return read_some(engine, slot);
    }
}

/* ---- the loop ---- */

static void refill(struct engine *engine, uint64_t now)
{
    double most = engine->plan->rate * BURST_SHARE;
    engine->tokens += (double)(now - engine->now) / (double)SECOND * engine->plan->rate;
    if (engine->tokens > (most > 1 ? most : 1))
        engine->tokens = most > 1 ? most : 1;
    engine->now = now;
}

/* Returns how many ms to sleep at most: until the next tick, the end, the next reconnect or connect. */
static int patience(const struct engine *engine, uint64_t end)
{
    uint64_t until = engine->ticked + TICK < end ? engine->ticked + TICK : end;
    bool is_wanted = engine->next < engine->plan->streams;
    if (engine->waiting.size != 0) {
        uint64_t due = engine->waiting.at[0].time;
        is_wanted = is_wanted || due <= engine->now;
        until = due < until ? due : until;
    }
    if (is_wanted && engine->connecting < CONNECTING_MAX) {
        double missing = engine->tokens < 1 ? (1 - engine->tokens) / engine->plan->rate * (double)SECOND : 0;
        if (missing < (double)TICK && engine->now + (uint64_t)missing < until)
            until = engine->now + (uint64_t)missing;
    }
    return until > engine->now ? (int)((until - engine->now + 999999) / 1000000) : 0;
}

static int run(struct engine *engine)
{
    const struct fw_plan *plan = engine->plan;
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    uint64_t end = start + (uint64_t)(plan->seconds * (double)SECOND);
    struct epoll_event notices[BATCH];
    engine->now = engine->ticked = start;
    engine->tokens = 1;
    for (;;) {
        int status = open_some(engine);
        if (status != FW_OK)
            return status;
        if (engine->busy == 0 && engine->waiting.size == 0 && engine->next == plan->streams)
            return FW_OK;
        int count = epoll_wait(engine->epoll, notices, BATCH, patience(engine, end));
        if (count < 0 && errno != EINTR)
            return FW_ESYSTEM;
        refill(engine, clock_ns(CLOCK_MONOTONIC));
        bool is_time = count < 0 || engine->now - engine->ticked >= TICK;
        for (int i = 0; i < count; i++) {
            status = take_notice(engine, notices[i].data.u64);
            if (status != FW_OK)
                return status;
        }
        if (is_time) {
            engine->ticked = engine->now;
            if (!plan->tick(plan->context))
                return FW_OK;
        }
        if (engine->now >= end)
            return FW_OK;
    }
}

static void close_all(struct engine *engine)
{
    for (uint32_t i = 0; engine->slots != NULL && i < engine->plan->streams; i++) {
        drop(engine, &engine->slots[i]);
        fw_stream_free(&engine->slots[i].stream);
    }
    if (engine->epoll >= 0)
        close(engine->epoll);
}

int fw_engine_run(const struct fw_plan *plan, struct fw_tally *tally)
{
    struct engine engine = {.plan = plan, .tally = tally, .epoll = -1};
    size_t slots_size = plan->streams * sizeof *engine.slots, heap_size = plan->streams * sizeof *engine.waiting.at;
    int status = FW_ENOMEM, error;
    if (plan->request.size + 2 > READ_SIZE)
        return FW_ESIZE;
    engine.slots = fw_alloc(slots_size);
    if (engine.slots == NULL)
        goto done;
    for (uint32_t i = 0; i < plan->streams; i++)
        engine.slots[i] = (struct slot){.fd = -1};
    engine.waiting.at = fw_alloc(heap_size);
    engine.input = fw_alloc(READ_SIZE);
    if (engine.waiting.at == NULL || engine.input == NULL)
        goto done;
    status = FW_ESYSTEM;
    engine.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (engine.epoll >= 0)
        status = run(&engine);
done:
    error = errno;
    close_all(&engine);
    fw_free(engine.slots, slots_size);
    fw_free(engine.waiting.at, heap_size);
    fw_free(engine.input, READ_SIZE);
    errno = error;
    return status;
}
