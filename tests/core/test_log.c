/* fw_log_*: slots, cursors and verdicts, one by one and at their edges. */
#define _GNU_SOURCE

#include "core/log.h"

#include "arena.h"
#include "check.h"
#include "core/status.h"

enum {
    ORIGIN = 29
}; /* where the logs here begin: in the middle of the ring, so that they wrap around */

static void open_log(struct fw_log *log, size_t capacity)
{
    fw_log_init(log, fw_log_new_slots(capacity), capacity);
    CHECK(log->slots != NULL && log->tail == 0 && log->head == 0);
    log->tail = log->oldest = log->head = ORIGIN;
}

static void trim_all(struct fw_log *log)
{
    bool more = true;
    while (more)
        fw_log_free_frames(fw_log_trim(log, (struct fw_history){0}, 3, &more));
}

static void close_log(struct fw_log *log)
{
    trim_all(log);
    CHECK_EQ(log->tail, log->head);
    fw_log_free_slots(log->slots, log->capacity);
}

/* Appends an event of `size` bytes. */
static void append(struct fw_log *log, size_t size)
{
    fw_log_append(log, fw_frame_new(size));
}

static struct fw_reader reader_of_weight(uint32_t weight)
{
    return (struct fw_reader){.end = FW_FOREVER, .weight = weight, .counted = true};
}

/* A verdict on readers in slots alone. */
static struct fw_cut in_front_of(uint64_t cut)
{
    return (struct fw_cut){.readers = cut};
}

/* The list of a slot is exactly the given readers in this order. */
static void check_slot(const struct fw_log *log, uint64_t sequence, struct fw_reader *const *readers, size_t count)
{
    struct fw_reader *previous = NULL, *reader = fw_log_slot(log, sequence)->readers;
    for (size_t i = 0; i < count; i++) {
        CHECK(reader == readers[i] && reader->previous == previous);
        CHECK(reader->in_slot && reader->sequence == sequence);
        previous = reader;
        reader = reader->next;
    }
    CHECK(reader == NULL);
}

#define CHECK_SLOT(log, sequence, ...)                                                                                 \
    check_slot(log, sequence, (struct fw_reader *const[]){__VA_ARGS__},                                                \
               sizeof((struct fw_reader *const[]){__VA_ARGS__}) / sizeof(struct fw_reader *))

static void absurd_sizes_are_refused(void)
{
    CHECK(fw_log_new_slots((size_t)1 << (sizeof(size_t) * 8 - 1)) == NULL);
    CHECK(fw_range_new(SIZE_MAX) == NULL);
    CHECK(fw_range_new(SIZE_MAX / sizeof(void *)) == NULL);
}

static void new_slots_and_ranges_are_empty(void)
{
    for (size_t capacity = 1; capacity <= 64; capacity *= 2) {
        struct fw_slot *slots = fw_log_new_slots(capacity);
        for (size_t i = 0; i < capacity; i++)
            CHECK(slots[i].frame == NULL && slots[i].readers == NULL && slots[i].start == 0);
        fw_log_free_slots(slots, capacity);
    }
    for (size_t capacity = 0; capacity <= 3; capacity++) {
        struct fw_range *range = fw_range_new(capacity);
        CHECK(range->references == 0 && range->count == 0 && range->capacity == capacity);
        fw_range_free(range);
    }
    fw_range_free(NULL);
}

static void a_range_drops_its_frames(void)
{
    struct fw_range *range = fw_range_new(3);
    for (range->count = 0; range->count < 2; range->count++)
        range->frames[range->count] = fw_frame_new(10);
    struct fw_frame *kept = range->frames[1];
    fw_frame_ref(kept);
    fw_range_free(range);
    CHECK_EQ(atomic_load(&kept->references), 1);
    fw_frame_unref(kept);
}

