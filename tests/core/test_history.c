/* fw_hub_* with a history: ids, readers that come back, what becomes of them while they catch up, and the counts. */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "steps.h"

enum {
    SIZE = 100 /* of an event, where it matters */
};

static struct fw_hub *open_with_history(uint64_t events)
{
    return open_hub_with((struct fw_limits){0}, (struct fw_history){.events = events});
}

/* An id of `hub`. */
static struct fw_id id_at(struct fw_hub *hub, uint64_t position)
{
    struct fw_reader here = {.sequence = position};
    return id_of(hub, &here);
}

/* A reader comes back with the id of `position`. */
static enum fw_join resume_as(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight, uint64_t position)
{
    struct fw_id id = id_at(hub, position);
    enum fw_join join = fw_hub_resume(hub, reader, weight, &id);
    fw_hub_check(hub);
    return join;
}

static enum fw_join resume(struct fw_hub *hub, struct fw_reader *reader, uint64_t position)
{
    return resume_as(hub, reader, 1, position);
}

static void leave(struct fw_hub *hub, struct fw_reader *reader)
{
    fw_hub_leave(hub, reader);
    fw_hub_check(hub);
}

static void check_history(struct fw_hub *hub, uint64_t events, uint64_t bytes)
{
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK_EQ(counts.history_events, events);
    CHECK_EQ(counts.history_bytes, bytes);
}

static void check_joins(struct fw_hub *hub, const uint64_t expected[FW_JOINS])
{
    struct fw_hub_counts counts = fw_hub_counts(hub);
    uint64_t total = 0;
    for (int join = 0; join < FW_JOINS; join++) {
        CHECK_EQ(counts.joins[join], expected[join]);
        total += expected[join];
    }
    CHECK_EQ(counts.total, total);
}

/* Ids. */

static void the_hub_writes_the_id_as_it_publishes(void)
{
    struct fw_hub *hub = open_with_history(3);
    struct fw_published published;
    for (uint64_t n = 0; n < 40; n++) {
        struct fw_frame *frame = sample_frame_with_id(n, 0);
        struct fw_text text = fw_frame_text(frame);
        for (size_t i = 0; i < FW_ID_SIZE; i++)
            CHECK_EQ(text.at[frame->id_at + i], '-'); /* which is no id, nor part of one */
        CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
        struct fw_id id = sample_id(frame), expected = id_at(hub, n + 1);
        CHECK(id.position.low == n + 1 && memcmp(id.epoch, expected.epoch, FW_EPOCH_DIGITS) == 0);
        CHECK_EQ(sample_number(frame), n);
        fw_frame_unref(frame);
    }
    struct fw_frame *plain = sample_frame(40, 0), *copy = sample_frame(40, 0);
    CHECK_EQ(fw_hub_publish(hub, plain, &published), FW_OK); /* one without room for it stays as it is */
    CHECK(memcmp(plain->bytes, copy->bytes, FW_FRAME_HEAD + plain->size + 2) == 0);
    fw_frame_unref(plain);
    fw_frame_unref(copy);

    fw_hub_close(hub); /* an event that is dropped has none */
    struct fw_frame *late = sample_frame_with_id(41, 0);
    CHECK_EQ(fw_hub_publish(hub, late, &published), FW_OK);
    CHECK_EQ(fw_frame_text(late).at[late->id_at], '-');
    fw_frame_unref(late);
    fw_hub_unref(hub);
}

static void a_reader_stands_behind_the_event_that_it_had_last(void)
{
    struct fw_hub *hub = open_with_history(10);
    struct fw_reader early, late, again;
    fw_hub_join(hub, &early, 1);
    CHECK_EQ(id_of(hub, &early).position.low, 0);
    publish_many_with_id(hub, 4, 0);
    CHECK_EQ(id_of(hub, &early).position.low, 0); /* it moves as it reads, not as others publish */
    check_read(hub, &early, 3, 0, 3);
    CHECK_EQ(id_of(hub, &early).position.low, 3);
    fw_hub_join(hub, &late, 1);
    CHECK_EQ(id_of(hub, &late).position.low, 4);
    CHECK_EQ(resume(hub, &again, 2), FW_JOIN_RESUMED);
    CHECK_EQ(id_of(hub, &again).position.low, 2);
    leave(hub, &early);
    leave(hub, &late);
    leave(hub, &again);
    fw_hub_unref(hub);
}

