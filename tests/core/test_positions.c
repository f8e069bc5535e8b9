/* Where epoch and positions come from outside: fw_hub_rebase, fw_hub_deliver, and readers that come back, stand aside and
 * arrive. Single calls first; then random ones against a list of all events that ever were. */
#include "core/hub.h"

#include "check.h"
#include "sample.h"

static const char one[] = "mzxw6ytboi2ds", other[] = "mzxw6ytboi2dt";

static struct fw_hub *open_told(size_t digits, uint64_t events, uint64_t history)
{
    struct fw_hub *hub = sample_hub();
    CHECK_EQ(fw_hub_set_positions(hub, digits), FW_OK);
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){.events = events}, (struct fw_history){.events = history}),
             FW_OK);
    return hub;
}

static struct fw_position at(uint64_t high, uint64_t low)
{
    return (struct fw_position){high, low};
}

static struct fw_id id_of(const char *epoch, struct fw_position position, size_t digits)
{
    struct fw_id id = {.digits = (uint8_t)digits, .position = position};
    memcpy(id.epoch, epoch, FW_EPOCH_DIGITS);
    return id;
}

/* A frame with room for an id, "id: ...\ndata: 42\n\n". */
static struct fw_frame *frame_of(uint64_t number, size_t digits)
{
    char text[24];
    struct fw_frame *frame = NULL;
    struct fw_event event = {.data = {text, (size_t)snprintf(text, sizeof text, "%" PRIu64, number)},
                             .retry = FW_NO_RETRY};
    CHECK_EQ(fw_frame_format(&event, FW_ID_SIZE_OF(digits), &frame), FW_OK);
    return frame;
}

static int deliver_to(struct fw_hub *hub, size_t digits, struct fw_position position)
{
    struct fw_published published;
    struct fw_frame *frame = frame_of(fw_hub_counts(hub).head, digits);
    int status = fw_hub_deliver(hub, frame, position, &published);
    fw_frame_unref(frame);
    fw_hub_check(hub);
    return status;
}

static void rebase(struct fw_hub *hub, size_t digits, const char *epoch, struct fw_position position)
{
    struct fw_published published;
    struct fw_frame *frame = frame_of(fw_hub_counts(hub).head, digits);
    CHECK_EQ(fw_hub_rebase(hub, frame, epoch, position, &published), FW_OK);
    fw_frame_unref(frame);
    fw_hub_check(hub);
}

/* What the frame says of itself. */
static void check_frame(const struct fw_frame *frame, uint64_t number, const char *epoch, struct fw_position position,
                        size_t digits)
{
    char text[128], id[FW_ID_SIZE_MAX];
    fw_id_write(id, epoch, position, digits);
    int size = snprintf(text, sizeof text, "id: %.*s\ndata: %" PRIu64 "\n\n", (int)FW_ID_SIZE_OF(digits), id, number);
    CHECK_EQ(frame->size, size);
    CHECK(memcmp(fw_frame_text(frame).at, text, (size_t)size) == 0);
}

/* The place in front of which `reader` stands. */
static void check_place(struct fw_hub *hub, const struct fw_reader *reader, const char *epoch,
                        struct fw_position position, size_t digits)
{
    char text[FW_ID_SIZE_MAX], expected[FW_ID_SIZE_MAX];
    fw_id_write(expected, epoch, position, digits);
    CHECK_EQ(fw_hub_id(hub, reader, text), FW_ID_SIZE_OF(digits));
    CHECK(memcmp(text, expected, FW_ID_SIZE_OF(digits)) == 0);
}

static void check_no_place(struct fw_hub *hub, const struct fw_reader *reader)
{
    char text[FW_ID_SIZE_MAX];
    CHECK_EQ(fw_hub_id(hub, reader, text), 0);
}

