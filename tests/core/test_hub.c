/* fw_hub_*: what each function promises, in one thread. Random orders of calls: test_model.c. */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "steps.h"

static void a_new_hub_is_empty(void)
{
    struct fw_hub *hub = sample_hub();
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK(counts.clients == 0 && counts.head == 0 && counts.frames == 0 && counts.bytes == 0 && !counts.closed);
    fw_hub_check(hub);
    fw_hub_unref(hub);
    fw_hub_unref(NULL);
}

static void the_last_reference_frees_the_hub(void)
{
    struct fw_hub *hub = sample_hub();
    size_t live = fw_alloc_live();
    fw_hub_ref(hub);
    fw_hub_unref(hub);
    CHECK_EQ(fw_alloc_live(), live);
    fw_hub_unref(hub);
    CHECK(fw_alloc_live() < live);
}

static void clients_are_counted_by_weight(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader a, b, none;
    fw_hub_join(hub, &a, 1);
    check_counts(hub, 1, 0);
    fw_hub_join(hub, &b, 4000000000);
    check_counts(hub, 4000000001, 0);
    fw_hub_join(hub, &none, 0);
    check_counts(hub, 4000000001, 0);
    CHECK_EQ(publish(hub, 0).clients, 4000000001);
    fw_hub_leave(hub, &b);
    check_counts(hub, 1, 1);
    fw_hub_leave(hub, &none);
    fw_hub_leave(hub, &a);
    check_counts(hub, 0, 0);
    fw_hub_unref(hub);
}

static void totals_only_grow(void)
{
    struct fw_hub *hub = open_hub(2, 0);
    struct fw_reader slow, alert;
    fw_hub_join(hub, &slow, 3);
    fw_hub_join(hub, &alert, 1);
    publish_many(hub, 2, 0);
    check_read(hub, &alert, 2, 0, 2);
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK(counts.total == 4 && counts.pruned == 0 && counts.lag == 2 && counts.text == counts.bytes);
    publish(hub, 0);
    counts = fw_hub_counts(hub);
    CHECK(counts.total == 4 && counts.pruned == 3 && counts.lag == 1 && counts.text == 3 * counts.bytes);
    fw_hub_leave(hub, &alert);
    fw_hub_leave(hub, &slow);
    fw_hub_close(hub);
    fw_hub_join(hub, &alert, 1); /* too late to be counted */
    counts = fw_hub_counts(hub);
    CHECK(counts.total == 4 && counts.pruned == 3 && counts.lag == 0);
    fw_hub_leave(hub, &alert);
    fw_hub_unref(hub);
}

static void a_renewed_hub_has_the_limits_and_nobody(void)
{
    struct fw_hub *old = open_hub(2, 0);
    struct fw_reader theirs, ours;
    fw_hub_join(old, &theirs, 1);
    publish_many(old, 2, 0);
    struct fw_hub *hub;
    CHECK_EQ(fw_hub_renew(old, &hub), FW_OK);
    check_counts(hub, 0, 0);
    CHECK(fw_hub_counts(hub).head == 0 && fw_hub_counts(hub).total == 0);
    fw_hub_join(hub, &ours, 1);
    publish_many(hub, 2, 0);
    CHECK_EQ(publish(hub, 0).pruned, 1);
    check_counts(old, 1, 2);
    fw_hub_leave(old, &theirs);
    fw_hub_leave(hub, &ours);
    fw_hub_close(old);
    struct fw_hub *closed;
    CHECK_EQ(fw_hub_renew(old, &closed), FW_OK);
    CHECK(fw_hub_counts(closed).closed && !fw_hub_counts(hub).closed);
    fw_hub_unref(closed);
    fw_hub_unref(hub);
    fw_hub_unref(old);
}