static void every_hub_has_an_epoch_of_its_own(void)
{
    struct fw_hub *one = open_with_history(1), *other = open_with_history(1);
    struct fw_id a = id_at(one, 1), b = id_at(other, 1);
    CHECK(memcmp(a.epoch, b.epoch, FW_EPOCH_DIGITS) != 0);
    fw_hub_unref(one);
    fw_hub_unref(other);
}

/* Coming back. */

/* For each id that a client of this hub can have, and some that none can: nothing that is still here is missing, nothing
 * comes twice, and it goes on with what is published next. */
static void a_resume_takes_what_is_missing(void)
{
    static const size_t budgets[] = {1, 3, FW_BATCH_FRAMES};
    for (uint64_t published = 0; published <= 25; published++)
        for (uint64_t position = 0; position <= published + 2; position++)
            for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++) {
                struct fw_hub *hub = open_with_history(10);
                struct fw_reader reader;
                publish_many_with_id(hub, published, 0);
                uint64_t tail = published > 10 ? published - 10 : 0;
                enum fw_join expected = position > published ? FW_JOIN_FUTURE
                                        : position < tail    ? FW_JOIN_EVICTED
                                                             : FW_JOIN_RESUMED;
                CHECK_EQ(resume(hub, &reader, position), expected);
                uint64_t at = expected == FW_JOIN_RESUMED ? position : tail;
                CHECK_EQ(reader.sequence, at);
                CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_NONE);
                check_counts(hub, 1, published - tail);
                while (at != published) {
                    uint64_t last = published - at < budgets[b] ? published : at + budgets[b];
                    check_read(hub, &reader, budgets[b], at, last);
                    at = last;
                }
                check_status(hub, &reader, FW_EAGAIN);
                publish_many_with_id(hub, 2, 0);
                check_read(hub, &reader, FW_BATCH_FRAMES, published, published + 2);
                check_status(hub, &reader, FW_EAGAIN);
                check_counts(hub, 1, published + 2 > 10 ? 10 : published + 2);
                leave(hub, &reader);
                fw_hub_unref(hub);
            }
}

static void an_id_that_does_not_fit_begins_with_all_that_there_is(void)
{
    struct fw_hub *hub = open_with_history(5);
    publish_many_with_id(hub, 8, 0);
    struct fw_id good = id_at(hub, 6), foreign = good, wide = good, foreign_and_wide, future = good, beyond = good;
    CHECK_EQ(fw_id_draw(foreign.epoch), FW_OK);
    wide.digits = FW_POSITION_DIGITS_MAX;
    foreign_and_wide = foreign;
    foreign_and_wide.digits = FW_POSITION_DIGITS_MAX;
    future.position.low = 9;
    beyond.position.low = UINT64_MAX;
    struct fw_id last_digit = good;
    last_digit.epoch[FW_EPOCH_DIGITS - 1] = last_digit.epoch[FW_EPOCH_DIGITS - 1] == 'a' ? 'b' : 'a';
    const struct {
        const struct fw_id *id;
        enum fw_join join;
    } cases[] = {
        {&foreign, FW_JOIN_EPOCH}, {&foreign_and_wide, FW_JOIN_EPOCH}, {&last_digit, FW_JOIN_EPOCH},
        {&future, FW_JOIN_FUTURE}, {&beyond, FW_JOIN_FUTURE},          {&wide, FW_JOIN_INVALID},
        {NULL, FW_JOIN_INVALID},   {&good, FW_JOIN_RESUMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fw_reader reader;
        CHECK_EQ(fw_hub_resume(hub, &reader, 1, cases[i].id), cases[i].join);
        fw_hub_check(hub);
        check_read(hub, &reader, FW_BATCH_FRAMES, cases[i].join == FW_JOIN_RESUMED ? 6 : 3, 8);
        check_status(hub, &reader, FW_EAGAIN);
        leave(hub, &reader);
    }
    fw_hub_unref(hub);
}

static void without_a_history_only_the_last_id_fits(void)
{
    struct fw_hub *hub = open_hub(2, 0);
    struct fw_reader reader;
    publish_many_with_id(hub, 3, 0);
    for (uint64_t position = 0; position <= 4; position++) {
        CHECK_EQ(resume(hub, &reader, position), position < 3    ? FW_JOIN_EVICTED
                                                 : position == 3 ? FW_JOIN_RESUMED
                                                                 : FW_JOIN_FUTURE);
        CHECK_EQ(reader.sequence, 3);
        check_status(hub, &reader, FW_EAGAIN);
        leave(hub, &reader);
    }
    CHECK_EQ(resume(hub, &reader, 0), FW_JOIN_EVICTED); /* it is live, like anyone */
    publish_many_with_id(hub, 2, 0);
    CHECK_EQ(publish_with_id(hub, 0).pruned, 1);
    check_history(hub, 0, 0);
    leave(hub, &reader);
    fw_hub_unref(hub);
}

/* What is in the log for somebody who reads slowly is there for those who come back, too; but not for their sake. */
static void a_slow_reader_keeps_more_than_the_history(void)
{
    struct fw_hub *hub = open_with_history(3);
    struct fw_reader slow, back;
    fw_hub_join(hub, &slow, 1);
    publish_many_with_id(hub, 10, SIZE);
    check_counts(hub, 1, 10);
    check_history(hub, 3, 3 * SIZE);
    CHECK_EQ(resume(hub, &back, 2), FW_JOIN_RESUMED);
    check_read(hub, &back, 1, 2, 3);
    check_read(hub, &slow, 4, 0, 4);
    check_counts(hub, 2, 6);
    CHECK_EQ(fw_hub_fate(hub, &back), FW_FATE_PASSED);
    check_status(hub, &back, FW_EEND);
    leave(hub, &back);
    leave(hub, &slow);
    check_counts(hub, 0, 3);
    fw_hub_unref(hub);
}

static void a_closed_hub_resumes_nobody(void)
{
    struct fw_hub *hub = open_with_history(5);
    struct fw_reader reader;
    publish_many_with_id(hub, 4, 0);
    struct fw_id id = id_at(hub, 1);
    fw_hub_close(hub);
    for (int way = 0; way < 2; way++) {
        CHECK_EQ(fw_hub_resume(hub, &reader, 1, way == 0 ? &id : NULL), FW_JOIN_LIVE);
        CHECK_EQ(reader.sequence, 4);
        check_status(hub, &reader, FW_EEND);
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_CLOSED);
        check_counts(hub, 0, 4);
        leave(hub, &reader);
    }
    check_joins(hub, (uint64_t[FW_JOINS]){0});
    fw_hub_unref(hub);
}