static int read_one(struct fw_hub *hub, struct fw_reader *reader, uint64_t *number)
{
    static struct fw_batch batch;
    int status = fw_hub_read(hub, reader, 1, 0, &batch);
    if (status == FW_OK) {
        *number = batch.first;
        fw_batch_release(&batch);
    }
    fw_hub_check(hub);
    return status;
}

static void leave(struct fw_hub *hub, struct fw_reader *reader)
{
    fw_hub_leave(hub, reader);
    fw_hub_check(hub);
}

/* Single calls. */

static void before_the_first_contact_nothing_is_known(void)
{
    struct fw_hub *hub = open_told(13, 0, 10);
    struct fw_id id = id_of(one, at(0, 5), 13);
    struct fw_reader live, asks, asks_nonsense;
    uint64_t number;
    fw_hub_join(hub, &live, 1);
    CHECK_EQ(fw_hub_resume(hub, &asks, 1, &id), FW_JOIN_UNKNOWN);
    CHECK_EQ(fw_hub_resume(hub, &asks_nonsense, 1, NULL), FW_JOIN_UNKNOWN);
    CHECK_EQ(fw_hub_counts(hub).clients, 3);
    CHECK_EQ(fw_hub_counts(hub).total, 3);
    check_no_place(hub, &live);
    CHECK_EQ(deliver_to(hub, 13, at(0, 7)), FW_EORDER);
    CHECK_EQ(fw_hub_counts(hub).head, 0);
    CHECK_EQ(fw_hub_judge(hub, &asks, &id, true), FW_JOIN_UNKNOWN);

    rebase(hub, 13, one, at(0, 5));
    check_no_place(hub, &live); /* the block that it reads next tells it */
    CHECK_EQ(read_one(hub, &asks, &number), FW_EAGAIN);
    CHECK_EQ(read_one(hub, &live, &number), FW_OK);
    check_place(hub, &live, one, at(0, 5), 13);
    CHECK_EQ(fw_hub_judge(hub, &asks, &id, true), FW_JOIN_RESUMED);
    check_place(hub, &asks, one, at(0, 5), 13);
    CHECK_EQ(read_one(hub, &asks, &number), FW_EAGAIN); /* and not that block, which has its own id */
    CHECK_EQ(fw_hub_judge(hub, &asks_nonsense, NULL, true), FW_JOIN_INVALID);
    CHECK_EQ(fw_hub_counts(hub).joins[FW_JOIN_UNKNOWN], 0);
    CHECK_EQ(fw_hub_counts(hub).joins[FW_JOIN_RESUMED], 1);
    CHECK_EQ(fw_hub_counts(hub).total, 3);
    leave(hub, &live);
    leave(hub, &asks);
    leave(hub, &asks_nonsense);
    fw_hub_unref(hub);
}

static void positions_only_grow(void)
{
    struct fw_hub *hub = open_told(26, 0, 10);
    rebase(hub, 26, one, at(3, 3));
    CHECK_EQ(deliver_to(hub, 26, at(3, 3)), FW_EORDER);
    CHECK_EQ(deliver_to(hub, 26, at(2, 9)), FW_EORDER);
    CHECK_EQ(deliver_to(hub, 26, at(3, 4)), FW_OK);
    CHECK_EQ(deliver_to(hub, 26, at(4, 0)), FW_OK);
    CHECK_EQ(deliver_to(hub, 26, at(3, 9)), FW_EORDER);
    CHECK_EQ(fw_hub_counts(hub).head, 3);
    rebase(hub, 26, one, at(1, 1)); /* a server that has lost its last writes */
    CHECK_EQ(deliver_to(hub, 26, at(3, 4)), FW_OK);
    CHECK_EQ(fw_hub_counts(hub).history_events, 1);
    fw_hub_unref(hub);
}