static void publishing_to_nobody_keeps_no_frame(void)
{
    struct fw_hub *hub = open_hub(256, 0);
    size_t live = fw_alloc_live();
    struct fw_frame *frame = sample_frame(0, 0);
    struct fw_published published;
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    CHECK(published.sequence == 0 && published.pruned == 0 && published.clients == 0);
    CHECK_EQ(atomic_load(&frame->references), 1);
    fw_frame_unref(frame);
    publish_many(hub, 1000, 0);
    check_counts(hub, 0, 0);
    CHECK_EQ(fw_hub_counts(hub).head, 1001);
    CHECK_EQ(fw_hub_counts(hub).bytes, 0);
    CHECK_EQ(fw_alloc_live(), live);
    fw_hub_unref(hub);
}

static void a_reader_enters_at_the_head(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader early, late;
    publish_many(hub, 3, 0);
    fw_hub_join(hub, &early, 1);
    check_status(hub, &early, FW_EAGAIN);
    publish_many(hub, 2, 0);
    fw_hub_join(hub, &late, 1);
    check_status(hub, &late, FW_EAGAIN);
    publish(hub, 0);
    check_read(hub, &late, FW_BATCH_FRAMES, 5, 6);
    check_counts(hub, 2, 3);
    check_read(hub, &early, FW_BATCH_FRAMES, 3, 6);
    check_counts(hub, 2, 0);
    check_status(hub, &early, FW_EAGAIN);
    CHECK(!(fw_hub_fate(hub, &early) == FW_FATE_PRUNED));
    fw_hub_leave(hub, &early);
    fw_hub_leave(hub, &late);
    fw_hub_unref(hub);
}

static void one_frame_is_shared_by_everyone(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader readers[50];
    static struct fw_batch batch;
    for (size_t i = 0; i < 50; i++)
        fw_hub_join(hub, &readers[i], 1);
    struct fw_frame *frame = sample_frame(0, 0);
    struct fw_published published;
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    CHECK_EQ(published.clients, 50);
    for (size_t i = 0; i < 50; i++) {
        CHECK_EQ(atomic_load(&frame->references), 2);
        CHECK_EQ(fw_hub_read(hub, &readers[i], 1, 0, &batch), FW_OK);
        CHECK(batch.frames[0] == frame);
        CHECK_EQ(atomic_load(&frame->references), i == 49 ? 2 : 3); /* with the last read the log gives it up */
        fw_batch_release(&batch);
    }
    CHECK_EQ(atomic_load(&frame->references), 1);
    fw_frame_unref(frame);
    for (size_t i = 0; i < 50; i++)
        fw_hub_leave(hub, &readers[i]);
    fw_hub_unref(hub);
}

static void leaving_frees_what_one_reader_alone_needed(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader slow, fast;
    size_t live = fw_alloc_live();
    fw_hub_join(hub, &slow, 1);
    publish_many(hub, 3, 0);
    fw_hub_join(hub, &fast, 1);
    publish_many(hub, 2, 0);
    check_counts(hub, 2, 5);
    fw_hub_leave(hub, &slow);
    check_counts(hub, 1, 2);
    check_read(hub, &fast, FW_BATCH_FRAMES, 3, 5);
    fw_hub_leave(hub, &fast);
    CHECK_EQ(fw_alloc_live(), live);
    fw_hub_unref(hub);
}

