/* A publish unlocks to allocate and then looks again. Here every allocation can be the moment in which other threads do
 * something, so that each outcome of the second look is met in every run (the Makefile links with --wrap=fw_alloc). */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "sample.h"

void *__wrap_fw_alloc(size_t size);
void *__real_fw_alloc(size_t size);

static void (*meanwhile)(void); /* at the next allocation, once */
static int acts;                /* that happened */

void *__wrap_fw_alloc(size_t size)
{
    void (*act)(void) = meanwhile;
    meanwhile = NULL;
    if (act != NULL) {
        acts++;
        act();
    }
    return __real_fw_alloc(size);
}

static struct fw_hub *hub;
static struct fw_reader slow, other;

/* Publishes what will be the event `sequence`; `act` happens while that allocates. Returns the weight of the pruned. */
static uint64_t publish_and(size_t size, void (*act)(void), uint64_t sequence)
{
    struct fw_frame *frame = sample_frame(sequence, size);
    struct fw_published published;
    int acts_before = acts;
    meanwhile = act;
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    CHECK_EQ(acts - acts_before, act != NULL);
    CHECK_EQ(published.sequence, sequence);
    fw_frame_unref(frame);
    fw_hub_check(hub);
    return published.pruned;
}

static uint64_t publish(size_t size)
{
    return publish_and(size, NULL, fw_hub_counts(hub).head);
}

static void publish_many(size_t count, size_t size)
{
    while (count-- > 0)
        publish(size);
}

static void check_reads(struct fw_reader *reader, uint64_t first, uint64_t last)
{
    static struct fw_batch batch;
    CHECK_EQ(fw_hub_read(hub, reader, FW_BATCH_FRAMES, 0, &batch), FW_OK);
    CHECK_EQ(batch.first, first);
    CHECK_EQ(batch.last, last);
    for (size_t i = 0; i < batch.count; i++)
        CHECK_EQ(sample_number(batch.frames[i]), first + i);
    fw_batch_release(&batch);
}

static void open_with_history(uint64_t events, uint64_t bytes, uint64_t history)
{
    hub = sample_hub();
    CHECK_EQ(fw_hub_set_limits(hub, (struct fw_limits){events, bytes}, (struct fw_history){.events = history}), FW_OK);
    fw_hub_join(hub, &slow, 1);
}

static void open_hub(uint64_t events, uint64_t bytes)
{
    open_with_history(events, bytes, 0);
}

static void close_hub(void)
{
    fw_hub_leave(hub, &slow);
    CHECK_EQ(fw_hub_counts(hub).frames, fw_hub_counts(hub).history_events);
    fw_hub_unref(hub);
}

/* The ring is full at 15 events, and at 31. */

static void one_event_comes(void)
{
    CHECK_EQ(publish(30), 0);
}

static void sixteen_events_come(void)
{
    publish_many(16, 30);
}

static void slow_reads_all(void)
{
    check_reads(&slow, 0, fw_hub_counts(hub).head);
}

static void slow_leaves(void)
{
    fw_hub_leave(hub, &slow);
}

static void the_hub_is_closed(void)
{
    fw_hub_close(hub);
}

static void a_large_event_comes(void)
{
    CHECK_EQ(publish(5000), 1); /* and prunes */
}

static void other_comes_back(void)
{
    char text[FW_ID_SIZE_MAX];
    struct fw_id id;
    fw_hub_id(hub, &(struct fw_reader){.sequence = 2}, text);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &id), FW_OK);
    CHECK_EQ(fw_hub_resume(hub, &other, 10, &id), FW_JOIN_RESUMED);
}

static void other_comes_to_the_head(void)
{
    other_comes_back();
    check_reads(&other, 2, fw_hub_counts(hub).head);
}

static void others_grew_the_ring(void)
{
    open_hub(0, 0);
    publish_many(15, 30);
    publish_and(30, one_event_comes, 16);
    CHECK_EQ(fw_hub_counts(hub).frames, 17);
    check_reads(&slow, 0, 17);
    close_hub();
}

static void others_grew_and_filled_the_ring(void)
{
    open_hub(0, 0);
    publish_many(15, 30);
    publish_and(30, sixteen_events_come, 31); /* the slots at hand are too few now */
    publish_many(31, 30);
    check_reads(&slow, 0, 63);
    close_hub();
}

static void the_ring_need_not_grow_any_more(void)
{
    open_hub(0, 0);
    publish_many(15, 30);
    publish_and(30, slow_reads_all, 15);
    CHECK_EQ(fw_hub_counts(hub).frames, 1);
    check_reads(&slow, 15, 16);
    close_hub();
}