static void a_hub_in_use_stays_with_its_kind_of_positions(void)
{
    struct fw_hub *hub = open_told(13, 0, 1);
    CHECK_EQ(fw_hub_set_positions(hub, 26), FW_OK);
    rebase(hub, 26, one, at(0, 0));
    CHECK_EQ(fw_hub_set_positions(hub, 13), FW_EBUSY);
    CHECK_EQ(fw_hub_set_positions(hub, 26), FW_OK);
    struct fw_hub *child;
    CHECK_EQ(fw_hub_renew(hub, &child), FW_OK);
    struct fw_id id = id_of(one, at(0, 0), 26);
    struct fw_reader reader;
    CHECK_EQ(fw_hub_resume(child, &reader, 1, &id), FW_JOIN_UNKNOWN); /* until it is in contact itself */
    leave(child, &reader);
    fw_hub_unref(child);
    fw_hub_unref(hub);
}

/* The reader is told to end, by each of the ways, and does so without a place. */
static void who_is_aside_can_be_ended(void)
{
    for (int way = 0; way < 5; way++) {
        struct fw_hub *hub = open_told(13, 0, 10);
        struct fw_id id = id_of(one, at(0, 5), 13);
        struct fw_reader reader;
        struct fw_position head;
        uint64_t number;
        rebase(hub, 13, one, at(0, 9));
        CHECK_EQ(fw_hub_resume(hub, &reader, 2, &id), FW_JOIN_BEHIND);
        CHECK_EQ(read_one(hub, &reader, &number), FW_EAGAIN);
        CHECK_EQ(deliver_to(hub, 13, at(0, 12)), FW_OK);
        if (way < 2)
            fw_hub_finish(hub, &reader, way == 0);
        else if (way == 2)
            fw_hub_close(hub);
        else if (way == 3)
            fw_hub_strand(hub, &reader);
        else
            rebase(hub, 13, one, at(0, 20));
        CHECK_EQ(fw_hub_fate(hub, &reader), way < 2 ? FW_FATE_FINISHED : way == 2 ? FW_FATE_CLOSED : FW_FATE_PASSED);
        CHECK(!fw_hub_arrive(hub, &reader, &head));
        if (way < 4)
            fw_hub_judge(hub, &reader, &id, false);
        CHECK_EQ(read_one(hub, &reader, &number), FW_EEND);
        CHECK_EQ(fw_hub_counts(hub).clients, 0);
        CHECK_EQ(fw_hub_counts(hub).passed, way < 3 ? 0 : 2);
        leave(hub, &reader);
        CHECK_EQ(fw_hub_counts(hub).passed, way < 3 ? 0 : 2);
        fw_hub_unref(hub);
    }
}

/* It stands at the head already, in a slot or pruned. */
static void who_has_arrived_can_be_stranded(void)
{
    for (int way = 0; way < 3; way++) {
        uint64_t limit = way == 1 ? 2 : 0;
        struct fw_hub *hub = open_told(13, limit, 0);
        struct fw_id id = id_of(one, at(0, 5), 13);
        struct fw_reader reader;
        struct fw_position head;
        uint64_t number;
        rebase(hub, 13, one, at(0, 9));
        CHECK_EQ(fw_hub_resume(hub, &reader, 2, &id), FW_JOIN_BEHIND);
        CHECK(fw_hub_arrive(hub, &reader, &head));
        for (uint64_t low = 10; low < 14; low++)
            CHECK_EQ(deliver_to(hub, 13, at(0, low)), FW_OK);
        fw_hub_strand(hub, &reader);
        if (way == 2)
            fw_hub_close(hub);
        fw_hub_check(hub);
        CHECK_EQ(fw_hub_fate(hub, &reader), way == 0 ? FW_FATE_PASSED : way == 1 ? FW_FATE_PRUNED : FW_FATE_CLOSED);
        CHECK_EQ(read_one(hub, &reader, &number), FW_EEND);
        leave(hub, &reader);
        CHECK_EQ(fw_hub_counts(hub).frames, 0);
        CHECK_EQ(fw_hub_counts(hub).clients, 0);
        CHECK_EQ(fw_hub_counts(hub).passed, way == 0 ? 2 : 0);
        fw_hub_unref(hub);
    }
}