/* With a limit of B, the publish that would make it B + 1 prunes, and not the one before. */
static void pruning_is_exact(void)
{
    static const uint64_t limits[] = {1, 2, 3, 15, 16, 17, 256, 300};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (uint64_t already_read = 0; already_read <= 3; already_read++) {
            uint64_t b = limits[i];
            struct fw_hub *hub = open_hub(b, 0);
            struct fw_reader slow, alert;
            fw_hub_join(hub, &slow, 7);
            fw_hub_join(hub, &alert, 1);
            for (uint64_t n = 0; n < already_read; n++) {
                publish(hub, 0);
                check_read(hub, &slow, 1, n, n + 1);
                check_read(hub, &alert, 1, n, n + 1);
            }
            for (uint64_t n = already_read; n < already_read + b; n++) {
                struct fw_published published = publish(hub, 0);
                CHECK(published.pruned == 0 && published.clients == 8);
                check_read(hub, &alert, 1, n, n + 1);
                CHECK(!(fw_hub_fate(hub, &slow) == FW_FATE_PRUNED));
            }
            check_counts(hub, 8, b);
            struct fw_published published = publish(hub, 0);
            CHECK(published.pruned == 7 && published.clients == 1);
            CHECK((fw_hub_fate(hub, &slow) == FW_FATE_PRUNED) && !(fw_hub_fate(hub, &alert) == FW_FATE_PRUNED));
            check_counts(hub, 1, 1); /* the log keeps nothing for the one that was pruned */
            CHECK_EQ(publish(hub, 0).pruned, b == 1 ? 1 : 0);

            /* It still reads what was buffered for it, not the event that was too much, and ends. */
            uint64_t at = already_read, end = already_read + b;
            check_read(hub, &slow, 1, at, at + 1);
            if (b > 1)
                check_read(hub, &slow, FW_BATCH_FRAMES, at + 1, end);
            check_status(hub, &slow, FW_EEND);
            check_status(hub, &slow, FW_EEND);
            fw_hub_leave(hub, &slow);
            check_read(hub, &alert, FW_BATCH_FRAMES, end, b == 1 ? end + 1 : end + 2);
            fw_hub_leave(hub, &alert);
            fw_hub_unref(hub);
        }
}

static void without_a_limit_nobody_is_pruned(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    for (size_t i = 0; i < 5000; i++)
        CHECK_EQ(publish(hub, 0).pruned, 0);
    check_counts(hub, 1, 5000);
    check_read(hub, &reader, 100, 0, 100);
    check_counts(hub, 1, 4900);
    fw_hub_leave(hub, &reader); /* far more than one trim takes under the lock */
    check_counts(hub, 0, 0);
    fw_hub_unref(hub);
}