static void append_fills_the_ring(void)
{
    struct fw_log log;
    struct fw_reader reader = reader_of_weight(1);
    open_log(&log, 8);
    fw_log_enter(&log, &reader, ORIGIN);
    for (size_t i = 0; i < 7; i++) { /* one slot stays free: the one at the head */
        CHECK(!fw_log_is_full(&log));
        append(&log, 10 + i);
        CHECK_EQ(log.head, ORIGIN + i + 1);
        CHECK_EQ(fw_log_slot(&log, ORIGIN + i)->frame->size, 10 + i);
        CHECK(fw_log_slot(&log, log.head)->frame == NULL);
    }
    CHECK(fw_log_is_full(&log));
    for (uint64_t from = 0; from <= 7; from++)
        for (uint64_t to = from, bytes = 0; to <= 7; bytes += 10 + to++)
            CHECK_EQ(fw_log_bytes(&log, ORIGIN + from, ORIGIN + to), bytes);
    fw_log_leave(&log, &reader);
    close_log(&log);
}

/* From every rotation of the ring, with a reader in each slot. */
static void growing_moves_nothing_that_anyone_sees(void)
{
    for (size_t rotation = 0; rotation < 8; rotation++)
        for (size_t larger = 16; larger <= 64; larger *= 2) {
            struct fw_log log;
            struct fw_reader readers[9], first = reader_of_weight(1);
            struct fw_frame *frames[7];
            open_log(&log, 8);
            for (size_t i = 0; i < rotation; i++)
                append(&log, 100);
            trim_all(&log);
            uint64_t tail = log.tail;
            for (size_t i = 0; i <= 7; i++) {
                readers[i] = reader_of_weight(1);
                fw_log_enter(&log, &readers[i], log.head);
                if (i == 7)
                    break;
                append(&log, 1 + i);
                frames[i] = fw_log_slot(&log, tail + i)->frame;
            }
            fw_log_enter(&log, &first, tail + 3);
            CHECK(fw_log_is_full(&log));
            struct fw_slot *old = log.slots;
            CHECK(fw_log_grow(&log, fw_log_new_slots(larger), larger) == old);
            fw_log_free_slots(old, 8);

            CHECK(log.capacity == larger && log.tail == tail && log.head == tail + 7);
            CHECK(!fw_log_is_full(&log));
            for (size_t i = 0; i < 7; i++) {
                CHECK(fw_log_slot(&log, tail + i)->frame == frames[i]);
                CHECK_EQ(fw_log_bytes(&log, tail, tail + i), i * (i + 1) / 2);
                if (i != 3)
                    CHECK_SLOT(&log, tail + i, &readers[i]);
            }
            CHECK_SLOT(&log, tail + 3, &first, &readers[3]);
            CHECK_SLOT(&log, tail + 7, &readers[7]);
            for (uint64_t sequence = log.head; sequence != tail + larger; sequence++)
                CHECK(fw_log_slot(&log, sequence)->frame == NULL);
            for (uint64_t sequence = log.head + 1; sequence != tail + larger; sequence++)
                CHECK(fw_log_slot(&log, sequence)->readers == NULL);

            while (!fw_log_is_full(&log)) /* and the new slots can be used */
                append(&log, 1);
            CHECK_EQ(log.head - log.tail, larger - 1);
            for (size_t i = 0; i <= 7; i++)
                fw_log_leave(&log, &readers[i]);
            fw_log_leave(&log, &first);
            close_log(&log);
        }
}