static void what_the_place_is_not_covered_by_is_a_gap(void)
{
    struct fw_hub *hub = open_told(13, 0, 2);
    struct fw_reader reader;
    uint64_t number;
    rebase(hub, 13, one, at(0, 10));
    for (uint64_t low = 11; low < 20; low++)
        CHECK_EQ(deliver_to(hub, 13, at(0, low)), FW_OK);
    struct fw_id evicted = id_of(one, at(0, 15), 13), future = id_of(one, at(0, 25), 13);
    CHECK_EQ(fw_hub_resume(hub, &reader, 1, &evicted), FW_JOIN_BEHIND);
    CHECK_EQ(fw_hub_judge(hub, &reader, &evicted, true), FW_JOIN_BEHIND);
    CHECK_EQ(fw_hub_judge(hub, &reader, &evicted, false), FW_JOIN_EVICTED);
    check_place(hub, &reader, one, at(0, 17), 13); /* what is left of the history */
    for (uint64_t low = 20; low < 25; low++)
        CHECK_EQ(deliver_to(hub, 13, at(0, low)), FW_OK);
    fw_hub_settle(hub, &reader);
    CHECK_EQ(read_one(hub, &reader, &number), FW_EEND); /* too late: more than was there at the judgement is gone */
    leave(hub, &reader);
    CHECK_EQ(fw_hub_resume(hub, &reader, 1, &future), FW_JOIN_BEHIND);
    CHECK_EQ(fw_hub_judge(hub, &reader, &future, false), FW_JOIN_FUTURE);
    CHECK_EQ(fw_hub_counts(hub).joins[FW_JOIN_BEHIND], 0);
    leave(hub, &reader);
    fw_hub_unref(hub);
}

/* The server may have lost what was there, and have gone on in front of it and behind. */
static void between_two_events_is_no_place(void)
{
    struct fw_hub *hub = open_told(26, 0, 10);
    struct fw_reader reader;
    rebase(hub, 26, one, at(10, 0));
    CHECK_EQ(deliver_to(hub, 26, at(20, 0)), FW_OK);
    CHECK_EQ(deliver_to(hub, 26, at(30, 0)), FW_OK);
    for (uint64_t high = 5; high <= 35; high += 5) {
        struct fw_id id = id_of(one, at(high, 0), 26);
        bool is_place = high == 10 || high == 20 || high == 30;
        CHECK_EQ(fw_hub_resume(hub, &reader, 1, &id), is_place ? FW_JOIN_RESUMED : FW_JOIN_BEHIND);
        if (!is_place)
            CHECK_EQ(fw_hub_judge(hub, &reader, &id, false), high > 30 ? FW_JOIN_FUTURE : FW_JOIN_EVICTED);
        leave(hub, &reader);
    }
    fw_hub_unref(hub);
}

static void the_highest_numbers_are_of_the_future_at_once(void)
{
    struct fw_hub *hub = open_told(26, 0, 2);
    struct fw_reader reader;
    rebase(hub, 26, one, at(10, 10));
    const struct fw_position highest[] = {at(UINT64_MAX, UINT64_MAX), at(UINT64_MAX, 0), at(9, UINT64_MAX)};
    for (size_t i = 0; i < 3; i++) {
        struct fw_id id = id_of(one, highest[i], 26);
        CHECK_EQ(fw_hub_resume(hub, &reader, 1, &id), FW_JOIN_FUTURE);
        leave(hub, &reader);
    }
    fw_hub_unref(hub);
}

