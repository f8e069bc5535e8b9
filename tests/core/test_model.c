/* The hub against a model that keeps a queue per client, as the original Broadcaster does, and a list of all events for
 * those who come back: the same random calls go to both, and after each of them both must tell the same. */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "sample.h"

#include <stdbool.h>

enum {
    CLIENTS = 16,
    QUEUE = 256,
    STEPS = 20000,     /* the most in one hub's life */
    EPISODES = 10,     /* hubs for each of the configurations with each of the histories, */
    LEAST = 80000,     /* which go on until there were so many steps */
    LONGEST_QUEUE = 90 /* where there is no limit: somebody that far behind reads everything */
};

struct client {
    bool joined;
    bool counted;  /* by its weight */
    bool receives; /* whether new events go into its queue */
    bool pruned;
    bool catches_up; /* it came back, and reads from the list of all events up to `end` */
    bool finished;
    uint64_t end;
    uint32_t weight;
    uint64_t queue[QUEUE]; /* events by their number; those at [first, last), modulo QUEUE */
    size_t first, last;
    uint64_t bytes;    /* in the queue */
    uint64_t position; /* the event it reads next, were there one */
    struct fw_reader reader;
};

static struct {
    struct client clients[CLIENTS];
    uint64_t sizes[STEPS]; /* of every event */
    uint64_t head;
    uint64_t tail;                                             /* the oldest that is still there */
    uint64_t count;                                            /* of clients, by weight */
    uint64_t joins[FW_JOINS], pruned, pruned_by_bytes, passed; /* likewise, ever */
    bool closed;
    bool has_ids;
    struct fw_limits limits;
    struct fw_history history;
    struct fw_id id; /* one of this hub */
} model;

static struct fw_hub *hub;
static uint64_t state;
static uint64_t steps, pruned_ever, ended_ever, known_ever, passed_ever, seams_ever, joins_ever[FW_JOINS];

/* The model. */

static void model_join(struct client *client, uint32_t weight, enum fw_join join)
{
    *client = (struct client){
        .joined = true,
        .counted = !model.closed,
        .receives = !model.closed,
        .weight = weight,
        .position = model.head,
        .end = FW_FOREVER,
    };
    model.count += client->counted ? weight : 0;
    model.joins[join] += client->counted ? weight : 0;
}

/* `id` is NULL for none. Returns how the client begins. */
static enum fw_join model_resume(struct client *client, uint32_t weight, const struct fw_id *id)
{
    bool is_ours = id != NULL && memcmp(id->epoch, model.id.epoch, FW_EPOCH_DIGITS) == 0;
    enum fw_join join = FW_JOIN_RESUMED;
    if (model.closed)
        join = FW_JOIN_LIVE;
    else if (id == NULL || (is_ours && id->digits != FW_POSITION_DIGITS))
        join = FW_JOIN_INVALID;
    else if (!is_ours)
        join = FW_JOIN_EPOCH;
    else if (id->position.low > model.head)
        join = FW_JOIN_FUTURE;
    else if (id->position.low < model.tail)
        join = FW_JOIN_EVICTED;
    model_join(client, weight, join);
    if (join != FW_JOIN_LIVE)
        client->position = join == FW_JOIN_RESUMED ? id->position.low : model.tail;
    client->catches_up = client->position != model.head;
    client->receives = !client->catches_up && !model.closed;
    return join;
}

/* Whether what it needs next is gone. */
static bool model_has_passed(const struct client *client)
{
    return client->catches_up && client->position < model.tail && client->position < client->end;
}

/* How many events it could read. */
static uint64_t model_waiting(const struct client *client)
{
    if (!client->catches_up)
        return client->last - client->first;
    if (model_has_passed(client))
        return 0;
    return (client->end < model.head ? client->end : model.head) - client->position;
}

static uint64_t model_event(const struct client *client, size_t n)
{
    return client->catches_up ? client->position + n : client->queue[(client->first + n) % QUEUE];
}

static void model_uncount(struct client *client)
{
    model.count -= client->counted ? client->weight : 0;
    client->counted = client->receives = false;
}