/* Catching up. */

static void who_catches_up_is_not_pruned_and_holds_nothing(void)
{
    for (int in_bytes = 0; in_bytes < 2; in_bytes++) {
        struct fw_limits limits = {in_bytes ? 0 : 2, in_bytes ? 2 * SIZE : 0};
        struct fw_hub *hub = open_hub_with(limits, (struct fw_history){.events = 10});
        struct fw_reader reader;
        publish_many_with_id(hub, 10, SIZE);
        CHECK_EQ(resume_as(hub, &reader, 3, 1), FW_JOIN_RESUMED);
        CHECK(!fw_hub_endangered(hub, &reader));
        for (uint64_t n = 1; n < 30; n++) { /* nine behind all the time, where two are allowed */
            CHECK_EQ(publish_with_id(hub, SIZE).pruned, 0);
            CHECK(!fw_hub_endangered(hub, &reader));
            check_read(hub, &reader, 1, n, n + 1);
            check_counts(hub, 3, 10);
            CHECK_EQ(fw_hub_counts(hub).lag, 0);
        }
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_NONE);
        CHECK(fw_hub_counts(hub).pruned == 0 && fw_hub_counts(hub).passed == 0);

        /* At the head it is like anyone. */
        check_read(hub, &reader, 8, 30, 38);
        CHECK_EQ(fw_hub_counts(hub).lag, 0);
        check_read(hub, &reader, 8, 38, 39);
        check_status(hub, &reader, FW_EAGAIN);
        CHECK_EQ(publish_with_id(hub, SIZE).pruned, 0);
        CHECK_EQ(fw_hub_counts(hub).lag, 1);
        CHECK_EQ(publish_with_id(hub, SIZE).pruned, 0);
        CHECK(fw_hub_endangered(hub, &reader));
        struct fw_published published = publish_with_id(hub, SIZE);
        CHECK(published.pruned == 3 && published.clients == 0);
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_PRUNED);
        check_read(hub, &reader, FW_BATCH_FRAMES, 39, 41);
        check_status(hub, &reader, FW_EEND);
        CHECK(fw_hub_counts(hub).pruned == 3 && fw_hub_counts(hub).passed == 0);
        leave(hub, &reader);
        check_counts(hub, 0, 10);
        fw_hub_unref(hub);
    }
}