/* What live readers still need stays, and they read across; who comes back does not. */
static void a_rebase_drops_the_history_alone(void)
{
    struct fw_hub *hub = open_told(13, 0, 10);
    struct fw_reader live, catches_up, reader;
    uint64_t number;
    rebase(hub, 13, one, at(0, 0));
    fw_hub_join(hub, &live, 1);
    for (uint64_t low = 1; low <= 4; low++)
        CHECK_EQ(deliver_to(hub, 13, at(0, low)), FW_OK);
    struct fw_id id = id_of(one, at(0, 1), 13);
    CHECK_EQ(fw_hub_resume(hub, &catches_up, 1, &id), FW_JOIN_RESUMED);
    rebase(hub, 13, other, at(0, 2));
    CHECK_EQ(fw_hub_counts(hub).history_events, 0);
    CHECK_EQ(fw_hub_counts(hub).frames, 5);
    CHECK_EQ(fw_hub_resume(hub, &reader, 1, &id), FW_JOIN_EPOCH);
    check_place(hub, &reader, other, at(0, 2), 13);
    leave(hub, &reader);
    id = id_of(other, at(0, 1), 13);
    CHECK_EQ(fw_hub_resume(hub, &reader, 1, &id), FW_JOIN_BEHIND);
    leave(hub, &reader);
    for (uint64_t n = 1; n <= 5; n++) {
        CHECK_EQ(read_one(hub, &live, &number), FW_OK);
        CHECK_EQ(number, n);
    }
    check_place(hub, &live, other, at(0, 2), 13);
    CHECK_EQ(fw_hub_counts(hub).frames, 0);
    CHECK_EQ(read_one(hub, &catches_up, &number), FW_EEND);
    leave(hub, &live);
    leave(hub, &catches_up);
    fw_hub_unref(hub);
}

