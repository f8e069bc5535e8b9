/* Random lives of one or two fan-outs of a hub: clients in every state come, go, read a few bytes, hang up, at every point
 * of a pass. Whatever happens, each client's socket, its rest and its reader make one gap-free run of events; who is pruned
 * had too much waiting; and a fan-out that has said that it is idle leaves nobody behind who reads. */
#include "viewers.h"

enum {
    VIEWERS = 12,
    FANOUTS = 2,
    STEPS = 4000, /* the most in a life */
    LIVES = 12    /* for each of the configurations */
};

struct config {
    struct fw_limits limits, group;
    struct fw_history history;
    size_t sizes[4]; /* of events, each as likely; 0: without text */
    uint64_t burst;
};

static const struct config configs[] = {
    {{8, 0}, {40, 0}, {0, 0}, {28, 28, 50, 300}, 12},
    {{8, 0}, {40, 0}, {60, 0}, {28, 28, 0, 300}, 60},
    {{30, 2000}, {100, 9000}, {0, 0}, {28, 40, 700, 2500}, 40},
    {{0, 1000}, {0, 0}, {0, 0}, {28, 0, 200, 900}, 20},
    {{0, 0}, {0, 0}, {100, 3000}, {28, 60, 600, 5000}, 30},
    {{10, 0}, {50, 200000}, {20, 0}, {28, 5000, 30000, 70000}, 5}, /* windows come to their budget */
    {{1, 0}, {1, 0}, {10, 0}, {28, 0, 30, 29}, 3},
};

enum kind {
    ABSENT,
    ALONE, /* its reader reads by itself */
    ATTACHED
};

struct person {
    struct viewer viewer;
    enum kind kind;
    size_t fanout;
    double patience;
};

static struct person people[VIEWERS];
static struct fw_hub *hub;
static struct fw_fanout *fanouts[FANOUTS];
static bool is_pending[FANOUTS]; /* a pass is to be called, as a loop would */
static size_t fanout_count;
static bool is_closed;
static uint64_t state;
static double now;
static struct fw_id id;
static const struct config *config;
static uint64_t notes_ever[4], pruned_ever, group_pruned_ever, settled_ever, rests_ever, passed_ever, beats_ever;

static uint64_t below(uint64_t bound)
{
    return random_below(&state, bound);
}

static void wake(void)
{
    for (size_t i = 0; i < FANOUTS; i++)
        is_pending[i] = true;
}

/* ---- what must be so at any time ---- */

static uint64_t position_of(const struct fw_reader *reader)
{
    return reader->group != NULL ? reader->group->sequence : reader->sequence;
}

static void compare(void)
{
    struct fw_hub_counts counts = fw_hub_counts(hub);
    uint64_t clients = 0, needed = published.head, history = 0;
    fw_hub_check(hub);
    for (size_t i = 0; i < fanout_count; i++)
        check_fanout(fanouts[i]);
    for (struct person *person = people; person != people + VIEWERS; person++) {
        const struct fw_reader *reader = &person->viewer.reader;
        if (person->kind == ABSENT)
            continue;
        CHECK(reader->group == NULL || person->kind == ATTACHED);
        clients += reader->counted && !is_closed ? reader->weight : 0;
        if ((reader->in_slot || reader->group != NULL) && position_of(reader) < needed)
            needed = position_of(reader);
    }
    CHECK_EQ(counts.clients, clients);
    CHECK_EQ(counts.head, published.head);
    CHECK_EQ(counts.lag, published.head - needed);
    history = counts.history_events;
    CHECK_EQ(counts.frames, history > counts.lag ? history : counts.lag);
}

static bool is_too_far(struct fw_limits limits, uint64_t sequence, size_t incoming)
{
    uint64_t events = published.head - sequence;
    return (limits.events != 0 && events >= limits.events) ||
           (limits.bytes != 0 && events != 0 && text_of(sequence, published.head) + incoming > limits.bytes);
}

/* ---- what may happen ---- */

static void publish_one(void)
{
    size_t size = config->sizes[below(4)];
    struct fw_frame *frame = size == 0       ? empty_frame()
                             : below(4) == 0 ? sample_frame_with_id(published.head, size + SAMPLE_ID_LINE)
                                             : sample_frame(published.head, size);
    uint64_t pruned = 0;
    for (struct person *person = people; person != people + VIEWERS && !is_closed; person++) {
        const struct fw_reader *reader = &person->viewer.reader;
        bool is_member = reader->group != NULL;
        if (person->kind == ABSENT || !reader->counted || !(reader->in_slot || is_member))
            continue;
        if (is_too_far(is_member ? config->group : config->limits, position_of(reader), frame->size)) {
            pruned += reader->weight;
            group_pruned_ever += is_member;
        }
    }
    CHECK_EQ(put_frame(hub, frame).pruned, pruned);
    pruned_ever += pruned;
    wake();
}