/* The seam between replay and live, at each distance, with an event published between any two reads. */
static void there_is_no_gap_and_no_duplicate_at_the_seam(void)
{
    for (uint64_t behind = 0; behind <= 8; behind++)
        for (size_t budget = 1; budget <= 4; budget++)
            for (uint64_t rest = 0; rest < 3; rest++) { /* every how many reads one is published */
                struct fw_hub *hub = open_with_history(20);
                struct fw_reader reader, live;
                publish_many_with_id(hub, 9, 0);
                fw_hub_join(hub, &live, 1);
                CHECK_EQ(resume(hub, &reader, 9 - behind), FW_JOIN_RESUMED);
                uint64_t next = 9 - behind, head = 9;
                for (uint64_t turn = 0; turn < 30; turn++) {
                    if (turn % (rest + 1) == 0) {
                        publish_with_id(hub, 0);
                        check_read(hub, &live, 1, head, head + 1);
                        head++;
                    }
                    if (next == head) {
                        check_status(hub, &reader, FW_EAGAIN);
                        continue;
                    }
                    uint64_t last = head - next < budget ? head : next + budget;
                    check_read(hub, &reader, budget, next, last);
                    next = last;
                }
                CHECK(budget == 1 || next == head);
                leave(hub, &live);
                leave(hub, &reader);
                fw_hub_unref(hub);
            }
}

/* A read that ends where the caller has been already takes no frame; that it may be the one that ends the catching up
 * makes no difference. */
static void known_events_bring_a_reader_to_the_head_too(void)
{
    static struct fw_batch batch;
    struct fw_hub *hub = open_hub_with((struct fw_limits){1, 0}, (struct fw_history){.events = 9});
    struct fw_reader reader;
    publish_many_with_id(hub, 5, SIZE);
    CHECK_EQ(resume(hub, &reader, 1), FW_JOIN_RESUMED);
    CHECK_EQ(fw_hub_read(hub, &reader, FW_BATCH_FRAMES, 5, &batch), FW_OK);
    CHECK(batch.first == 1 && batch.last == 5 && batch.count == 0 && batch.bytes == 4 * SIZE);
    check_status(hub, &reader, FW_EAGAIN);
    CHECK_EQ(publish_with_id(hub, SIZE).pruned, 0);
    CHECK_EQ(publish_with_id(hub, SIZE).pruned, 1);
    leave(hub, &reader);
    fw_hub_unref(hub);
}

static void the_history_passes_who_is_too_slow(void)
{
    for (int in_bytes = 0; in_bytes < 2; in_bytes++) {
        struct fw_history history = {in_bytes ? 1000 : 5, in_bytes ? 5 * SIZE : 0};
        struct fw_hub *hub = open_hub_with((struct fw_limits){0}, history);
        static struct fw_batch batch;
        struct fw_reader reader, live;
        fw_hub_join(hub, &live, 1);
        publish_many_with_id(hub, 5, SIZE);
        check_read(hub, &live, FW_BATCH_FRAMES, 0, 5);
        CHECK_EQ(resume_as(hub, &reader, 7, 0), FW_JOIN_RESUMED);
        CHECK_EQ(fw_hub_read(hub, &reader, 2, 0, &batch), FW_OK); /* what it has is its own */
        publish_many_with_id(hub, 2, SIZE);
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_NONE); /* the tail stands exactly where it does */
        CHECK_EQ(publish_with_id(hub, SIZE).pruned, 0);
        check_read(hub, &live, FW_BATCH_FRAMES, 5, 8);

        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_PASSED);
        CHECK(!fw_hub_endangered(hub, &reader));
        CHECK_EQ(fw_hub_counts(hub).passed, 0); /* it is told at its next read */
        check_counts(hub, 8, 5);
        for (int i = 0; i < 3; i++) { /* and counted once */
            check_status(hub, &reader, FW_EEND);
            CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_PASSED);
            check_counts(hub, 1, 5);
            CHECK(fw_hub_counts(hub).passed == 7 && fw_hub_counts(hub).pruned == 0);
        }
        CHECK_EQ(publish_with_id(hub, SIZE).clients, 1);
        fw_hub_finish(hub, &reader, false); /* too late for another end */
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_PASSED);
        check_status(hub, &reader, FW_EEND);
        leave(hub, &reader);
        check_counts(hub, 1, 5);
        CHECK_EQ(fw_hub_counts(hub).passed, 7);
        CHECK(batch.count == 2 && sample_number(batch.frames[0]) == 0 && sample_number(batch.frames[1]) == 1);
        fw_batch_release(&batch);
        leave(hub, &live);
        fw_hub_unref(hub);
    }
}