static bool model_has_too_many(const struct client *client)
{
    return model.limits.events != 0 && client->last - client->first >= model.limits.events;
}

static bool model_has_too_much(const struct client *client, uint64_t size)
{
    uint64_t queued = client->last - client->first;
    return model.limits.bytes != 0 && queued != 0 && client->bytes + size > model.limits.bytes;
}

/* Returns the weight of the pruned. */
static uint64_t model_publish(uint64_t size)
{
    uint64_t pruned = 0;
    if (model.closed)
        return 0;
    for (struct client *client = model.clients; client != model.clients + CLIENTS; client++) {
        if (!client->joined || !client->receives)
            continue;
        if (model_has_too_many(client) || model_has_too_much(client, size)) {
            pruned += client->weight;
            model.pruned_by_bytes += model_has_too_many(client) ? 0 : client->weight;
            model_uncount(client);
            client->pruned = true;
        } else {
            CHECK(client->last - client->first < QUEUE);
            client->queue[client->last++ % QUEUE] = model.head;
            client->bytes += size;
        }
    }
    model.sizes[model.head++] = size;
    model.pruned += pruned;
    return pruned;
}

/* How many events one read returns. */
static size_t model_stop(const struct client *client, size_t max_events)
{
    size_t count = 0, waiting = model_waiting(client);
    for (uint64_t bytes = 0; count < waiting && count < max_events; count++) {
        bytes += model.sizes[model_event(client, count)];
        if (bytes > 65536 && count != 0)
            break;
    }
    return count;
}

static void model_pop(struct client *client, uint64_t event)
{
    CHECK_EQ(model_event(client, 0), event);
    client->position = event + 1;
    if (!client->catches_up) {
        client->first++;
        client->bytes -= model.sizes[event];
    } else if (client->position == model.head) {
        client->catches_up = false;
        client->receives = !client->finished && !model.closed;
        seams_ever++;
    }
}

/* The first of the last events that the history has room for. */
static uint64_t model_history_start(void)
{
    uint64_t start = model.head, bytes = 0;
    while (start != 0 && model.head - start < model.history.events) {
        bytes += model.sizes[start - 1];
        if (model.history.bytes != 0 && bytes > model.history.bytes)
            break;
        start--;
    }
    return start;
}

/* The first event that somebody in the log needs. One that was finished stays in the log until a limit throws it out,
 * which its client cannot see; so the hub is asked about those. */
static uint64_t oldest_needed(void)
{
    uint64_t oldest = model.head;
    for (struct client *client = model.clients; client != model.clients + CLIENTS; client++) {
        bool is_in_log = client->joined && !client->pruned && !client->catches_up &&
                         (client->receives || fw_hub_fate(hub, &client->reader) != FW_FATE_PRUNED);
        if (is_in_log && client->position < oldest)
            oldest = client->position;
    }
    return oldest;
}

/* What is neither needed nor history goes, for good. */
static void model_trim(void)
{
    uint64_t oldest = oldest_needed(), start = model_history_start();
    uint64_t tail = oldest < start ? oldest : start;
    if (tail > model.tail)
        model.tail = tail;
}

/* Each call on both. */

static uint32_t random_weight(void)
{
    static const uint32_t weights[] = {1, 1, 1, 1, 2, 3, 100, 0};
    return weights[random_below(&state, 8)];
}

static void join(struct client *client)
{
    model_join(client, random_weight(), FW_JOIN_LIVE);
    fw_hub_join(hub, &client->reader, client->weight);
}

static void resume(struct client *client)
{
    struct fw_id id = model.id;
    uint64_t kind = random_below(&state, 16), behind = random_below(&state, kind % 2 == 0 ? 8 : 200);
    id.position.low = behind < model.head ? model.head - behind : 0;
    if (kind == 0)
        id.position.low = model.head + 1 + random_below(&state, 3);
    if (kind == 1)
        id.position.low = UINT64_MAX;
    if (kind == 2 || kind == 3)
        id.epoch[random_below(&state, FW_EPOCH_DIGITS)] = '7';
    if (kind == 3 || kind == 4)
        id.digits = random_below(&state, 2) == 0 ? FW_POSITION_DIGITS_MAX : 1;
    const struct fw_id *given = kind == 5 ? NULL : &id;
    enum fw_join join = model_resume(client, random_weight(), given);
    CHECK_EQ(fw_hub_resume(hub, &client->reader, client->weight, given), join);
    joins_ever[join]++;
}