static void come(struct person *person)
{
    static const uint32_t weights[] = {1, 1, 2, 100};
    struct viewer *viewer = &person->viewer;
    uint32_t weight = weights[below(4)];
    if (below(3) != 0) {
        fw_hub_join(hub, &viewer->reader, weight);
    } else {
        id.position.low = below(2) == 0 ? below(published.head + 1) : published.head - below(published.head + 1) % 20;
        fw_hub_resume(hub, &viewer->reader, weight, &id);
    }
    viewer->next = viewer->reader.sequence;
    person->kind = ALONE;
}

static void enter(struct person *person)
{
    person->fanout = below(fanout_count);
    person->patience = below(3) == 0 ? 5 : 0;
    attach(fanouts[person->fanout], &person->viewer, below(2), person->patience, now);
    is_pending[person->fanout] = true;
    person->kind = ATTACHED;
}

static void read_alone(struct person *person)
{
    static struct fw_batch batch;
    struct viewer *viewer = &person->viewer;
    int status = fw_hub_read(hub, &viewer->reader, 1 + below(20), 0, &batch);
    if (status != FW_OK)
        return;
    CHECK_EQ(batch.first, viewer->next);
    for (size_t i = 0; i < batch.count; i++)
        CHECK(batch.frames[i] == published.frames[viewer->next++]);
    fw_batch_release(&batch);
}

static void part(struct person *person)
{
    rests_ever += detach(hub, fanouts[person->fanout], &person->viewer) != 0;
    person->kind = ALONE;
}

static void depart(struct person *person)
{
    if (person->kind == ATTACHED)
        part(person);
    leave(hub, &person->viewer);
    person->kind = ABSENT;
}

static void heed(size_t fanout)
{
    struct fw_direct *noted = fw_fanout_note(fanouts[fanout]);
    if (noted == NULL)
        return;
    struct person *person = people;
    while (noted != &person->viewer.direct)
        person++;
    struct viewer *viewer = &person->viewer;
    CHECK(person->kind == ATTACHED && person->fanout == fanout && noted->note != FW_NOTE_NONE);
    notes_ever[noted->note]++;
    CHECK(noted->note != FW_NOTE_BROKEN || viewer->is_lost);
    CHECK(noted->note != FW_NOTE_STUCK || person->patience != 0);
    if (noted->note == FW_NOTE_ENDED) {
        CHECK_EQ(detach(hub, fanouts[fanout], viewer), 0);
        CHECK_EQ(read_on(hub, viewer, 7), FW_EEND);
        CHECK_EQ(viewer->next, viewer->start + noted->events);
        enum fw_fate fate = fw_hub_fate(hub, &viewer->reader);
        uint64_t end = viewer->reader.end < published.head ? viewer->reader.end : published.head;
        CHECK(fate != FW_FATE_NONE);
        if (fate == FW_FATE_PASSED)
            CHECK(viewer->next < published.head - fw_hub_counts(hub).frames);
        else
            CHECK_EQ(viewer->next, end);
        passed_ever += fate == FW_FATE_PASSED;
        person->kind = ALONE;
    } else {
        part(person);
    }
    if (below(2) == 0)
        depart(person);
}

static void pass(size_t fanout)
{
    size_t clients = 1 + below(6), bytes = below(2) == 0 ? 1 + below(3000) : SIZE_MAX, calls = sends.calls;
    is_pending[fanout] = fw_fanout_pass(fanouts[fanout], clients, bytes, now) != FW_PASS_IDLE;
    CHECK(sends.calls - calls <= clients);
}

static void hang_up(struct person *person)
{
    close(person->viewer.theirs);
    person->viewer.theirs = -1;
    person->viewer.is_lost = true;
}

/* The sockets are read until nothing comes any more. Then everyone who reads has everything. */
static void settle(void)
{
    bool is_busy = true;
    for (size_t turns = 0; is_busy; turns++) {
        CHECK(turns < 100000);
        is_busy = false;
        for (size_t i = 0; i < fanout_count; i++) {
            if (is_pending[i])
                pass(i);
            if (is_readable(fanouts[i]))
                fw_fanout_ready(fanouts[i], now);
        }
        for (struct person *person = people; person != people + VIEWERS; person++)
            is_busy = (person->kind == ATTACHED && watch_all(&person->viewer) != 0) || is_busy;
        for (size_t i = 0; i < fanout_count; i++)
            is_busy = is_busy || is_pending[i] || is_readable(fanouts[i]);
    }
    for (struct person *person = people; person != people + VIEWERS; person++) {
        struct viewer *viewer = &person->viewer;
        if (person->kind != ATTACHED || viewer->direct.note != FW_NOTE_NONE)
            continue;
        CHECK(!is_closed);
        CHECK_EQ(viewer->direct.state, FW_DIRECT_MEMBER);
        CHECK_EQ(position_of(&viewer->reader), published.head);
        if (!viewer->is_lost) {
            CHECK(is_between_events(viewer));
            CHECK_EQ(past_empty(viewer->next), published.head);
        }
    }
    for (size_t i = 0; i < fanout_count; i++) {
        CHECK(fanouts[i]->owed == NULL && !fanouts[i]->is_running);
        CHECK_EQ(count_armed(fanouts[i]), 0);
    }
    settled_ever++;
}