static void readers_leave_from_any_place_in_a_slot(void)
{
    for (size_t leaver = 0; leaver < 4; leaver++) {
        struct fw_log log;
        struct fw_reader r[4];
        open_log(&log, 4);
        for (size_t i = 0; i < 4; i++) {
            r[i] = reader_of_weight(1);
            fw_log_enter(&log, &r[i], ORIGIN);
        }
        CHECK_SLOT(&log, ORIGIN, &r[3], &r[2], &r[1], &r[0]);
        fw_log_leave(&log, &r[leaver]);
        CHECK(!r[leaver].in_slot && r[leaver].next == NULL && r[leaver].previous == NULL);
        struct fw_reader *rest[3];
        for (size_t i = 4, n = 0; i-- > 0;)
            if (i != leaver)
                rest[n++] = &r[i];
        check_slot(&log, ORIGIN, rest, 3);
        fw_log_enter(&log, &r[leaver], ORIGIN); /* and may come back */
        CHECK_SLOT(&log, ORIGIN, &r[leaver], rest[0], rest[1], rest[2]);
        for (size_t i = 0; i < 4; i++)
            fw_log_leave(&log, &r[i]);
        check_slot(&log, ORIGIN, NULL, 0);
        close_log(&log);
    }
}

static void trim_stops_at_the_oldest_reader(void)
{
    for (uint64_t at = 0; at <= 12; at++)
        for (size_t most = 0; most <= 14; most++) {
            struct fw_log log;
            struct fw_reader reader = reader_of_weight(1), newest = reader_of_weight(1);
            struct fw_frame *frames[12];
            open_log(&log, 16);
            for (size_t i = 0; i < 12; i++) {
                append(&log, 1);
                frames[i] = fw_log_slot(&log, ORIGIN + i)->frame;
            }
            fw_log_enter(&log, &reader, ORIGIN + at);
            fw_log_enter(&log, &newest, log.head);
            uint64_t given = at < most ? at : most;
            bool more = false;
            struct fw_frame *chain = fw_log_trim(&log, (struct fw_history){0}, most, &more);
            CHECK_EQ(log.tail, ORIGIN + given);
            CHECK_EQ(log.head, ORIGIN + 12);
            CHECK_EQ(more, given != at);
            uint64_t bits = 0;
            for (struct fw_frame *frame = chain; frame != NULL; frame = frame->next_free)
                for (size_t i = 0; i < 12; i++)
                    bits |= (uint64_t)(frame == frames[i]) << i;
            CHECK_EQ(bits, ((uint64_t)1 << given) - 1);
            for (uint64_t i = 0; i < 12; i++)
                CHECK(fw_log_slot(&log, ORIGIN + i)->frame == (i < given ? NULL : frames[i]));
            fw_log_free_frames(chain);
            fw_log_leave(&log, &reader);
            fw_log_leave(&log, &newest);
            close_log(&log);
        }
}

static void trim_gives_up_one_reference(void)
{
    struct fw_log log;
    open_log(&log, 4);
    struct fw_frame *frame = fw_frame_new(1);
    fw_frame_ref(frame);
    fw_log_append(&log, frame);
    trim_all(&log);
    CHECK_EQ(atomic_load(&frame->references), 1);
    fw_frame_unref(frame);
    close_log(&log);
}

static const size_t event_sizes[] = {1, 5, 1, 8, 8, 2, 13, 1, 1, 40, 3};
enum {
    EVENTS = sizeof event_sizes / sizeof *event_sizes
};

static void stop_is_what_counting_one_by_one_gives(void)
{
    struct fw_log log;
    open_log(&log, 16);
    for (size_t i = 0; i < EVENTS; i++)
        append(&log, event_sizes[i]);
    for (uint64_t from = 0; from < EVENTS; from++)
        for (uint64_t to = from + 1; to <= EVENTS; to++)
            for (size_t max_events = 1; max_events <= EVENTS + 1; max_events++)
                for (size_t max_bytes = 0; max_bytes <= 90; max_bytes++) {
                    uint64_t stop = from + 1;
                    size_t bytes = event_sizes[from];
                    while (stop != to && stop - from < max_events && bytes + event_sizes[stop] <= max_bytes)
                        bytes += event_sizes[stop++];
                    CHECK_EQ(fw_log_stop(&log, ORIGIN + from, ORIGIN + to, max_events, max_bytes), ORIGIN + stop);
                }
    CHECK_EQ(fw_log_stop(&log, ORIGIN, ORIGIN + EVENTS, SIZE_MAX, SIZE_MAX), ORIGIN + EVENTS);
    close_log(&log);
}