static void leave(struct client *client)
{
    if (model_has_passed(client))
        model.passed += client->counted ? client->weight : 0;
    model_uncount(client);
    client->joined = false;
    fw_hub_leave(hub, &client->reader);
    model_trim();
}

static void publish(uint64_t size)
{
    bool with_id = model.has_ids && random_below(&state, 4) != 0;
    size += with_id ? SAMPLE_ID_LINE : 0;
    struct fw_frame *frame = NULL;
    struct fw_published published;
    CHECK_EQ(sample_format(model.head, size, with_id, &frame), FW_OK);
    uint64_t sequence = model.head, pruned = model_publish(size);
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    fw_frame_unref(frame);
    CHECK_EQ(published.sequence, sequence);
    CHECK_EQ(published.pruned, pruned);
    CHECK_EQ(published.clients, model.count);
    pruned_ever += pruned;
    model_trim();
}

static void check_id(struct fw_id id, uint64_t position)
{
    CHECK(id.digits == FW_POSITION_DIGITS && id.position.high == 0 &&
          memcmp(id.epoch, model.id.epoch, FW_EPOCH_DIGITS) == 0);
    CHECK_EQ(id.position.low, position);
}

static void read_some(struct client *client, size_t max_events)
{
    static struct fw_batch batch;
    size_t count = model_stop(client, max_events);
    uint64_t first = client->position, last = first + count;
    bool is_known = count != 0 && random_below(&state, 16) == 0;
    uint64_t known = is_known ? last : random_below(&state, 4) == 0 ? last + 1 : 0;
    int status = fw_hub_read(hub, &client->reader, max_events, known, &batch);
    if (count == 0) {
        CHECK_EQ(status, client->receives ? FW_EAGAIN : FW_EEND);
        if (model_has_passed(client)) {
            passed_ever += client->counted;
            model.passed += client->counted ? client->weight : 0;
            model_uncount(client);
        }
        CHECK_EQ(batch.count, 0);
        ended_ever += status == FW_EEND;
        return;
    }
    CHECK_EQ(status, FW_OK);
    CHECK_EQ(batch.first, first);
    CHECK_EQ(batch.last, last);
    CHECK_EQ(batch.count, is_known ? 0 : count);
    for (size_t i = 0; i < count; i++) {
        model_pop(client, first + i);
        if (is_known)
            continue;
        CHECK_EQ(sample_number(batch.frames[i]), first + i);
        CHECK_EQ(batch.frames[i]->size, model.sizes[first + i]);
        if (batch.frames[i]->id_at != 0)
            check_id(sample_id(batch.frames[i]), first + i + 1);
    }
    known_ever += is_known;
    fw_batch_release(&batch);
    model_trim();
}

static void finish(struct client *client)
{
    model_uncount(client);
    client->finished = true;
    if (client->end > model.head)
        client->end = model.head;
    fw_hub_finish(hub, &client->reader, false);
}

static void close_both(void)
{
    for (struct client *client = model.clients; client != model.clients + CLIENTS; client++)
        if (client->joined)
            model_uncount(client);
    model.closed = true;
    fw_hub_close(hub);
}

static void set_limits(void)
{
    bool is_empty = true;
    for (size_t i = 0; i < CLIENTS; i++)
        is_empty = is_empty && !model.clients[i].joined;
    struct fw_limits limits = is_empty ? model.limits : (struct fw_limits){1000, 1000000};
    struct fw_history history = {0};
    if (model.has_ids)
        history = (struct fw_history){random_below(&state, 50), random_below(&state, 2) * random_below(&state, 2000)};
    CHECK_EQ(fw_hub_set_limits(hub, limits, history), is_empty ? FW_OK : FW_EBUSY);
    if (is_empty)
        model.history = history;
    model_trim();
}

