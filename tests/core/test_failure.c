/* Every allocation fails once, in turn: nothing has happened then, and the next attempt succeeds. The same where the
 * system gives no random bytes (the Makefile links with --wrap=getentropy). */
#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "sample.h"

int __wrap_getentropy(void *bytes, size_t size);
int __real_getentropy(void *bytes, size_t size);

static bool failed; /* in this run */
static bool random_fails;

int __wrap_getentropy(void *bytes, size_t size)
{
    return random_fails ? -1 : __real_getentropy(bytes, size);
}

static void check_same(struct fw_hub_counts a, struct fw_hub_counts b)
{
    CHECK(a.clients == b.clients && a.head == b.head && a.frames == b.frames && a.bytes == b.bytes &&
          a.closed == b.closed && a.pruned == b.pruned && a.lag == b.lag && a.history_events == b.history_events &&
          a.history_bytes == b.history_bytes);
}

/* After a failure everything is as before, and there is no second one. */
static void saw(int status, size_t live_before)
{
    CHECK_EQ(status, FW_ENOMEM);
    CHECK(!failed);
    CHECK_EQ(fw_alloc_live(), live_before);
    failed = true;
}

static struct fw_hub *open_hub(struct fw_limits limits, uint64_t history)
{
    size_t live = fw_alloc_live();
    struct fw_hub *hub = sample_hub();
    if (hub == NULL) {
        saw(FW_ENOMEM, live);
        hub = sample_hub();
    }
    CHECK(hub != NULL);
    CHECK_EQ(fw_hub_set_limits(hub, limits, (struct fw_history){.events = history}), FW_OK);
    return hub;
}

/* Returns the weight of the pruned. */
static uint64_t publish(struct fw_hub *hub)
{
    struct fw_hub_counts before = fw_hub_counts(hub);
    struct fw_frame *frame = NULL;
    size_t live = fw_alloc_live();
    int status = sample_format(before.head, 50, true, &frame);
    if (status != FW_OK) {
        saw(status, live);
        CHECK(frame == NULL);
        frame = sample_frame_with_id(before.head, 50);
    }
    live = fw_alloc_live();
    struct fw_published published;
    status = fw_hub_publish(hub, frame, &published);
    if (status != FW_OK) {
        saw(status, live);
        fw_hub_check(hub);
        check_same(fw_hub_counts(hub), before);
        CHECK_EQ(atomic_load(&frame->references), 1);
        CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    }
    fw_hub_check(hub);
    CHECK_EQ(published.sequence, before.head);
    CHECK_EQ(sample_id(frame).position.low, before.head + 1);
    fw_frame_unref(frame);
    return published.pruned;
}

/* Reading, coming back and leaving need no memory, so they cannot fail: `reader` still gets [first, last). */
static void check_reads(struct fw_hub *hub, struct fw_reader *reader, uint64_t first, uint64_t last)
{
    static struct fw_batch batch;
    while (first != last) {
        CHECK_EQ(fw_hub_read(hub, reader, 7, 0, &batch), FW_OK);
        CHECK(batch.count != 0 && batch.first == first);
        for (size_t i = 0; i < batch.count; i++)
            CHECK_EQ(sample_number(batch.frames[i]), first++);
        fw_batch_release(&batch);
        fw_hub_check(hub);
    }
    CHECK(fw_hub_read(hub, reader, 7, 0, &batch) != FW_OK);
}

static enum fw_join resume(struct fw_hub *hub, struct fw_reader *reader, uint64_t position)
{
    char text[FW_ID_SIZE_MAX];
    struct fw_id id;
    fw_hub_id(hub, &(struct fw_reader){.sequence = position}, text);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &id), FW_OK);
    enum fw_join join = fw_hub_resume(hub, reader, 1, &id);
    fw_hub_check(hub);
    return join;
}

/* Three readers of which one reads, through two growths of the ring, up to the publish that prunes the others; with a
 * limit of 15 the first growth and the first pruning are one and the same publish. With a history a fourth comes back
 * and catches up, one event at a time, and a fifth for all that there is. */