static uint64_t bytes_from(uint64_t at)
{
    uint64_t bytes = 0;
    for (uint64_t i = at; i < EVENTS; i++)
        bytes += event_sizes[i];
    return bytes;
}

/* The first event that may be kept, of those in front of a reader at `at` or of those that the history wants. */
static uint64_t first_kept(uint64_t at, struct fw_history history)
{
    uint64_t first = 0;
    while (first != at &&
           (EVENTS - first > history.events || (history.bytes != 0 && bytes_from(first) > history.bytes)))
        first++;
    return first;
}

/* With the oldest reader at every place: in front of the history's edge, in it and at the head. */
static void trim_leaves_the_history(void)
{
    for (uint64_t at = 0; at <= EVENTS; at++)
        for (uint64_t events = 0; events <= EVENTS + 1; events++)
            for (uint64_t bytes = 0; bytes <= 90; bytes++)
                for (size_t most = 0; most <= EVENTS + 1; most += 3) {
                    struct fw_history history = {events, bytes};
                    struct fw_log log;
                    struct fw_reader reader = reader_of_weight(1), newest = reader_of_weight(1);
                    open_log(&log, 16);
                    for (size_t i = 0; i < EVENTS; i++)
                        append(&log, event_sizes[i]);
                    fw_log_enter(&log, &reader, ORIGIN + at);
                    fw_log_enter(&log, &newest, log.head);

                    /* Each of the two makes no more than `most` steps, the tail not beyond `oldest`. */
                    uint64_t oldest = at < most ? at : most, tail = first_kept(oldest, history);
                    bool is_short = oldest != at || (tail > most);
                    tail = tail < most ? tail : most;
                    bool more = false;
                    fw_log_free_frames(fw_log_trim(&log, history, most, &more));
                    CHECK_EQ(log.oldest, ORIGIN + oldest);
                    CHECK_EQ(log.tail, ORIGIN + tail);
                    CHECK_EQ(more, is_short);
                    CHECK_EQ(log.head, ORIGIN + EVENTS);
                    CHECK_EQ(fw_log_bytes(&log, log.tail, log.head), bytes_from(tail));
                    for (uint64_t i = 0; i < EVENTS; i++)
                        CHECK((fw_log_slot(&log, ORIGIN + i)->frame == NULL) == (i < tail));

                    for (more = true; more;) /* and in the end */
                        fw_log_free_frames(fw_log_trim(&log, history, 2, &more));
                    CHECK(log.oldest == ORIGIN + at && log.tail == ORIGIN + first_kept(at, history));
                    fw_log_leave(&log, &reader);
                    fw_log_leave(&log, &newest);
                    close_log(&log);
                }
}

/* Also where everybody has read it: a history that is made shorter goes in steps. */
static void a_long_history_goes_in_steps(void)
{
    struct fw_log log;
    bool more;
    open_log(&log, 16);
    for (size_t i = 0; i < 12; i++)
        append(&log, 1);
    fw_log_free_frames(fw_log_trim(&log, (struct fw_history){.events = 12}, 12, &more));
    CHECK(!more && log.tail == ORIGIN && log.oldest == log.head);
    for (uint64_t gone = 5; gone <= 10; gone += 5) {
        fw_log_free_frames(fw_log_trim(&log, (struct fw_history){.events = 2}, 5, &more));
        CHECK_EQ(log.tail, ORIGIN + gone);
        CHECK_EQ(more, gone != 10);
    }
    close_log(&log);
}