static void a_long_backlog_is_freed_whichever_call_ends_it(void)
{
    for (int way = 0; way < 4; way++) {
        struct fw_hub *hub = open_hub(1000, 0);
        struct fw_reader reader;
        fw_hub_join(hub, &reader, 1);
        publish_many(hub, 1000, 0);
        size_t live = fw_alloc_live();
        if (way == 0)
            fw_hub_leave(hub, &reader);
        else if (way == 1)
            check_read(hub, &reader, FW_BATCH_FRAMES, 0, 1000);
        else
            CHECK_EQ(publish(hub, 0).pruned, 1);
        check_counts(hub, way == 1, 0);
        if (way < 2)
            CHECK(live - fw_alloc_live() > 1000 * sizeof(struct fw_frame));
        if (way == 3)
            check_read(hub, &reader, FW_BATCH_FRAMES, 0, 1000);
        if (way != 0)
            fw_hub_leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

/* Two stuck readers in one slot, one in the next: a byte limit can prune all three at once. */
static void a_range_goes_with_the_last_that_needs_it(void)
{
    for (unsigned order = 0; order < 3; order++) {
        struct fw_hub *hub = open_hub(0, 100);
        struct fw_reader readers[3];
        size_t live_empty = fw_alloc_live();
        fw_hub_join(hub, &readers[0], 1);
        fw_hub_join(hub, &readers[1], 2);
        publish(hub, 40);
        fw_hub_join(hub, &readers[2], 4);
        publish(hub, 40);
        size_t two_frames = fw_alloc_live() - live_empty;
        struct fw_published published = publish(hub, 90);
        CHECK(published.pruned == 7 && published.clients == 0);
        check_counts(hub, 0, 0);
        size_t live_range = fw_alloc_live();
        CHECK_EQ(live_range - live_empty, two_frames + sizeof(struct fw_range) + 2 * sizeof(void *));
        check_read(hub, &readers[0], FW_BATCH_FRAMES, 0, 2);
        check_read(hub, &readers[1], 1, 0, 1);
        check_read(hub, &readers[2], 1, 1, 2);
        fw_hub_leave(hub, &readers[order]);
        fw_hub_leave(hub, &readers[(order + 1) % 3]);
        CHECK_EQ(fw_alloc_live(), live_range);
        fw_hub_leave(hub, &readers[(order + 2) % 3]);
        CHECK_EQ(fw_alloc_live(), live_empty);
        fw_hub_unref(hub);
    }
}

static void a_pruned_reader_outlives_the_log(void)
{
    struct fw_hub *hub = open_hub(20, 0);
    struct fw_reader stuck;
    fw_hub_join(hub, &stuck, 1);
    publish_many(hub, 500, 0); /* the ring went around, and grew, under the range */
    check_counts(hub, 0, 0);
    check_read(hub, &stuck, 5, 0, 5);
    fw_hub_close(hub);
    check_read(hub, &stuck, FW_BATCH_FRAMES, 5, 20);
    check_status(hub, &stuck, FW_EEND);
    fw_hub_leave(hub, &stuck);
    fw_hub_unref(hub);
}

static void a_byte_limit_prunes_what_does_not_fit(void)
{
    struct fw_hub *hub = open_hub(0, 1000);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish(hub, 400);
    publish(hub, 600); /* exactly full */
    CHECK_EQ(fw_hub_counts(hub).bytes, 1000);
    check_read(hub, &reader, 1, 0, 1);
    publish(hub, 400); /* the bytes that were read count no more */
    CHECK(!(fw_hub_fate(hub, &reader) == FW_FATE_PRUNED));
    CHECK_EQ(publish(hub, 28).pruned, 1);
    check_read(hub, &reader, FW_BATCH_FRAMES, 1, 3);
    check_status(hub, &reader, FW_EEND);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

static void an_empty_buffer_takes_one_event_of_any_size(void)
{
    struct fw_hub *hub = open_hub(0, 1);
    struct fw_reader reader, stuck;
    fw_hub_join(hub, &reader, 1);
    for (uint64_t n = 0; n < 20; n++) {
        CHECK_EQ(publish(hub, 100 + n * 3000).pruned, 0);
        check_read(hub, &reader, 1, n, n + 1);
    }
    fw_hub_join(hub, &stuck, 1);
    CHECK_EQ(publish(hub, 5000).pruned, 0);
    check_read(hub, &reader, 1, 20, 21);
    CHECK_EQ(publish(hub, 28).pruned, 1);
    CHECK((fw_hub_fate(hub, &stuck) == FW_FATE_PRUNED) && !(fw_hub_fate(hub, &reader) == FW_FATE_PRUNED));
    check_read(hub, &stuck, FW_BATCH_FRAMES, 20, 21);
    check_status(hub, &stuck, FW_EEND);
    fw_hub_leave(hub, &stuck);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

static void both_limits_hold(void)
{
    struct fw_hub *hub = open_hub(3, 1000);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish_many(hub, 3, 30);
    CHECK_EQ(publish(hub, 30).pruned, 1); /* by events */
    fw_hub_leave(hub, &reader);
    fw_hub_join(hub, &reader, 1);
    publish(hub, 800);
    CHECK_EQ(publish(hub, 201).pruned, 1); /* by bytes */
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

static void a_reader_is_endangered_beyond_half_of_a_limit(void)
{
    static const struct {
        struct fw_limits limits;
        uint64_t safe; /* events of 30 bytes behind */
        uint64_t most;
    } cases[] = {{{1, 0}, 0, 1},   {{2, 0}, 1, 2},   {{3, 0}, 1, 3},  {{256, 0}, 128, 256},
                 {{0, 120}, 2, 4}, {{0, 119}, 1, 3}, {{9, 60}, 1, 2}, {{2, 600}, 1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fw_hub *hub = open_hub(cases[i].limits.events, cases[i].limits.bytes);
        struct fw_reader reader;
        publish_many(hub, 2, 30);
        fw_hub_join(hub, &reader, 1);
        for (uint64_t behind = 0; behind <= cases[i].most; behind++) {
            CHECK_EQ(fw_hub_endangered(hub, &reader), behind > cases[i].safe);
            CHECK_EQ(publish(hub, 30).pruned, behind == cases[i].most);
        }
        CHECK(!fw_hub_endangered(hub, &reader)); /* too late */
        fw_hub_leave(hub, &reader);
        fw_hub_unref(hub);
    }
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish_many(hub, 1000, 0);
    CHECK(!fw_hub_endangered(hub, &reader));
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

static void limits_of_a_hub_with_readers_are_fixed(void)
{
    struct fw_hub *hub = open_hub(1, 0);
    struct fw_reader reader, pruned;
    fw_hub_join(hub, &pruned, 1);
    publish_many(hub, 2, 0);
    check_counts(hub, 0, 0);
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){5, 0}, (struct fw_history){0}),
             FW_EBUSY); /* pruned, but still here */
    fw_hub_join(hub, &reader, 1);
    fw_hub_leave(hub, &pruned);
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){5, 0}, (struct fw_history){0}), FW_EBUSY);
    publish(hub, 0);
    CHECK_EQ(publish(hub, 0).pruned, 1); /* the old limit holds */
    fw_hub_leave(hub, &reader);
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){5, 0}, (struct fw_history){0}), FW_OK);
    fw_hub_join(hub, &reader, 1);
    publish_many(hub, 5, 0);
    CHECK_EQ(publish(hub, 0).pruned, 1);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

