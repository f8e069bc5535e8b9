/* The hub against a model that keeps a queue per client, as the original Broadcaster does: the same random calls go to
 * both, and after each of them both must tell the same. */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "sample.h"

#include <stdbool.h>

enum {
    CLIENTS = 16,
    QUEUE = 256,
    STEPS = 20000,     /* the most in one hub's life */
    EPISODES = 40,     /* hubs for each of the configurations, */
    LEAST = 300000,    /* which go on until there were so many steps */
    LONGEST_QUEUE = 90 /* where there is no limit: somebody that far behind reads everything */
};

struct client {
    bool joined;
    bool counted;  /* by its weight */
    bool receives; /* whether new events go into its queue */
    bool pruned;
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
    uint64_t count; /* of clients, by weight */
    bool closed;
    struct fw_limits limits;
} model;

static struct fw_hub *hub;
static uint64_t state;
static uint64_t steps, pruned_ever, ended_ever, known_ever;

/* The model. */

static void model_join(struct client *client, uint32_t weight)
{
    *client = (struct client){
        .joined = true,
        .counted = !model.closed,
        .receives = !model.closed,
        .weight = weight,
        .position = model.head,
    };
    model.count += client->counted ? weight : 0;
}

static void model_uncount(struct client *client)
{
    model.count -= client->counted ? client->weight : 0;
    client->counted = client->receives = false;
}

static bool model_overflows(const struct client *client, uint64_t size)
{
    uint64_t queued = client->last - client->first;
    if (model.limits.events != 0 && queued >= model.limits.events)
        return true;
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
        if (model_overflows(client, size)) {
            pruned += client->weight;
            model_uncount(client);
            client->pruned = true;
        } else {
            CHECK(client->last - client->first < QUEUE);
            client->queue[client->last++ % QUEUE] = model.head;
            client->bytes += size;
        }
    }
    model.sizes[model.head++] = size;
    return pruned;
}

/* How many events one read returns. */
static size_t model_stop(const struct client *client, size_t max_events)
{
    size_t count = 0, queued = client->last - client->first;
    for (uint64_t bytes = 0; count < queued && count < max_events; count++) {
        bytes += model.sizes[client->queue[(client->first + count) % QUEUE]];
        if (bytes > 65536 && count != 0)
            break;
    }
    return count;
}

static void model_pop(struct client *client, uint64_t event)
{
    CHECK(client->first != client->last && client->queue[client->first++ % QUEUE] == event);
    client->bytes -= model.sizes[event];
    client->position = event + 1;
}

/* Each call on both. */

static void join(struct client *client)
{
    static const uint32_t weights[] = {1, 1, 1, 1, 2, 3, 100, 0};
    model_join(client, weights[random_below(&state, 8)]);
    fw_hub_join(hub, &client->reader, client->weight);
}

static void leave(struct client *client)
{
    model_uncount(client);
    client->joined = false;
    fw_hub_leave(hub, &client->reader);
}

static void publish(uint64_t size)
{
    struct fw_frame *frame = sample_frame(model.head, size);
    struct fw_published published;
    uint64_t sequence = model.head, pruned = model_publish(size);
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    fw_frame_unref(frame);
    CHECK_EQ(published.sequence, sequence);
    CHECK_EQ(published.pruned, pruned);
    CHECK_EQ(published.clients, model.count);
    pruned_ever += pruned;
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
    }
    known_ever += is_known;
    fw_batch_release(&batch);
}

static void finish(struct client *client)
{
    model_uncount(client);
    fw_hub_finish(hub, &client->reader);
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
    CHECK_EQ(fw_hub_set_limits(hub, limits, (struct fw_history){0}), is_empty ? FW_OK : FW_EBUSY);
}

/* The frames that the log must still hold, and no more: those from the slowest reader in it on. One that was finished
 * stays in the log until a limit throws it out, which its client cannot see; so the hub is asked about those. */
static uint64_t oldest_needed(void)
{
    uint64_t oldest = model.head;
    for (struct client *client = model.clients; client != model.clients + CLIENTS; client++) {
        bool is_in_log = client->joined && !client->pruned &&
                         (client->receives || !(fw_hub_fate(hub, &client->reader) == FW_FATE_PRUNED));
        if (is_in_log && client->position < oldest)
            oldest = client->position;
    }
    return oldest;
}

static void compare(void)
{
    fw_hub_check(hub);
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK_EQ(counts.clients, model.count);
    CHECK_EQ(counts.head, model.head);
    CHECK_EQ(counts.closed, model.closed);
    uint64_t oldest = oldest_needed(), bytes = 0;
    CHECK_EQ(counts.frames, model.head - oldest);
    for (uint64_t event = oldest; event != model.head; event++)
        bytes += model.sizes[event];
    CHECK_EQ(counts.bytes, bytes);

    struct client *client = &model.clients[random_below(&state, CLIENTS)];
    if (client->joined) {
        CHECK_EQ(fw_hub_ready(hub, &client->reader), client->first != client->last || !client->receives);
        CHECK_EQ(client->reader.sequence, client->position);
        if (client->pruned || client->receives) {
            bool is_half_full =
                (model.limits.events != 0 && 2 * (client->last - client->first) > model.limits.events) ||
                (model.limits.bytes != 0 && 2 * client->bytes > model.limits.bytes);
            CHECK_EQ((fw_hub_fate(hub, &client->reader) == FW_FATE_PRUNED), client->pruned);
            CHECK_EQ(fw_hub_endangered(hub, &client->reader), !client->pruned && is_half_full);
        }
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
        if (!client->joined)
            join(client);
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

static uint64_t one_life(const struct config *config)
{
    memset(&model, 0, sizeof model);
    model.limits = config->limits;
    hub = sample_hub();
    CHECK_EQ(fw_hub_set_limits(hub, model.limits, (struct fw_history){0}), FW_OK);
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
        while (client->joined && client->first != client->last)
            read_some(client, FW_BATCH_FRAMES);
        if (client->joined)
            leave(client);
        compare();
    }
    CHECK_EQ(model.count, 0);
    CHECK_EQ(fw_hub_counts(hub).frames, 0);
    fw_hub_unref(hub);
    steps += length;
    return length;
}

static void hub_and_model_agree(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        for (uint64_t episode = 0, done = 0; episode < EPISODES || done < LEAST; episode++) {
            size_t live = fw_alloc_live();
            done += one_life(&configs[i]);
            CHECK_EQ(fw_alloc_live(), live);
        }
    printf("model: %" PRIu64 " steps, %" PRIu64 " pruned, %" PRIu64 " reads at an end, %" PRIu64 " known\n", steps,
           pruned_ever, ended_ever, known_ever);
    CHECK(steps > 2000000 && pruned_ever > 1000 && ended_ever > 1000 && known_ever > 1000);
}

int main(void)
{
    state = SEED();
    RUN(hub_and_model_agree);
    return 0;
}