static void growing_keeps_the_history(void)
{
    struct fw_log log;
    struct fw_frame *frames[7];
    bool more;
    open_log(&log, 8);
    for (size_t i = 0; i < 7; i++) {
        append(&log, 10 + i);
        frames[i] = fw_log_slot(&log, ORIGIN + i)->frame;
        fw_log_free_frames(fw_log_trim(&log, (struct fw_history){.events = 20}, 1, &more));
    }
    CHECK(fw_log_is_full(&log));
    fw_log_free_slots(fw_log_grow(&log, fw_log_new_slots(16), 16), 8);
    CHECK(log.tail == ORIGIN && log.oldest == log.head && log.head == ORIGIN + 7);
    for (size_t i = 0; i < 7; i++)
        CHECK(fw_log_slot(&log, ORIGIN + i)->frame == frames[i]);
    CHECK_EQ(fw_log_bytes(&log, ORIGIN + 2, log.head), 12 + 13 + 14 + 15 + 16);
    close_log(&log);
}

/* Verdicts, and what they cost, know only what readers wait for. */
static void the_history_waits_for_nobody(void)
{
    struct fw_log log;
    struct fw_reader reader = reader_of_weight(1);
    bool more;
    open_log(&log, 16);
    for (size_t i = 0; i < 10; i++)
        append(&log, 100);
    for (size_t behind = 0; behind < 3; behind++) { /* nobody at all, and then one who reads less and less */
        fw_log_free_frames(fw_log_trim(&log, (struct fw_history){.events = 12}, 16, &more));
        CHECK(!more && log.tail == ORIGIN && log.oldest == log.head - behind);
        CHECK_EQ(fw_log_cut(&log, (struct fw_limits){0, 0}, 1), log.oldest);
        CHECK_EQ(fw_log_cut(&log, (struct fw_limits){3, 0}, 100), log.oldest);
        CHECK_EQ(fw_log_cut(&log, (struct fw_limits){0, 300}, 100), log.oldest);
        CHECK_EQ(fw_log_owed(&log, in_front_of(log.head)), behind);
        CHECK_EQ(fw_log_weight(&log, in_front_of(log.head)), behind != 0);
        if (behind == 0)
            fw_log_enter(&log, &reader, log.head);
        append(&log, 100);
    }
    fw_log_leave(&log, &reader);
    close_log(&log);
}

/* With a history of many pages of slots, of which those in the middle may not even be looked at while events are
 * published: to nobody, or to one near the head, who is pruned. */
static void publishing_does_not_look_at_the_history(void)
{
    enum {
        CAPACITY = 8192,
        HISTORY = 8000
    };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct fw_history history = {.events = HISTORY, .bytes = 10 * HISTORY};
    struct arena arena = new_arena(CAPACITY * sizeof(struct fw_slot) / page);
    struct fw_log log;
    bool more;
    fw_log_init(&log, (struct fw_slot *)arena.at, CAPACITY);
    for (size_t i = 0; i < HISTORY; i++) {
        append(&log, 10);
        fw_log_free_frames(fw_log_trim(&log, history, 1, &more));
        CHECK(!more && log.tail == 0 && log.oldest == log.head);
    }
    CHECK_EQ(mprotect(arena.at + page, HISTORY / 2 / (page / sizeof(struct fw_slot)) * page, PROT_NONE), 0);
    for (size_t i = 0; i < 100; i++) {
        struct fw_reader reader = reader_of_weight(1);
        uint64_t head = log.head;
        if (i % 2 == 1)
            fw_log_enter(&log, &reader, head);
        for (size_t n = 0; n < 1 + i % 2; n++) { /* the second one prunes, by both limits */
            uint64_t cut = fw_log_cut(&log, (struct fw_limits){1, 15}, 10);
            size_t owed = fw_log_owed(&log, in_front_of(cut));
            CHECK_EQ(cut, head + n);
            CHECK_EQ(owed, n);
            if (owed != 0) {
                struct fw_range *range = fw_range_new(owed);
                CHECK_EQ(fw_log_weight(&log, in_front_of(cut)), 1);
                CHECK_EQ(fw_log_prune(&log, in_front_of(cut), range), 1);
                range->references = 0;
                fw_range_free(range);
            }
            append(&log, 10);
            struct fw_frame *given_up = fw_log_trim(&log, history, 2, &more);
            CHECK(!more && given_up != NULL && given_up->next_free == NULL);
            CHECK_EQ(log.head - log.tail, HISTORY);
            fw_log_free_frames(given_up);
        }
    }
    CHECK_EQ(mprotect(arena.at, arena.size, PROT_READ | PROT_WRITE), 0);
    trim_all(&log);
    free_arena(arena);
}