static void scenario(uint64_t limit, bool in_bytes, uint64_t history)
{
    struct fw_hub *hub = open_hub((struct fw_limits){in_bytes ? 0 : limit, in_bytes ? 50 * limit : 0}, history);
    struct fw_reader stuck, twin, alert, back, late;
    static struct fw_batch batch;
    fw_hub_join(hub, &stuck, 2);
    fw_hub_join(hub, &twin, 3);
    fw_hub_join(hub, &alert, 1);
    for (uint64_t n = 0; n < limit; n++) {
        CHECK_EQ(publish(hub), 0);
        if (n % 2 == 1)
            check_reads(hub, &alert, n - 1, n + 1);
        if (n == 1 && history != 0)
            CHECK_EQ(resume(hub, &back, 0), FW_JOIN_RESUMED);
        if (n >= 1 && history != 0) {
            CHECK_EQ(fw_hub_read(hub, &back, 1, n, &batch), FW_OK); /* n: it is known */
            CHECK_EQ(batch.last, n);
        }
    }
    uint64_t read = limit - limit % 2;
    CHECK_EQ(fw_hub_counts(hub).clients, 6 + (history != 0));
    CHECK_EQ(publish(hub), 5);
    CHECK((fw_hub_fate(hub, &stuck) == FW_FATE_PRUNED) && (fw_hub_fate(hub, &twin) == FW_FATE_PRUNED) &&
          !(fw_hub_fate(hub, &alert) == FW_FATE_PRUNED));
    CHECK_EQ(publish(hub), 0);
    CHECK_EQ(fw_hub_counts(hub).clients, 1 + (history != 0));
    check_reads(hub, &stuck, 0, limit);
    fw_hub_leave(hub, &stuck);
    check_reads(hub, &twin, 0, limit);
    fw_hub_leave(hub, &twin);
    check_reads(hub, &alert, read, limit + 2);
    fw_hub_leave(hub, &alert);
    if (history != 0) {
        CHECK_EQ(resume(hub, &late, limit + 2), FW_JOIN_RESUMED);
        fw_hub_leave(hub, &late);
        uint64_t tail = limit + 2 > history ? limit + 2 - history : 0;
        CHECK_EQ(resume(hub, &late, 0), tail != 0 ? FW_JOIN_EVICTED : FW_JOIN_RESUMED);
        check_reads(hub, &late, tail, limit + 2);
        fw_hub_leave(hub, &late);
        check_reads(hub, &back, limit - 1, limit + 2);
        fw_hub_leave(hub, &back);
    }
    fw_hub_check(hub);
    CHECK_EQ(fw_hub_counts(hub).frames, history < limit + 2 ? history : limit + 2);
    fw_hub_unref(hub);
}

static void fail_in_turn(uint64_t limit, bool in_bytes, uint64_t history)
{
    long successes = 0;
    do {
        size_t live = fw_alloc_live();
        failed = false;
        fw_alloc_fail_after(successes++);
        scenario(limit, in_bytes, history);
        fw_alloc_fail_after(-1);
        CHECK_EQ(fw_alloc_live(), live);
    } while (failed);
    /* hub, slots, frames, range, and the growths of the ring, which the stuck or the history fill */
    uint64_t fills = history > limit ? limit + 1 : limit;
    CHECK_EQ(successes - 1, 2 + (long)limit + 2 + 1 + (fills >= 15) + (fills >= 31));
}

static void every_allocation_fails_in_turn(void)
{
    static const uint64_t limits[] = {2, 14, 15, 16, 30, 31, 40}, histories[] = {0, 3, 1000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (size_t n = 0; n < sizeof histories / sizeof *histories; n++)
            for (int in_bytes = 0; in_bytes < 2; in_bytes++)
                fail_in_turn(limits[i], in_bytes, histories[n]);
}

/* Without limits nothing else than the ring can be missing, and a failed growth loses no place in it. */
static void growth_fails_as_often_as_it_likes(void)
{
    struct fw_hub *hub = open_hub((struct fw_limits){0, 0}, 0);
    struct fw_reader reader;
    fw_hub_join(hub, &reader, 1);
    for (uint64_t n = 0; n < 15; n++)
        publish(hub);
    struct fw_frame *frame = sample_frame(15, 50);
    struct fw_published published;
    for (int i = 0; i < 3; i++) {
        fw_alloc_fail_after(0);
        CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_ENOMEM);
        fw_hub_check(hub);
        CHECK_EQ(fw_hub_counts(hub).head, 15);
    }
    fw_frame_unref(frame);
    check_reads(hub, &reader, 0, 15);
    publish(hub);
    check_reads(hub, &reader, 15, 16);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
}

/* A closed hub drops events, so it needs nothing; nor does one without readers. */
static void publishing_into_the_void_allocates_nothing(void)
{
    for (int closed = 0; closed < 2; closed++) {
        struct fw_hub *hub = open_hub((struct fw_limits){1, 1}, 0);
        if (closed)
            fw_hub_close(hub);
        struct fw_frame *frame = sample_frame(0, 0);
        struct fw_published published;
        fw_alloc_fail_after(0);
        CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
        fw_alloc_fail_after(-1);
        fw_frame_unref(frame);
        fw_hub_unref(hub);
    }
}

static void without_random_bytes_there_is_no_hub(void)
{
    struct fw_hub *old = sample_hub(), *hub = NULL;
    size_t live = fw_alloc_live();
    random_fails = true;
    CHECK_EQ(fw_hub_new(&hub), FW_ERANDOM);
    CHECK_EQ(fw_hub_renew(old, &hub), FW_ERANDOM);
    random_fails = false;
    CHECK(hub == NULL);
    CHECK_EQ(fw_alloc_live(), live);
    CHECK_EQ(fw_hub_renew(old, &hub), FW_OK);
    fw_hub_unref(hub);
    fw_hub_unref(old);
}

int main(void)
{
    RUN(every_allocation_fails_in_turn);
    RUN(growth_fails_as_often_as_it_likes);
    RUN(publishing_into_the_void_allocates_nothing);
    RUN(without_random_bytes_there_is_no_hub);
    return 0;
}