static void who_is_passed_may_leave_without_another_read(void)
{
    struct fw_hub *hub = open_with_history(2);
    struct fw_reader reader;
    publish_many_with_id(hub, 2, 0);
    CHECK_EQ(resume_as(hub, &reader, 4, 0), FW_JOIN_RESUMED);
    publish_with_id(hub, 0);
    leave(hub, &reader);
    check_counts(hub, 0, 2);
    CHECK_EQ(fw_hub_counts(hub).passed, 4);
    fw_hub_unref(hub);
}

static void finish_at_once_ends_who_catches_up_where_it_is(void)
{
    struct fw_hub *hub = open_with_history(4);
    struct fw_reader reader, live;
    fw_hub_join(hub, &live, 1);
    publish_many_with_id(hub, 3, 0);
    CHECK_EQ(resume_as(hub, &reader, 1, 1), FW_JOIN_RESUMED);
    check_read(hub, &reader, 1, 1, 2);
    fw_hub_finish(hub, &reader, true);
    fw_hub_finish(hub, &live, true);
    publish_many_with_id(hub, 9, 0);
    check_status(hub, &reader, FW_EEND);
    check_status(hub, &live, FW_EEND);
    CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_FINISHED);
    leave(hub, &reader);
    leave(hub, &live);
    CHECK_EQ(fw_hub_counts(hub).passed, 0);
    fw_hub_unref(hub);
}

static void the_history_is_counted_within_its_bytes(void)
{
    struct fw_hub *hub = sample_hub();
    struct fw_reader slow;
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){0, 0}, (struct fw_history){100, 250}), FW_OK);
    fw_hub_join(hub, &slow, 1);
    publish_many_with_id(hub, 9, 100);
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK(counts.frames == 9 && counts.history_events == 2 && counts.history_bytes == 200);
    leave(hub, &slow);
    counts = fw_hub_counts(hub);
    CHECK(counts.frames == 2 && counts.history_events == 2 && counts.history_bytes == 200);
    fw_hub_unref(hub);
}

static void finish_ends_who_catches_up_at_the_present_head(void)
{
    for (int publishes = 0; publishes < 2; publishes++) {
        struct fw_hub *hub = open_with_history(6);
        struct fw_reader reader;
        publish_many_with_id(hub, 6, 0);
        CHECK_EQ(resume_as(hub, &reader, 5, 1), FW_JOIN_RESUMED);
        fw_hub_finish(hub, &reader, false);
        fw_hub_finish(hub, &reader, false);
        check_counts(hub, 0, 6);
        if (publishes)
            publish_with_id(hub, 0);
        check_read(hub, &reader, 2, 1, 3);
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_FINISHED);
        check_read(hub, &reader, FW_BATCH_FRAMES, 3, 6);
        check_status(hub, &reader, FW_EEND);
        CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_FINISHED);
        leave(hub, &reader);
        check_counts(hub, 0, 6);
        fw_hub_unref(hub);
    }
}