/* Without memory nothing changes. */
static void a_rebase_that_fails_has_not_happened(void)
{
    for (long successes = 0; successes < 2; successes++) {
        struct fw_hub *hub = open_told(13, 0, 100);
        struct fw_published published;
        struct fw_reader reader;
        rebase(hub, 13, one, at(0, 0));
        for (uint64_t low = 1; low <= 15; low++) /* so many that the ring has to grow */
            CHECK_EQ(deliver_to(hub, 13, at(0, low)), FW_OK);
        fw_hub_join(hub, &reader, 1);
        struct fw_frame *frame = frame_of(99, 13);
        fw_alloc_fail_after(successes);
        int status = fw_hub_rebase(hub, frame, other, at(0, 3), &published);
        fw_alloc_fail_after(-1);
        fw_hub_check(hub);
        CHECK_EQ(status, successes == 0 ? FW_ENOMEM : FW_OK);
        if (status != FW_OK)
            check_place(hub, &reader, one, at(0, 15), 13);
        fw_frame_unref(frame);
        leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

/* The model: all events that ever were, and where each reader has to go on. */

enum {
    READERS = 8,
    EVENTS = 4000,
    EPISODES = 60
};

static struct {
    struct fw_position position[EVENTS]; /* with that of the block of a rebase among them */
    const char *epoch[EVENTS];
    uint64_t head, since;
    const char *now;
} model;

struct tracked {
    bool joined;
    bool aside, is_behind; /* aside since it is behind, or since nothing was known */
    uint64_t next;         /* the event that it reads next; aside: the head when it was put there */
    struct fw_id id;       /* with which it came */
    struct fw_reader reader;
};

static struct fw_hub *hub;
static size_t digits;
static uint64_t state, tail, starts[FW_JOINS], arrived, lost;

static uint64_t oldest(void)
{
    return tail > model.since ? tail : model.since;
}

static void note_event(const char *epoch, struct fw_position position)
{
    CHECK(model.head < EVENTS);
    model.epoch[model.head] = epoch;
    model.position[model.head++] = position;
}

static struct fw_position further(struct fw_position position)
{
    if (digits == FW_POSITION_DIGITS_MAX && random_below(&state, 4) == 0)
        return at(position.high + 1 + random_below(&state, 3), random_below(&state, 5));
    return at(position.high, position.low + 1 + random_below(&state, 4));
}

/* Around what is here: what there was, what lies between, and what was not yet. */
static struct fw_id some_id(void)
{
    uint64_t kind = random_below(&state, 12);
    struct fw_position position = at(0, random_below(&state, 10));
    if (model.head != 0)
        position = model.position[model.head - 1 - random_below(&state, model.head < 40 ? model.head : 40)];
    if (kind < 4)
        position = further(position);
    struct fw_id id = id_of(kind == 5 ? (model.now == one ? other : one) : model.now, position, digits);
    if (kind == 6)
        id.digits = digits == 13 ? 26 : 13;
    return id;
}

static enum fw_join expected_join(const struct fw_id *id)
{
    if (model.since == 0)
        return FW_JOIN_UNKNOWN;
    if (memcmp(id->epoch, model.now, FW_EPOCH_DIGITS) != 0)
        return FW_JOIN_EPOCH;
    if (id->digits != digits)
        return FW_JOIN_INVALID;
    for (uint64_t place = oldest() - 1; place != model.head; place++)
        if (model.position[place].high == id->position.high && model.position[place].low == id->position.low)
            return FW_JOIN_RESUMED;
    return FW_JOIN_BEHIND;
}

static uint64_t first_behind(struct fw_position position)
{
    uint64_t event = oldest();
    while (event != model.head && !fw_position_is_above(model.position[event], position))
        event++;
    return event;
}

static void check_begin(struct tracked *client, enum fw_join join)
{
    starts[join]++;
    client->is_behind = join == FW_JOIN_BEHIND;
    client->aside = client->is_behind || join == FW_JOIN_UNKNOWN;
    client->next = client->aside ? model.head : join == FW_JOIN_RESUMED ? first_behind(client->id.position) : oldest();
    CHECK_EQ(client->reader.sequence, client->next);
}

static void read_next(struct tracked *client)
{
    static struct fw_batch batch;
    size_t most = 1 + random_below(&state, 5);
    bool is_lost = client->aside ? client->is_behind && client->next < model.since : client->next < tail;
    int status = fw_hub_read(hub, &client->reader, most, 0, &batch);
    if (is_lost && status == FW_EEND) {
        CHECK(client->id.digits != 0); /* who never came back is never passed */
        lost++;
        fw_hub_leave(hub, &client->reader);
        client->joined = false;
        return;
    }
    CHECK(!is_lost);
    if (client->aside || client->next == model.head) {
        CHECK_EQ(status, FW_EAGAIN);
        return;
    }
    CHECK_EQ(status, FW_OK);
    for (size_t i = 0; i < batch.count; i++, client->next++)
        check_frame(batch.frames[i], client->next, model.epoch[client->next], model.position[client->next], digits);
    fw_batch_release(&batch);
}

static void come(struct tracked *client)
{
    *client = (struct tracked){.joined = true};
    if (random_below(&state, 3) == 0) {
        fw_hub_join(hub, &client->reader, 1);
        client->next = model.head;
        return;
    }
    client->id = some_id();
    enum fw_join join = expected_join(&client->id);
    CHECK_EQ(fw_hub_resume(hub, &client->reader, 1, &client->id), join);
    check_begin(client, join);
}

static void ask_for(struct tracked *client)
{
    struct fw_position head;
    enum fw_join join = expected_join(&client->id);
    if (join == FW_JOIN_BEHIND && random_below(&state, 2) == 0 && client->next >= model.since) {
        CHECK(fw_hub_arrive(hub, &client->reader, &head));
        CHECK(head.high == model.position[model.head - 1].high && head.low == model.position[model.head - 1].low);
        client->aside = false;
        client->next = model.head;
        arrived++;
        return;
    }
    bool is_covered = random_below(&state, 2) == 0;
    if (join == FW_JOIN_BEHIND && !is_covered)
        join = fw_position_is_above(client->id.position, model.position[model.head - 1]) ? FW_JOIN_FUTURE
                                                                                         : FW_JOIN_EVICTED;
    CHECK_EQ(fw_hub_judge(hub, &client->reader, &client->id, is_covered), join);
    check_begin(client, join);
}

static void check_client(struct tracked *client)
{
    char text[FW_ID_SIZE_MAX];
    if (!client->joined)
        return;
    uint64_t next = client->next;
    if (client->aside || model.since == 0 || next < oldest())
        CHECK_EQ(fw_hub_id(hub, &client->reader, text), 0);
    else
        check_place(hub, &client->reader, model.now, model.position[next - 1], digits);
}

static void one_step(struct tracked *clients)
{
    struct tracked *client = &clients[random_below(&state, READERS)];
    uint64_t kind = random_below(&state, 100);
    if (kind < 1 || (model.since == 0 && kind < 5)) {
        struct fw_position position = model.head == 0 ? at(0, 7) : model.position[random_below(&state, model.head)];
        const char *epoch = random_below(&state, 2) == 0 ? one : other;
        rebase(hub, digits, epoch, position);
        note_event(epoch, position);
        model.now = epoch;
        model.since = model.head;
    } else if (kind < 45 && model.since != 0) {
        struct fw_position position = further(model.position[model.head - 1]);
        CHECK_EQ(deliver_to(hub, digits, position), FW_OK);
        note_event(model.now, position);
    } else if (!client->joined) {
        come(client);
    } else if (kind < 55) {
        fw_hub_leave(hub, &client->reader);
        client->joined = false;
    } else if (client->aside && kind < 70) {
        ask_for(client);
    } else {
        read_next(client);
    }
    fw_hub_check(hub);
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK_EQ(counts.head, model.head);
    tail = model.head - counts.frames;
}

static void live(uint64_t history)
{
    struct tracked clients[READERS] = {{.joined = false}};
    hub = open_told(digits, 0, history);
    memset(&model, 0, sizeof model);
    model.now = one;
    tail = 0;
    while (model.head < EVENTS - 10 && random_below(&state, 3000) != 0) {
        one_step(clients);
        for (size_t i = 0; i < READERS; i++)
            check_client(&clients[i]);
        uint64_t kept = model.head - model.since;
        CHECK_EQ(fw_hub_counts(hub).history_events, kept < history ? kept : history);
    }
    for (size_t i = 0; i < READERS; i++)
        if (clients[i].joined)
            fw_hub_leave(hub, &clients[i].reader);
    uint64_t kept = model.head - model.since;
    CHECK_EQ(fw_hub_counts(hub).frames, kept < history ? kept : history);
    fw_hub_unref(hub);
}

static void any_calls_do_what_a_list_of_all_events_does(void)
{
    static const uint64_t histories[] = {0, 1, 5, 30};
    state = SEED();
    for (int episode = 0; episode < EPISODES; episode++) {
        digits = episode % 2 == 0 ? 13 : 26;
        live(histories[episode / 2 % 4]);
    }
    for (int join = FW_JOIN_RESUMED; join < FW_JOINS; join++)
        CHECK(starts[join] > 100);
    CHECK(arrived > 100 && lost > 100);
}

int main(void)
{
    RUN(before_the_first_contact_nothing_is_known);
    RUN(positions_only_grow);
    RUN(a_hub_in_use_stays_with_its_kind_of_positions);
    RUN(who_is_aside_can_be_ended);
    RUN(who_has_arrived_can_be_stranded);
    RUN(what_the_place_is_not_covered_by_is_a_gap);
    RUN(between_two_events_is_no_place);
    RUN(the_highest_numbers_are_of_the_future_at_once);
    RUN(a_rebase_drops_the_history_alone);
    RUN(a_rebase_that_fails_has_not_happened);
    RUN(any_calls_do_what_a_list_of_all_events_does);
    return 0;
}