/* Whether a reader at `at` may stay when one more event arrives. */
static bool may_stay(size_t events, uint64_t at, struct fw_limits limits, size_t incoming)
{
    uint64_t bytes = incoming;
    for (uint64_t i = at; i < events; i++)
        bytes += event_sizes[i];
    return (limits.events == 0 || events + 1 - at <= limits.events) &&
           (limits.bytes == 0 || at == events || bytes <= limits.bytes);
}

static void cut_is_the_first_place_where_a_reader_may_stay(void)
{
    static const uint64_t event_limits[] = {0, 1, 2, 3, EVENTS - 1, EVENTS, EVENTS + 1, UINT64_MAX};
    static const size_t incoming[] = {1, 2, 7, 39, 40, 41, 1000};
    for (size_t events = 0; events <= EVENTS; events++) {
        struct fw_log log;
        open_log(&log, 16);
        for (size_t i = 0; i < events; i++)
            append(&log, event_sizes[i]);
        for (size_t e = 0; e < sizeof event_limits / sizeof *event_limits; e++)
            for (uint64_t bytes = 0; bytes <= 140; bytes++)
                for (size_t n = 0; n < sizeof incoming / sizeof *incoming; n++) {
                    struct fw_limits limits = {event_limits[e], bytes};
                    uint64_t at = 0;
                    while (!may_stay(events, at, limits, incoming[n]))
                        at++;
                    CHECK(at <= events);
                    CHECK_EQ(fw_log_cut(&log, limits, incoming[n]), ORIGIN + at);
                }
        struct fw_limits none = {0, 0}, widest = {UINT64_MAX, UINT64_MAX};
        CHECK_EQ(fw_log_cut(&log, none, FW_FRAME_MAX), log.tail);
        CHECK_EQ(fw_log_cut(&log, widest, FW_FRAME_MAX), log.tail);
        close_log(&log);
    }
}

static void only_readers_in_front_of_the_cut_are_owed_anything(void)
{
    for (uint64_t at = 0; at <= 6; at++) {
        struct fw_log log;
        struct fw_reader reader = reader_of_weight(1), newest = reader_of_weight(1);
        open_log(&log, 8);
        for (size_t i = 0; i < 6; i++)
            append(&log, 1);
        fw_log_enter(&log, &reader, ORIGIN + at);
        fw_log_enter(&log, &newest, log.head);
        for (uint64_t cut = 0; cut <= 6; cut++)
            CHECK_EQ(fw_log_owed(&log, in_front_of(ORIGIN + cut)), at < cut ? 6 - at : 0);
        fw_log_leave(&log, &reader);
        fw_log_leave(&log, &newest);
        close_log(&log);
    }
}