static void one_step(uint64_t publishes, uint64_t reads)
{
    struct person *person = &people[below(VIEWERS)];
    struct viewer *viewer = &person->viewer;
    size_t fanout = below(fanout_count);
    uint64_t kind = below(publishes + reads + 60);
    now += (double)below(1000) / 1000;
    if (kind < publishes) {
        for (uint64_t count = below(4) == 0 ? 1 + below(config->burst) : 1; count != 0; count--)
            publish_one();
        return;
    }
    kind -= publishes;
    if (kind < reads) {
        if (person->kind == ATTACHED)
            watch(viewer, 1 + below(700));
        else if (person->kind == ALONE)
            read_alone(person);
        return;
    }
    kind -= reads;
    if (kind < 20) {
        if (is_pending[fanout] || below(10) == 0)
            pass(fanout);
    } else if (kind < 30) {
        if (is_readable(fanouts[fanout]) || below(10) == 0)
            fw_fanout_ready(fanouts[fanout], now);
    } else if (kind < 42) {
        if (person->kind == ABSENT)
            come(person);
        if (person->kind == ALONE && below(4) != 0)
            enter(person);
    } else if (kind < 47) {
        if (person->kind == ATTACHED)
            part(person);
        else if (person->kind == ALONE)
            depart(person);
    } else if (kind < 54) {
        heed(fanout);
    } else if (kind == 54) {
        if (person->kind == ATTACHED && !viewer->is_lost)
            hang_up(person);
        else if (person->kind == ALONE && below(4) == 0)
            fw_hub_finish(hub, &viewer->reader, below(2));
    } else if (kind == 55) {
        fw_fanout_beat(fanouts[fanout]);
        is_pending[fanout] = true;
        beats_ever++;
    } else if (kind == 56) {
        fw_fanout_expire(fanouts[fanout], now);
    } else if (kind == 57) {
        if (below(4) == 0)
            settle();
    } else if (person->kind == ATTACHED) {
        watch_all(viewer);
    }
}

static void one_life(void)
{
    uint64_t length = 1 + below(STEPS), publishes = 3 + below(40), reads = 3 + below(80);
    uint64_t closes_at = below(3) != 0 ? length - below(length / 10 + 1) : length;
    hub = open_hub_with(config->limits, config->history);
    hub->group = config->group;
    memset(people, 0, sizeof people);
    id = id_of(hub, &(struct fw_reader){.sequence = 0});
    fanout_count = 1 + below(FANOUTS);
    for (size_t i = 0; i < fanout_count; i++)
        fanouts[i] = open_fanout(hub);
    is_closed = false;
    now = 0;
    reset_sends();
    if (below(4) != 0)
        sends.random = &state;
    for (uint64_t step = 0; step < length; step++) {
        if (step == closes_at) {
            fw_hub_close(hub);
            is_closed = true;
            wake();
        }
        one_step(publishes, reads);
        compare();
    }
    if (below(2) == 0)
        settle();
    for (struct person *person = people; person != people + VIEWERS; person++) {
        if (person->kind == ATTACHED)
            part(person);
        if (person->kind == ALONE && read_on(hub, &person->viewer, 100) == FW_EAGAIN)
            CHECK_EQ(person->viewer.next, published.head);
        if (person->kind == ALONE)
            depart(person);
        compare();
    }
    for (size_t i = 1; i < fanout_count; i++)
        fw_fanout_free(fanouts[i]);
    close_both(hub, fanouts[0]);
}

static void every_stream_is_one_gap_free_run(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        for (size_t life = 0; life < LIVES; life++) {
            size_t before = fw_alloc_live();
            config = &configs[i];
            one_life();
            CHECK_EQ(fw_alloc_live(), before);
        }
    printf("fan-out: %" PRIu64 " ended, %" PRIu64 " broken, %" PRIu64 " stuck; %" PRIu64 " pruned, %" PRIu64
           " members; %" PRIu64 " passed; %" PRIu64 " rests; %" PRIu64 " settled\n",
           notes_ever[FW_NOTE_ENDED], notes_ever[FW_NOTE_BROKEN], notes_ever[FW_NOTE_STUCK], pruned_ever,
           group_pruned_ever, passed_ever, rests_ever, settled_ever);
    CHECK(notes_ever[FW_NOTE_ENDED] > 100 && notes_ever[FW_NOTE_BROKEN] > 100 && notes_ever[FW_NOTE_STUCK] > 10);
    CHECK(pruned_ever > 100 && group_pruned_ever > 10 && rests_ever > 100 && settled_ever > 100);
}

int main(void)
{
    state = SEED();
    RUN(every_stream_is_one_gap_free_run);
    return 0;
}