/* Of one that was told to end, the history may take what it has read, but not what it was still owed. */
static void the_history_passes_who_was_finished(void)
{
    for (uint64_t read = 0; read <= 3; read++) {
        struct fw_hub *hub = open_with_history(6);
        struct fw_reader reader;
        publish_many_with_id(hub, 6, 0);
        CHECK_EQ(resume(hub, &reader, 3), FW_JOIN_RESUMED);
        fw_hub_finish(hub, &reader, false);
        publish_with_id(hub, 0); /* so that it never comes to the head */
        if (read != 0)
            check_read(hub, &reader, read, 3, 3 + read);
        publish_many_with_id(hub, 20, 0);
        enum fw_fate fate = read == 3 ? FW_FATE_FINISHED : FW_FATE_PASSED;
        CHECK_EQ(fw_hub_fate(hub, &reader), fate);
        check_status(hub, &reader, FW_EEND);
        CHECK_EQ(fw_hub_fate(hub, &reader), fate);
        CHECK_EQ(fw_hub_counts(hub).passed, 0); /* it was no client any more */
        check_counts(hub, 0, 6);
        leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

static void close_ends_who_catches_up(void)
{
    struct fw_hub *hub = open_with_history(6);
    struct fw_reader reader;
    publish_many_with_id(hub, 6, 0);
    CHECK_EQ(resume_as(hub, &reader, 5, 1), FW_JOIN_RESUMED);
    check_read(hub, &reader, 1, 1, 2);
    fw_hub_close(hub);
    check_counts(hub, 0, 6);
    check_read(hub, &reader, 1, 2, 3);
    CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_CLOSED);
    check_read(hub, &reader, FW_BATCH_FRAMES, 3, 6);
    check_status(hub, &reader, FW_EEND);
    CHECK_EQ(fw_hub_fate(hub, &reader), FW_FATE_CLOSED);
    leave(hub, &reader);
    check_counts(hub, 0, 6);
    fw_hub_unref(hub);
}

/* After close() nobody is a client, so nobody is uncounted. */
static void a_slow_reader_that_leaves_a_closed_hub_lets_the_history_pass_another(void)
{
    struct fw_hub *hub = open_with_history(2);
    struct fw_reader slow, back;
    fw_hub_join(hub, &slow, 1);
    publish_many_with_id(hub, 10, 0);
    CHECK_EQ(resume(hub, &back, 1), FW_JOIN_RESUMED);
    fw_hub_close(hub);
    leave(hub, &slow);
    check_counts(hub, 0, 2);
    CHECK_EQ(fw_hub_fate(hub, &back), FW_FATE_PASSED);
    check_status(hub, &back, FW_EEND);
    check_counts(hub, 0, 2);
    CHECK_EQ(fw_hub_counts(hub).passed, 0);
    leave(hub, &back);
    check_counts(hub, 0, 2);
    fw_hub_unref(hub);
}

static void who_leaves_while_catching_up_changes_nothing_else(void)
{
    struct fw_hub *hub = open_with_history(6);
    struct fw_reader reader, other;
    publish_many_with_id(hub, 9, 0);
    size_t live = fw_alloc_live();
    CHECK_EQ(resume_as(hub, &other, 2, 4), FW_JOIN_RESUMED);
    for (uint64_t read = 0; read < 3; read++) {
        CHECK_EQ(resume_as(hub, &reader, 5, 4), FW_JOIN_RESUMED);
        if (read != 0)
            check_read(hub, &reader, read, 4, 4 + read);
        check_counts(hub, 7, 6);
        leave(hub, &reader);
        check_counts(hub, 2, 6);
    }
    check_read(hub, &other, FW_BATCH_FRAMES, 4, 9);
    leave(hub, &other);
    CHECK_EQ(fw_alloc_live(), live); /* coming back and catching up allocate nothing */
    fw_hub_unref(hub);
}

/* Counts and sizes. */

static void joins_are_counted_by_how_they_began(void)
{
    struct fw_hub *hub = open_with_history(3);
    struct fw_reader readers[7];
    publish_many_with_id(hub, 5, 0);
    struct fw_id foreign = id_at(hub, 4);
    CHECK_EQ(fw_id_draw(foreign.epoch), FW_OK);
    fw_hub_join(hub, &readers[0], 1);
    CHECK_EQ(resume_as(hub, &readers[1], 10, 3), FW_JOIN_RESUMED);
    CHECK_EQ(resume_as(hub, &readers[2], 20, 5), FW_JOIN_RESUMED); /* at the head */
    CHECK_EQ(resume_as(hub, &readers[3], 100, 1), FW_JOIN_EVICTED);
    CHECK_EQ(fw_hub_resume(hub, &readers[4], 1000, &foreign), FW_JOIN_EPOCH);
    CHECK_EQ(resume_as(hub, &readers[5], 10000, 6), FW_JOIN_FUTURE);
    CHECK_EQ(fw_hub_resume(hub, &readers[6], 100000, NULL), FW_JOIN_INVALID);
    static const uint64_t expected[FW_JOINS] = {
        [FW_JOIN_LIVE] = 1,     [FW_JOIN_RESUMED] = 30,   [FW_JOIN_EVICTED] = 100,
        [FW_JOIN_EPOCH] = 1000, [FW_JOIN_FUTURE] = 10000, [FW_JOIN_INVALID] = 100000,
    };
    check_joins(hub, expected);
    check_counts(hub, 111131, 3);
    for (size_t i = 0; i < 7; i++)
        leave(hub, &readers[i]);
    check_joins(hub, expected);
    check_counts(hub, 0, 3);
    fw_hub_unref(hub);
}

static void the_history_is_as_long_as_it_was_told(void)
{
    static const struct {
        struct fw_history history;
        uint64_t events; /* of 100 bytes that stay of many */
    } cases[] = {
        {{0, 0}, 0},
        {{0, 5000}, 0},
        {{1, 0}, 1},
        {{300, 0}, 300},
        {{300, 99}, 0},
        {{300, 100}, 1},
        {{300, 199}, 1},
        {{300, 200}, 2},
        {{300, 29999}, 299},
        {{300, 30000}, 300},
        {{300, 30001}, 300},
        {{2, 30000}, 2},
        {{UINT64_MAX, 1000}, 10},
        {{UINT64_MAX, 0}, 1000},
        {{1000, UINT64_MAX}, 1000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fw_hub *hub = open_hub_with((struct fw_limits){0}, cases[i].history);
        for (uint64_t n = 1; n <= 1000; n++) {
            publish_with_id(hub, SIZE);
            uint64_t events = n < cases[i].events ? n : cases[i].events;
            check_history(hub, events, events * SIZE);
            CHECK_EQ(fw_hub_counts(hub).frames, events);
        }
        if (cases[i].history.bytes != 0 && cases[i].history.bytes < 100000) { /* one too large takes all with it */
            publish_with_id(hub, 100001);
            check_history(hub, 0, 0);
            publish_with_id(hub, SIZE);
            check_history(hub, cases[i].events != 0, cases[i].events != 0 ? SIZE : 0);
        }
        fw_hub_unref(hub);
    }
}

static void the_history_costs_its_frames_and_little_more(void)
{
    static const uint64_t lengths[] = {100, 1000, 1023, 1024, 5000}; /* the ring has twice as many slots at worst */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct fw_hub *hub = open_with_history(lengths[i]);
        struct fw_published published;
        size_t empty = fw_alloc_live();
        for (uint64_t n = 0; n < 2 * lengths[i] + 10; n++) {
            struct fw_frame *frame = sample_frame_with_id(n, 0);
            CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
            fw_frame_unref(frame);
        }
        struct fw_hub_counts counts = fw_hub_counts(hub);
        CHECK(counts.frames == lengths[i] && counts.bytes == counts.history_bytes);
        CHECK(fw_alloc_live() - empty <= counts.bytes + 96 * lengths[i]);
        fw_hub_check(hub);
        fw_hub_unref(hub);
    }
}

/* Of two limits, the number of events has the first word. */
static void pruned_by_bytes_are_those_whom_the_number_would_have_spared(void)
{
    struct fw_hub *hub = open_hub_with((struct fw_limits){4, 500}, (struct fw_history){.events = 50});
    struct fw_reader readers[4];
    for (size_t i = 0; i < 4; i++) { /* that one is 4 - i events behind */
        fw_hub_join(hub, &readers[i], i == 0 ? 1 : i == 1 ? 10 : i == 2 ? 100 : 1000);
        publish_with_id(hub, SIZE);
    }
    fw_hub_finish(hub, &readers[1], false);                    /* no client any more */
    struct fw_published published = publish_with_id(hub, 301); /* two events of 100 and this one are too much */
    CHECK(published.pruned == 101 && published.clients == 1000);
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK(counts.pruned == 101 && counts.pruned_by_bytes == 100);
    CHECK_EQ(publish_with_id(hub, 99).pruned, 0); /* exactly full */
    CHECK_EQ(publish_with_id(hub, 60).pruned, 1000);
    counts = fw_hub_counts(hub);
    CHECK(counts.pruned == 1101 && counts.pruned_by_bytes == 1100);
    for (size_t i = 0; i < 4; i++)
        leave(hub, &readers[i]);

    fw_hub_join(hub, &readers[0], 1);
    publish_many_with_id(hub, 4, 60);
    CHECK_EQ(publish_with_id(hub, SAMPLE_MOST).pruned, 1); /* too many, and too much: by events */
    counts = fw_hub_counts(hub);
    CHECK(counts.pruned == 1102 && counts.pruned_by_bytes == 1100 && counts.passed == 0);
    leave(hub, &readers[0]);
    fw_hub_unref(hub);
}

static void limits_set_anew_shorten_the_history_at_once(void)
{
    struct fw_hub *hub = open_with_history(1000);
    struct fw_limits none = {0};
    struct fw_reader reader;
    publish_many_with_id(hub, 1000, SIZE);
    size_t live = fw_alloc_live();
    CHECK_EQ(resume(hub, &reader, 0), FW_JOIN_RESUMED);
    CHECK_EQ(fw_hub_set_limits(hub, none, (struct fw_history){.events = 10}), FW_EBUSY); /* somebody is in it */
    check_history(hub, 1000, 1000 * SIZE);
    leave(hub, &reader);
    CHECK_EQ(fw_hub_set_limits(hub, none, (struct fw_history){.events = 600}), FW_OK); /* more than one trim takes */
    check_history(hub, 600, 600 * SIZE);
    check_counts(hub, 0, 600);
    CHECK_EQ(fw_hub_set_limits(hub, none, (struct fw_history){.events = 700, .bytes = 10 * SIZE}), FW_OK);
    check_history(hub, 10, 10 * SIZE);
    CHECK_EQ(fw_hub_set_limits(hub, none, (struct fw_history){.events = 2000}), FW_OK);
    check_history(hub, 10, 10 * SIZE); /* what went does not come back */
    CHECK_EQ(resume(hub, &reader, 990), FW_JOIN_RESUMED);
    leave(hub, &reader);
    CHECK_EQ(resume(hub, &reader, 989), FW_JOIN_EVICTED);
    leave(hub, &reader);
    CHECK_EQ(fw_hub_set_limits(hub, none, (struct fw_history){0}), FW_OK);
    check_history(hub, 0, 0);
    check_counts(hub, 0, 0);
    CHECK(live - fw_alloc_live() > 1000 * (sizeof(struct fw_frame) + SIZE));
    fw_hub_unref(hub);
}

static void a_renewed_hub_has_an_empty_history_and_another_epoch(void)
{
    for (int in_bytes = 0; in_bytes < 2; in_bytes++) {
        struct fw_history history = {in_bytes ? 100 : 4, in_bytes ? 4 * SIZE : 0};
        struct fw_hub *old = open_hub_with((struct fw_limits){0}, history), *hub;
        publish_many_with_id(old, 9, SIZE);
        struct fw_id theirs = id_at(old, 8);
        CHECK_EQ(fw_hub_renew(old, &hub), FW_OK);
        check_history(hub, 0, 0);
        check_history(old, 4, 4 * SIZE);
        publish_many_with_id(hub, 9, SIZE);
        check_history(hub, 4, 4 * SIZE);
        struct fw_reader reader;
        CHECK_EQ(fw_hub_resume(hub, &reader, 1, &theirs), FW_JOIN_EPOCH);
        check_read(hub, &reader, FW_BATCH_FRAMES, 5, 9);
        leave(hub, &reader);
        fw_hub_unref(hub);
        fw_hub_unref(old);
    }
}

int main(void)
{
    RUN(the_hub_writes_the_id_as_it_publishes);
    RUN(a_reader_stands_behind_the_event_that_it_had_last);
    RUN(every_hub_has_an_epoch_of_its_own);
    RUN(a_resume_takes_what_is_missing);
    RUN(an_id_that_does_not_fit_begins_with_all_that_there_is);
    RUN(without_a_history_only_the_last_id_fits);
    RUN(a_slow_reader_keeps_more_than_the_history);
    RUN(a_closed_hub_resumes_nobody);
    RUN(who_catches_up_is_not_pruned_and_holds_nothing);
    RUN(there_is_no_gap_and_no_duplicate_at_the_seam);
    RUN(known_events_bring_a_reader_to_the_head_too);
    RUN(the_history_passes_who_is_too_slow);
    RUN(who_is_passed_may_leave_without_another_read);
    RUN(finish_at_once_ends_who_catches_up_where_it_is);
    RUN(the_history_is_counted_within_its_bytes);
    RUN(finish_ends_who_catches_up_at_the_present_head);
    RUN(the_history_passes_who_was_finished);
    RUN(close_ends_who_catches_up);
    RUN(a_slow_reader_that_leaves_a_closed_hub_lets_the_history_pass_another);
    RUN(who_leaves_while_catching_up_changes_nothing_else);
    RUN(joins_are_counted_by_how_they_began);
    RUN(the_history_is_as_long_as_it_was_told);
    RUN(the_history_costs_its_frames_and_little_more);
    RUN(pruned_by_bytes_are_those_whom_the_number_would_have_spared);
    RUN(limits_set_anew_shorten_the_history_at_once);
    RUN(a_renewed_hub_has_an_empty_history_and_another_epoch);
    return 0;
}