/* Lets `reader`, far behind in an unlimited hub, become the owner of a range of the same events. */
static void prune_by_one_large_event(struct fw_hub *hub, struct fw_reader *reader)
{
    CHECK_EQ(publish(hub, SAMPLE_MOST).pruned, 1);
    CHECK((fw_hub_fate(hub, reader) == FW_FATE_PRUNED));
}

static void a_read_is_at_most_64_kib(void)
{
    for (int pruned = 0; pruned < 2; pruned++) {
        struct fw_hub *hub = open_hub(0, 5 * FW_BATCH_BYTES);
        struct fw_reader reader;
        fw_hub_join(hub, &reader, 1);
        publish(hub, FW_BATCH_BYTES - 28);
        publish(hub, 28); /* together exactly the budget */
        publish(hub, FW_BATCH_BYTES - 28);
        publish(hub, 29);                 /* one byte too many */
        publish(hub, FW_BATCH_BYTES + 1); /* alone and whole */
        publish_many(hub, 3, 30);
        if (pruned)
            prune_by_one_large_event(hub, &reader);
        check_read(hub, &reader, FW_BATCH_FRAMES, 0, 2);
        check_read(hub, &reader, FW_BATCH_FRAMES, 2, 3);
        check_read(hub, &reader, FW_BATCH_FRAMES, 3, 4);
        check_read(hub, &reader, FW_BATCH_FRAMES, 4, 5);
        check_read(hub, &reader, 2, 5, 7);
        check_read(hub, &reader, 2, 7, 8);
        check_status(hub, &reader, pruned ? FW_EEND : FW_EAGAIN);
        fw_hub_leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

static void a_read_is_at_most_4096_frames(void)
{
    for (int pruned = 0; pruned < 2; pruned++) {
        struct fw_hub *hub = open_hub(0, 80000);
        struct fw_reader reader;
        fw_hub_join(hub, &reader, 1);
        for (size_t i = 0; i < 4100; i++) {
            struct fw_published published;
            struct fw_frame *frame = sample_frame(i, 0);
            CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
            fw_frame_unref(frame);
        }
        CHECK(fw_hub_counts(hub).bytes < FW_BATCH_BYTES);
        if (pruned)
            prune_by_one_large_event(hub, &reader);
        check_read(hub, &reader, FW_BATCH_FRAMES, 0, 4096);
        check_read(hub, &reader, FW_BATCH_FRAMES, 4096, 4100);
        fw_hub_leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

/* A read that would end where the caller has been already moves the reader and takes no frame. */
static void known_events_are_not_taken_again(void)
{
    static struct fw_batch batch;
    for (int pruned = 0; pruned < 2; pruned++) {
        struct fw_hub *hub = open_hub(3, 0);
        struct fw_reader reader;
        fw_hub_join(hub, &reader, 1);
        publish_many(hub, 3, 0);
        if (pruned)
            publish(hub, 0);
        CHECK_EQ(fw_hub_read(hub, &reader, 1, 2, &batch), FW_OK); /* known is something else */
        CHECK(batch.first == 0 && batch.last == 1 && batch.count == 1);
        fw_batch_release(&batch);
        CHECK_EQ(fw_hub_read(hub, &reader, FW_BATCH_FRAMES, 3, &batch), FW_OK);
        CHECK(batch.first == 1 && batch.last == 3 && batch.count == 0);
        CHECK_EQ(reader.sequence, 3);
        check_counts(hub, !pruned, 0);
        check_status(hub, &reader, pruned ? FW_EEND : FW_EAGAIN);
        fw_hub_leave(hub, &reader);
        fw_hub_unref(hub);
    }
}

static void finish_ends_one_reader_at_the_present_head(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader ends, stays;
    fw_hub_join(hub, &ends, 5);
    fw_hub_join(hub, &stays, 1);
    publish_many(hub, 2, 0);
    fw_hub_finish(hub, &ends, false);
    check_counts(hub, 1, 2);
    CHECK_EQ(publish(hub, 0).clients, 1);
    fw_hub_finish(hub, &ends, false); /* later, but the end was set */
    check_counts(hub, 1, 3);
    check_read(hub, &ends, 1, 0, 1);
    check_read(hub, &ends, FW_BATCH_FRAMES, 1, 2);
    check_status(hub, &ends, FW_EEND);
    fw_hub_finish(hub, &ends, false);
    check_status(hub, &ends, FW_EEND);
    check_read(hub, &stays, FW_BATCH_FRAMES, 0, 3);
    check_status(hub, &stays, FW_EAGAIN);
    fw_hub_finish(hub, &stays, false);
    check_status(hub, &stays, FW_EEND);
    fw_hub_leave(hub, &ends);
    check_counts(hub, 0, 0);
    fw_hub_leave(hub, &stays);
    fw_hub_unref(hub);
}

static void finish_changes_nothing_for_the_pruned(void)
{
    struct fw_hub *hub = open_hub(2, 0);
    struct fw_reader reader, other;
    fw_hub_join(hub, &reader, 5);
    fw_hub_join(hub, &other, 1);
    for (uint64_t n = 0; n < 3; n++) {
        publish(hub, 0);
        check_read(hub, &other, 1, n, n + 1);
    }
    check_counts(hub, 1, 0);
    fw_hub_finish(hub, &reader, false);
    check_counts(hub, 1, 0);
    check_read(hub, &reader, FW_BATCH_FRAMES, 0, 2);
    check_status(hub, &reader, FW_EEND);
    fw_hub_leave(hub, &reader);
    check_counts(hub, 1, 0);
    fw_hub_leave(hub, &other);
    fw_hub_unref(hub);
}

/* One that was finished and does not read is a stuck reader like any other: the limit frees what it holds up. */
static void a_finished_reader_holds_no_more_than_the_limit(void)
{
    struct fw_hub *hub = open_hub(2, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish(hub, 0);
    fw_hub_finish(hub, &reader, false);
    CHECK_EQ(publish(hub, 0).pruned, 0);
    CHECK_EQ(publish(hub, 0).pruned, 0); /* it went, but it was no client any more */
    check_counts(hub, 0, 0);
    check_read(hub, &reader, FW_BATCH_FRAMES, 0, 1);
    check_status(hub, &reader, FW_EEND);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

static void close_ends_everyone_and_freezes_the_head(void)
{
    struct fw_hub *hub = open_hub(2, 0);
    struct fw_reader behind, idle, pruned, late;
    fw_hub_join(hub, &pruned, 1);
    publish_many(hub, 1, 0);
    fw_hub_join(hub, &behind, 10);
    publish_many(hub, 2, 0);
    fw_hub_join(hub, &idle, 100);
    check_counts(hub, 110, 2);
    fw_hub_close(hub);
    fw_hub_close(hub);
    CHECK(fw_hub_counts(hub).closed);
    check_counts(hub, 0, 2);

    fw_hub_join(hub, &late, 1000);
    check_counts(hub, 0, 2);
    check_status(hub, &late, FW_EEND);
    check_status(hub, &idle, FW_EEND);
    CHECK(!(fw_hub_fate(hub, &late) == FW_FATE_PRUNED) && !(fw_hub_fate(hub, &idle) == FW_FATE_PRUNED));

    struct fw_frame *frame = sample_frame(77, 0);
    struct fw_published published = {9, 9, 9};
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    CHECK(published.sequence == 3 && published.pruned == 0 && published.clients == 0);
    CHECK_EQ(atomic_load(&frame->references), 1);
    fw_frame_unref(frame);
    CHECK_EQ(fw_hub_counts(hub).head, 3);

    check_read(hub, &behind, FW_BATCH_FRAMES, 1, 3);
    check_status(hub, &behind, FW_EEND);
    check_read(hub, &pruned, FW_BATCH_FRAMES, 0, 2);
    check_status(hub, &pruned, FW_EEND);
    fw_hub_finish(hub, &behind, false);
    fw_hub_finish(hub, &late, false);
    check_status(hub, &late, FW_EEND);
    check_counts(hub, 0, 0);
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){0, 0}, (struct fw_history){0}), FW_EBUSY);
    fw_hub_leave(hub, &late);
    fw_hub_leave(hub, &behind);
    fw_hub_leave(hub, &pruned);
    fw_hub_leave(hub, &idle);
    check_counts(hub, 0, 0);
    fw_hub_unref(hub);
}

static void a_backlog_may_be_left_after_close(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish_many(hub, 700, 0);
    fw_hub_close(hub);
    fw_hub_leave(hub, &reader);
    check_counts(hub, 0, 0);
    fw_hub_unref(hub);
}

static void frames_in_a_batch_outlive_the_hub(void)
{
    static struct fw_batch batch;
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    publish_many(hub, 3, 0);
    CHECK_EQ(fw_hub_read(hub, &reader, FW_BATCH_FRAMES, 0, &batch), FW_OK);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
    for (size_t i = 0; i < 3; i++)
        CHECK_EQ(sample_number(batch.frames[i]), i);
    fw_batch_release(&batch);
    fw_batch_release(&batch);
}

int main(void)
{
    RUN(a_new_hub_is_empty);
    RUN(the_last_reference_frees_the_hub);
    RUN(clients_are_counted_by_weight);
    RUN(totals_only_grow);
    RUN(a_renewed_hub_has_the_limits_and_nobody);
    RUN(publishing_to_nobody_keeps_no_frame);
    RUN(a_reader_enters_at_the_head);
    RUN(one_frame_is_shared_by_everyone);
    RUN(leaving_frees_what_one_reader_alone_needed);
    RUN(pruning_is_exact);
    RUN(without_a_limit_nobody_is_pruned);
    RUN(a_long_backlog_is_freed_whichever_call_ends_it);
    RUN(a_range_goes_with_the_last_that_needs_it);
    RUN(a_pruned_reader_outlives_the_log);
    RUN(a_byte_limit_prunes_what_does_not_fit);
    RUN(an_empty_buffer_takes_one_event_of_any_size);
    RUN(both_limits_hold);
    RUN(a_reader_is_endangered_beyond_half_of_a_limit);
    RUN(limits_of_a_hub_with_readers_are_fixed);
    RUN(a_read_is_at_most_64_kib);
    RUN(a_read_is_at_most_4096_frames);
    RUN(known_events_are_not_taken_again);
    RUN(finish_ends_one_reader_at_the_present_head);
    RUN(finish_changes_nothing_for_the_pruned);
    RUN(a_finished_reader_holds_no_more_than_the_limit);
    RUN(close_ends_everyone_and_freezes_the_head);
    RUN(a_backlog_may_be_left_after_close);
    RUN(frames_in_a_batch_outlive_the_hub);
    return 0;
}