static void compare_counts(void)
{
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK_EQ(counts.clients, model.count);
    CHECK_EQ(counts.head, model.head);
    CHECK_EQ(counts.closed, model.closed);
    CHECK_EQ(counts.pruned, model.pruned);
    CHECK_EQ(counts.pruned_by_bytes, model.pruned_by_bytes);
    CHECK_EQ(counts.passed, model.passed);
    uint64_t total = 0;
    for (int join = 0; join < FW_JOINS; join++) {
        CHECK_EQ(counts.joins[join], model.joins[join]);
        total += model.joins[join];
    }
    CHECK_EQ(counts.total, total);
    CHECK_EQ(counts.lag, model.head - oldest_needed());
    CHECK_EQ(counts.frames, model.head - model.tail);
    uint64_t bytes = 0, history_events = 0, history_bytes = 0;
    for (uint64_t event = model.head; event != model.tail;) {
        bytes += model.sizes[--event];
        if (history_events < model.history.events && (model.history.bytes == 0 || bytes <= model.history.bytes)) {
            history_events++;
            history_bytes = bytes;
        }
    }
    CHECK_EQ(counts.bytes, bytes);
    CHECK_EQ(counts.history_events, history_events);
    CHECK_EQ(counts.history_bytes, history_bytes);
}

static enum fw_fate model_fate(const struct client *client)
{
    return client->pruned             ? FW_FATE_PRUNED
           : model_has_passed(client) ? FW_FATE_PASSED
           : model.closed             ? FW_FATE_CLOSED
           : client->finished         ? FW_FATE_FINISHED
                                      : FW_FATE_NONE;
}

static void compare(void)
{
    fw_hub_check(hub);
    compare_counts();
    struct client *client = &model.clients[random_below(&state, CLIENTS)];
    if (!client->joined)
        return;
    char text[FW_ID_SIZE_MAX];
    struct fw_id id;
    fw_hub_id(hub, &client->reader, text);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &id), FW_OK);
    check_id(id, client->position);
    CHECK_EQ(client->reader.sequence, client->position);
    CHECK_EQ(fw_hub_ready(hub, &client->reader), model_waiting(client) != 0 || !client->receives);
    bool is_in_log_unseen = client->finished && !client->catches_up && !client->pruned; /* see oldest_needed */
    enum fw_fate fate = fw_hub_fate(hub, &client->reader);
    CHECK(fate == model_fate(client) || (is_in_log_unseen && fate == FW_FATE_PRUNED));
    if (client->pruned || client->receives || client->catches_up) {
        uint64_t queued = client->last - client->first;
        bool is_half_full = (model.limits.events != 0 && 2 * queued > model.limits.events) ||
                            (model.limits.bytes != 0 && 2 * client->bytes > model.limits.bytes);
        CHECK_EQ(fw_hub_endangered(hub, &client->reader), client->receives && is_half_full);
    }
}

struct config {
    struct fw_limits limits;
    uint64_t sizes[4]; /* of events, each as likely */
};

static const struct config configs[] = {
    {{0, 0}, {28, 28, 40, 100}},    {{1, 0}, {28, 28, 40, 100}},
    {{2, 0}, {28, 28, 40, 100}},    {{7, 0}, {28, 28, 40, 100}},
    {{64, 0}, {28, 28, 40, 100}},   {{0, 1}, {28, 28, 40, 100}}, /* less than any event */
    {{0, 300}, {28, 29, 100, 301}}, {{0, 1500}, {28, 50, 70, 1499}},
    {{6, 250}, {28, 50, 70, 1000}}, {{30, 100000}, {28, 40, 3000, 66000}}, /* reads come to their budget */
};

static const struct fw_history histories[] = {{0, 0}, {1, 0}, {20, 0}, {70, 2000}};