static void the_hub_was_closed_while_the_ring_grew(void)
{
    open_hub(0, 0);
    publish_many(15, 30);
    CHECK_EQ(publish_and(30, the_hub_is_closed, 15), 0);
    CHECK_EQ(fw_hub_counts(hub).head, 15);
    check_reads(&slow, 0, 15);
    close_hub();
}

static void nobody_is_left_to_prune(void)
{
    void (*const ways[])(void) = {slow_reads_all, slow_leaves};
    for (size_t i = 0; i < 2; i++) {
        open_hub(5, 0);
        publish_many(5, 30);
        CHECK_EQ(publish_and(30, ways[i], 5), 0);
        CHECK_EQ(fw_hub_counts(hub).frames, i == 0);
        if (i == 1)
            fw_hub_join(hub, &slow, 1);
        close_hub();
    }
}

static void another_event_pruned_first(void)
{
    open_hub(0, 1000);
    publish_many(3, 100);
    CHECK_EQ(publish_and(900, a_large_event_comes, 4), 0);
    CHECK_EQ(fw_hub_counts(hub).clients, 0);
    check_reads(&slow, 0, 3);
    close_hub();
}

/* The range at hand has room for three frames, and four are owed by now. */
static void more_is_owed_than_before(void)
{
    open_hub(0, 1000);
    fw_hub_join(hub, &other, 10);
    publish_many(3, 100);
    CHECK_EQ(publish_and(900, one_event_comes, 4), 11);
    check_reads(&slow, 0, 4);
    fw_hub_leave(hub, &other);
    close_hub();
}

static void the_hub_was_closed_instead_of_pruning(void)
{
    open_hub(5, 0);
    publish_many(5, 30);
    CHECK_EQ(publish_and(30, the_hub_is_closed, 5), 0);
    CHECK(!(fw_hub_fate(hub, &slow) == FW_FATE_PRUNED));
    check_reads(&slow, 0, 5);
    close_hub();
}

/* Live since a moment ago or not yet, it gets the event, and is not pruned with those who were there before. */
static void another_came_back(void)
{
    void (*const ways[])(void) = {other_comes_back, other_comes_to_the_head};
    for (size_t i = 0; i < 2; i++)
        for (int growth = 0; growth < 2; growth++) {
            uint64_t sequence = growth ? 15 : 5;
            open_with_history(growth ? 0 : 5, 0, 100);
            publish_many(sequence, 30);
            CHECK_EQ(publish_and(30, ways[i], sequence), growth ? 0 : 1);
            CHECK_EQ(fw_hub_counts(hub).clients, growth ? 11 : 10);
            check_reads(&other, i == 0 ? 2 : sequence, sequence + 1);
            check_reads(&slow, 0, growth ? sequence + 1 : sequence);
            fw_hub_leave(hub, &other);
            close_hub();
        }
}

static void memory_ends_at_the_second_look(void)
{
    for (int growth = 0; growth < 2; growth++) {
        open_hub(0, growth ? 0 : 1000);
        publish_many(growth ? 15 : 3, 100);
        struct fw_frame *frame = sample_frame(0, 900);
        struct fw_published published;
        uint64_t events = growth ? 16 : 1;
        int acts_before = acts;
        meanwhile = growth ? sixteen_events_come : one_event_comes;
        /* In the meantime each event takes one allocation, and the growth one more. */
        fw_alloc_fail_after((long)events + growth + 1);
        CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_ENOMEM);
        CHECK_EQ(acts - acts_before, 1);
        fw_hub_check(hub);
        CHECK(!(fw_hub_fate(hub, &slow) == FW_FATE_PRUNED));
        CHECK_EQ(atomic_load(&frame->references), 1);
        check_reads(&slow, 0, growth ? 31 : 4);
        fw_frame_unref(frame);
        close_hub();
    }
}

int main(void)
{
    RUN(others_grew_the_ring);
    RUN(others_grew_and_filled_the_ring);
    RUN(the_ring_need_not_grow_any_more);
    RUN(the_hub_was_closed_while_the_ring_grew);
    RUN(nobody_is_left_to_prune);
    RUN(another_event_pruned_first);
    RUN(more_is_owed_than_before);
    RUN(the_hub_was_closed_instead_of_pruning);
    RUN(another_came_back);
    RUN(memory_ends_at_the_second_look);
    return 0;
}