static void the_pruned_share_one_range(void)
{
    struct fw_log log;
    struct fw_reader a = reader_of_weight(1), b = reader_of_weight(20), c = reader_of_weight(300);
    struct fw_reader finished = reader_of_weight(4000), stays = reader_of_weight(50000);
    open_log(&log, 16);
    for (size_t i = 0; i < 6; i++)
        append(&log, 1);
    fw_log_enter(&log, &a, ORIGIN + 1);
    fw_log_enter(&log, &b, ORIGIN + 1);
    fw_log_enter(&log, &c, ORIGIN + 2);
    fw_log_enter(&log, &finished, ORIGIN + 2);
    fw_log_enter(&log, &stays, ORIGIN + 3);
    finished.end = ORIGIN + 4;
    finished.counted = false;

    CHECK_EQ(fw_log_owed(&log, in_front_of(ORIGIN + 3)), 5);
    struct fw_range *range = fw_range_new(7); /* more room than needed is welcome */
    CHECK_EQ(fw_log_prune(&log, in_front_of(ORIGIN + 3), range), 321);
    CHECK(range->references == 4 && range->first == ORIGIN + 1 && range->count == 5);
    for (uint64_t i = 1; i < 6; i++) {
        CHECK(range->frames[i - 1] == fw_log_slot(&log, ORIGIN + i)->frame);
        CHECK_EQ(atomic_load(&range->frames[i - 1]->references), 2);
    }
    CHECK_EQ(atomic_load(&fw_log_slot(&log, ORIGIN)->frame->references), 1);
    struct fw_reader *pruned[] = {&a, &b, &c, &finished};
    for (size_t i = 0; i < 4; i++) {
        CHECK(!pruned[i]->in_slot && !pruned[i]->counted && pruned[i]->range == range);
        CHECK_EQ(pruned[i]->end, pruned[i] == &finished ? ORIGIN + 4 : ORIGIN + 6);
        CHECK_EQ(pruned[i]->sequence, ORIGIN + 1 + i / 2);
    }
    check_slot(&log, ORIGIN + 1, NULL, 0);
    check_slot(&log, ORIGIN + 2, NULL, 0);
    CHECK_SLOT(&log, ORIGIN + 3, &stays);
    CHECK(stays.counted && stays.range == NULL && stays.end == FW_FOREVER);

    fw_log_leave(&log, &stays);
    close_log(&log);
    CHECK_EQ(atomic_load(&range->frames[0]->references), 1); /* what they are owed outlives the log */
    range->references = 0;
    fw_range_free(range);
}

/* Groups and slots are trimmed, judged and pruned beside each other, whoever is behind. */
static void groups_and_slots_are_judged_each_by_its_limits(void)
{
    enum {
        LENGTH = 8
    };
    for (uint64_t in_slot = 0; in_slot <= LENGTH; in_slot++)
        for (uint64_t in_group = 0; in_group <= LENGTH; in_group++)
            for (uint64_t slot_limit = 1; slot_limit <= LENGTH + 1; slot_limit++)
                for (uint64_t group_limit = 1; group_limit <= LENGTH + 1; group_limit++) {
                    struct fw_log log;
                    struct fw_reader slot = reader_of_weight(1), a = reader_of_weight(10), b = reader_of_weight(100);
                    struct fw_group group = {.sequence = ORIGIN + in_group},
                                    empty = {.sequence = ORIGIN, .next = &group};
                    open_log(&log, 16);
                    log.groups = &empty;
                    for (size_t i = 0; i < LENGTH; i++)
                        append(&log, 10);
                    fw_log_enter(&log, &slot, ORIGIN + in_slot);
                    fw_log_unite(&group, &a);
                    fw_log_unite(&group, &b);
                    uint64_t first = in_slot < in_group ? in_slot : in_group;
                    trim_all(&log);
                    CHECK_EQ(fw_log_needed(&log), ORIGIN + first);
                    CHECK_EQ(log.tail, ORIGIN + first);

                    struct fw_limits events = {slot_limit, 0}, bytes = {0, 10 * group_limit};
                    struct fw_cut cut = {fw_log_cut(&log, events, 10), fw_log_group_cut(&log, bytes, 10)};
                    bool slot_goes = LENGTH - in_slot >= slot_limit && in_slot != LENGTH;
                    bool group_goes = LENGTH - in_group >= group_limit && in_group != LENGTH;
                    CHECK_EQ(cut.readers > ORIGIN + in_slot, slot_goes);
                    CHECK_EQ(cut.groups > ORIGIN + in_group, group_goes);
                    uint64_t owed = slot_goes && (!group_goes || in_slot < in_group) ? LENGTH - in_slot
                                    : group_goes                                     ? LENGTH - in_group
                                                                                     : 0;
                    CHECK_EQ(fw_log_owed(&log, cut), owed);
                    CHECK_EQ(fw_log_weight(&log, cut), slot_goes + 110 * group_goes);
                    CHECK_EQ(fw_log_allows(&log, events, ORIGIN + in_slot), LENGTH - in_slot <= slot_limit);
                    CHECK_EQ(fw_log_allows(&log, bytes, ORIGIN + in_group),
                             LENGTH - in_group <= group_limit || LENGTH - in_group <= 1);
                    if (owed != 0) {
                        struct fw_range *range = fw_range_new(owed);
                        CHECK_EQ(fw_log_prune(&log, cut, range), slot_goes + 110 * group_goes);
                        CHECK(range->count == owed && range->references == slot_goes + 2u * group_goes);
                        CHECK(group.is_broken == group_goes && (group.readers == NULL) == group_goes);
                        CHECK(!empty.is_broken);
                        CHECK((slot.range == range) == slot_goes && (a.range == range) == group_goes);
                        if (group_goes)
                            CHECK(a.sequence == ORIGIN + in_group && b.end == log.head && !b.counted);
                        range->references = 0;
                        fw_range_free(range);
                    }
                    if (!slot_goes)
                        fw_log_leave(&log, &slot);
                    if (!group_goes) {
                        fw_log_part(&a);
                        CHECK_EQ(a.sequence, ORIGIN + in_group);
                        fw_log_enter(&log, &a, a.sequence); /* however far the slots have been trimmed */
                        trim_all(&log);
                        CHECK_EQ(fw_log_needed(&log), ORIGIN + in_group);
                        fw_log_leave(&log, &a);
                        fw_log_part(&b);
                    }
                    close_log(&log);
                }
}