static void one_step(const struct config *config, uint64_t publishes, uint64_t reads)
{
    struct client *client = &model.clients[random_below(&state, CLIENTS)];
    uint64_t kind = random_below(&state, publishes + reads + 20);
    if (kind < publishes) {
        publish(config->sizes[random_below(&state, 4)]);
    } else if (kind < publishes + reads) {
        size_t max_events[] = {1, FW_BATCH_FRAMES, 1 + random_below(&state, 5)};
        if (client->joined)
            read_some(client, max_events[random_below(&state, 3)]);
    } else if (kind < publishes + reads + 18) {
        if (!client->joined && random_below(&state, 2) == 0)
            join(client);
        else if (!client->joined)
            resume(client);
        else if (random_below(&state, 2) == 0)
            leave(client);
    } else if (kind == publishes + reads + 18) {
        if (client->joined)
            finish(client);
    } else {
        set_limits();
    }
    if (client->joined && client->last - client->first >= LONGEST_QUEUE)
        read_some(client, FW_BATCH_FRAMES);
    if (model.limits.events == 0 && model.limits.bytes == 0) /* nobody else shortens the log */
        for (client = model.clients; client != model.clients + CLIENTS; client++)
            if (client->joined && model.head - client->position >= 2 * LONGEST_QUEUE)
                leave(client);
}

static uint64_t one_life(const struct config *config, struct fw_history history)
{
    memset(&model, 0, sizeof model);
    model.limits = config->limits;
    model.history = history;
    model.has_ids = history.events != 0;
    hub = sample_hub();
    CHECK_EQ(fw_hub_set_limits(hub, model.limits, history), FW_OK);
    char text[FW_ID_SIZE_MAX];
    fw_hub_id(hub, &(struct fw_reader){.sequence = 0}, text);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &model.id), FW_OK);
    uint64_t length = 1 + random_below(&state, STEPS - 1);
    uint64_t closes_at = random_below(&state, 3) == 0 ? length : length - random_below(&state, length / 10 + 1);
    uint64_t publishes = 5 + random_below(&state, 60), reads = 5 + random_below(&state, 120);
    for (uint64_t step = 0; step < length; step++) {
        if (step == closes_at || (step > closes_at && random_below(&state, 50) == 0))
            close_both();
        else
            one_step(config, publishes, reads);
        compare();
    }
    for (struct client *client = model.clients; client != model.clients + CLIENTS; client++) {
        while (client->joined && model_waiting(client) != 0)
            read_some(client, FW_BATCH_FRAMES);
        if (client->joined)
            leave(client);
        compare();
    }
    CHECK_EQ(model.count, 0);
    CHECK(model.head - model.tail <= model.history.events);
    fw_hub_unref(hub);
    steps += length;
    return length;
}

static void live(const struct config *config, struct fw_history history)
{
    for (uint64_t episode = 0, done = 0; episode < EPISODES || done < LEAST; episode++) {
        size_t before = fw_alloc_live();
        done += one_life(config, history);
        CHECK_EQ(fw_alloc_live(), before);
    }
}

static void hub_and_model_agree(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        for (size_t n = 0; n < sizeof histories / sizeof *histories; n++)
            live(&configs[i], histories[n]);
    printf("model: %" PRIu64 " steps, %" PRIu64 " pruned, %" PRIu64 " reads at an end, %" PRIu64 " known\n", steps,
           pruned_ever, ended_ever, known_ever);
    printf("model: %" PRIu64 " resumed, %" PRIu64 " evicted, %" PRIu64 " caught up, %" PRIu64 " passed\n",
           joins_ever[FW_JOIN_RESUMED], joins_ever[FW_JOIN_EVICTED], seams_ever, passed_ever);
    CHECK(steps > 2000000 && pruned_ever > 1000 && ended_ever > 1000 && known_ever > 1000);
    CHECK(seams_ever > 1000 && passed_ever > 1000);
    for (int join = 0; join <= FW_JOIN_INVALID; join++)
        CHECK(joins_ever[join] > 1000);
}

int main(void)
{
    state = SEED();
    RUN(hub_and_model_agree);
    return 0;
}