/* The positions are absolute and only ever subtracted. */
static void positions_may_be_anything(void)
{
    struct fw_log log;
    struct fw_reader reader = reader_of_weight(1);
    open_log(&log, 4);
    log.tail = log.oldest = log.head = UINT64_MAX - 1000;
    log.bytes = UINT64_MAX - 15; /* the running sum may even wrap around */
    fw_log_enter(&log, &reader, log.head);
    for (size_t i = 0; i < 3; i++)
        append(&log, 10);
    CHECK_EQ(fw_log_bytes(&log, log.tail, log.head), 30);
    CHECK_EQ(fw_log_stop(&log, log.tail, log.head, 9, 20), log.tail + 2);
    CHECK_EQ(fw_log_cut(&log, (struct fw_limits){2, 0}, 10), log.tail + 2);
    CHECK_EQ(fw_log_cut(&log, (struct fw_limits){0, 30}, 10), log.tail + 1);
    CHECK_EQ(fw_log_owed(&log, in_front_of(log.tail + 2)), 3);
    fw_log_leave(&log, &reader);
    close_log(&log);
}

int main(void)
{
    RUN(absurd_sizes_are_refused);
    RUN(new_slots_and_ranges_are_empty);
    RUN(a_range_drops_its_frames);
    RUN(append_fills_the_ring);
    RUN(growing_moves_nothing_that_anyone_sees);
    RUN(readers_leave_from_any_place_in_a_slot);
    RUN(trim_stops_at_the_oldest_reader);
    RUN(trim_gives_up_one_reference);
    RUN(stop_is_what_counting_one_by_one_gives);
    RUN(trim_leaves_the_history);
    RUN(a_long_history_goes_in_steps);
    RUN(growing_keeps_the_history);
    RUN(the_history_waits_for_nobody);
    RUN(publishing_does_not_look_at_the_history);
    RUN(cut_is_the_first_place_where_a_reader_may_stay);
    RUN(only_readers_in_front_of_the_cut_are_owed_anything);
    RUN(the_pruned_share_one_range);
    RUN(groups_and_slots_are_judged_each_by_its_limits);
    RUN(positions_may_be_anything);
    return 0;
}
