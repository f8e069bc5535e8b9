/* fw_group_*: members, windows, and who leaves where. A member that leaves may need memory, and the hub is not locked while
 * it is had; so each allocation can be the moment in which something happens (the Makefile links with --wrap=fw_alloc). */
#include "core/group.h"

#include "core/hub_state.h"
#include "steps.h"

enum {
    LAG = 10,
    MEMBERS = 4
};

void *__wrap_fw_alloc(size_t size);
void *__real_fw_alloc(size_t size);

static void (*meanwhile)(void); /* at the next allocation, once */

void *__wrap_fw_alloc(size_t size)
{
    void (*act)(void) = meanwhile;
    meanwhile = NULL;
    if (act != NULL)
        act();
    return __real_fw_alloc(size);
}

static struct fw_hub *hub;
static struct fw_group group;
static struct fw_reader members[MEMBERS];
static struct fw_range *range; /* the one that was used last */

static void gather(struct fw_reader *reader, enum fw_gathered expected)
{
    size_t most;
    CHECK_EQ(fw_group_gather(hub, &group, reader, &most), expected);
    fw_hub_check(hub);
}

static void open_group(struct fw_limits limits, size_t count)
{
    hub = open_hub_with(limits, (struct fw_history){0});
    fw_group_open(hub, &group);
    range = NULL;
    for (size_t i = 0; i < count; i++) {
        fw_hub_join(hub, &members[i], 1 + (uint32_t)i);
        gather(&members[i], FW_GATHERED_JOINS);
    }
}

static void close_group(size_t count)
{
    for (size_t i = 0; i < count; i++)
        fw_hub_leave(hub, &members[i]);
    fw_range_free(range);
    fw_group_close(hub, &group);
    check_counts(hub, 0, 0);
    fw_hub_unref(hub);
}

/* Returns whether the reader owes what `range` holds. */
static bool part(struct fw_reader *reader)
{
    struct fw_range *before = range;
    bool owes;
    CHECK_EQ(fw_group_part(hub, reader, &range, &owes), FW_OK);
    if (before != range)
        fw_range_free(before);
    CHECK(reader->group == NULL);
    fw_hub_check(hub);
    return owes;
}

static void check_range(uint64_t first, uint64_t end)
{
    CHECK(range != NULL && range->references == 0);
    CHECK_EQ(range->first, first);
    CHECK_EQ(range->first + range->count, end);
    for (uint64_t i = first; i < end; i++)
        CHECK_EQ(sample_number(range->frames[i - first]), i);
}

static void a_window_does_not_move_the_group(void)
{
    static struct fw_batch batch;
    open_group((struct fw_limits){LAG, 0}, 1);
    CHECK_EQ(fw_group_peek(hub, &group, &batch), FW_EAGAIN);
    publish_many(hub, 5, 20000);
    CHECK_EQ(fw_group_peek(hub, &group, &batch), FW_OK);
    CHECK(batch.first == 0 && batch.last == 3 && batch.count == 3 && batch.bytes == 60000);
    for (uint64_t i = 0; i < 3; i++)
        CHECK_EQ(sample_number(batch.frames[i]), i);
    check_counts(hub, 1, 5);
    CHECK(fw_group_advance(hub, &group, batch.last));
    check_counts(hub, 1, 2);
    CHECK_EQ(fw_hub_counts(hub).lag, 2);
    fw_batch_release(&batch);
    CHECK(!part(&members[0]));
    CHECK_EQ(fw_group_peek(hub, &group, &batch), FW_EAGAIN); /* nobody needs it */
    CHECK(!fw_group_advance(hub, &group, 5));
    CHECK_EQ(group.sequence, 3);
    check_read(hub, &members[0], 9, 3, 5);
    close_group(1);
}

static void the_view_shows_what_has_happened(void)
{
    open_group((struct fw_limits){LAG, 0}, 1);
    hub->group.events = LAG;
    publish(hub, 50);
    struct fw_group_view view = fw_group_look(hub, &group);
    CHECK(view.head == 1 && !view.is_closed && !view.is_broken);
    publish_many(hub, LAG, 50);
    fw_hub_close(hub);
    view = fw_group_look(hub, &group);
    CHECK(view.head == 1 + LAG && view.is_closed && view.is_broken);
    fw_group_mend(hub, &group);
    CHECK(!fw_group_look(hub, &group).is_broken);
    close_group(1);
}

static void a_reader_goes_no_further_than_the_group(void)
{
    struct fw_reader behind, ahead;
    size_t most;
    open_group((struct fw_limits){LAG, 0}, 1);
    fw_hub_join(hub, &behind, 1);
    publish_many(hub, 4, 50);
    CHECK(fw_group_advance(hub, &group, 3));
    fw_hub_join(hub, &ahead, 1);
    CHECK_EQ(fw_group_gather(hub, &group, &behind, &most), FW_GATHERED_READS);
    CHECK_EQ(most, 3);
    gather(&ahead, FW_GATHERED_WAITS);
    check_read(hub, &behind, most, 0, 3);
    gather(&behind, FW_GATHERED_JOINS);
    fw_hub_finish(hub, &ahead, false);
    CHECK_EQ(fw_group_gather(hub, &group, &ahead, &most), FW_GATHERED_READS); /* to its end */
    CHECK_EQ(most, FW_BATCH_FRAMES);
    fw_hub_leave(hub, &behind);
    fw_hub_leave(hub, &ahead);
    close_group(1);
}

static void an_empty_group_goes_to_the_head(void)
{
    struct fw_reader behind;
    size_t most;
    open_group((struct fw_limits){LAG, 0}, 0);
    fw_hub_join(hub, &behind, 1);
    publish_many(hub, 4, 50);
    CHECK_EQ(group.sequence, 0);
    CHECK_EQ(fw_group_gather(hub, &group, &behind, &most), FW_GATHERED_READS);
    CHECK(most == 4 && group.sequence == 4);
    fw_hub_leave(hub, &behind);
    close_group(0);
}

static void members_may_leave_the_hub(void)
{
    open_group((struct fw_limits){LAG, 0}, MEMBERS);
    publish_many(hub, 20, 50);
    check_counts(hub, 10, 20);
    fw_hub_leave(hub, &members[2]);
    check_counts(hub, 7, 20);
    fw_hub_leave(hub, &members[0]);
    fw_hub_leave(hub, &members[3]);
    check_counts(hub, 2, 20);
    CHECK_EQ(fw_hub_fate(hub, &members[1]), FW_FATE_NONE);
    fw_hub_close(hub);
    CHECK_EQ(fw_hub_fate(hub, &members[1]), FW_FATE_CLOSED);
    fw_hub_leave(hub, &members[1]);
    close_group(0);
}

/* Within the limits of a live reader, in events or bytes, it is one. */
static void who_leaves_within_the_limits_is_live(void)
{
    for (size_t in_bytes = 0; in_bytes < 2; in_bytes++)
        for (size_t behind = 0; behind <= LAG + 3; behind++) {
            open_group((struct fw_limits){in_bytes ? 1000 : LAG, in_bytes ? LAG * 50 : 0}, 2);
            publish_many(hub, behind, 50);
            bool owes = part(&members[0]);
            CHECK_EQ(owes, behind > LAG);
            CHECK_EQ(members[0].sequence, owes ? behind : 0);
            CHECK(members[0].in_slot && members[0].counted);
            if (owes)
                check_range(0, behind);
            check_counts(hub, 3, behind);
            publish(hub, 50); /* the other one is still there, and the first is limited as anyone */
            CHECK_EQ(fw_hub_counts(hub).pruned, behind == LAG);
            CHECK(fw_group_advance(hub, &group, behind + 1));
            CHECK_EQ(fw_hub_counts(hub).frames, behind == LAG ? 0 : owes ? 1 : behind + 1);
            close_group(2);
        }
    open_group((struct fw_limits){LAG, 100}, 1); /* an event of any size */
    publish(hub, 5000);
    CHECK(!part(&members[0]));
    close_group(1);
}

static void the_same_range_is_used_as_long_as_it_fits(void)
{
    open_group((struct fw_limits){LAG, 0}, MEMBERS);
    publish_many(hub, 50, 50);
    CHECK(part(&members[0]));
    check_range(0, 50);
    struct fw_range *first = range;
    CHECK(fw_group_advance(hub, &group, 20));
    publish_many(hub, LAG, 50); /* its end is as far behind as may be */
    CHECK(part(&members[1]));
    CHECK(range == first && members[1].sequence == 50);
    publish(hub, 50);
    CHECK(part(&members[2]));
    check_range(20, 51 + LAG);
    CHECK(fw_group_advance(hub, &group, 45));
    CHECK(part(&members[3]));
    check_range(20, 51 + LAG);
    close_group(MEMBERS);
}

static void a_range_ends_where_the_group_begins(void)
{
    open_group((struct fw_limits){LAG, 0}, 2);
    publish_many(hub, 50, 50);
    CHECK(part(&members[0]));
    CHECK(fw_group_advance(hub, &group, 50));
    CHECK(!part(&members[1]));
    CHECK_EQ(members[1].sequence, 50);
    close_group(2);
}

static void one_event_comes(void)
{
    publish(hub, 50);
}

static void the_group_is_pruned(void)
{
    hub->group = (struct fw_limits){20, 0};
    CHECK_EQ(publish(hub, 50).pruned, 1);
}

static void the_world_goes_on_while_a_range_is_allocated(void)
{
    open_group((struct fw_limits){LAG, 0}, 1);
    publish_many(hub, 20, 50);
    meanwhile = one_event_comes;
    CHECK(part(&members[0]));
    CHECK(meanwhile == NULL);
    check_range(0, 21);
    CHECK_EQ(members[0].sequence, 21);
    close_group(1);

    open_group((struct fw_limits){LAG, 0}, 1);
    publish_many(hub, 20, 50);
    meanwhile = the_group_is_pruned;
    CHECK(!part(&members[0]));
    CHECK(meanwhile == NULL && range == NULL);
    CHECK_EQ(fw_hub_fate(hub, &members[0]), FW_FATE_PRUNED);
    check_read(hub, &members[0], 50, 0, 20);
    CHECK(group.is_broken);
    close_group(1);
}

static void whoever_is_cut_off_ends_there(void)
{
    struct fw_reader live;
    open_group((struct fw_limits){LAG, 0}, 1);
    fw_hub_join(hub, &live, 5);
    publish_many(hub, 9, 50);
    check_read(hub, &live, 2, 0, 2);
    fw_group_cut_off(hub, &live);
    check_status(hub, &live, FW_EEND);
    check_counts(hub, 1, 9);
    fw_group_cut_off(hub, &members[0]);
    CHECK_EQ(members[0].sequence, 9);
    check_status(hub, &members[0], FW_EEND);
    check_counts(hub, 0, 7);
    fw_hub_leave(hub, &live);
    close_group(1);
}

int main(void)
{
    RUN(a_window_does_not_move_the_group);
    RUN(the_view_shows_what_has_happened);
    RUN(a_reader_goes_no_further_than_the_group);
    RUN(an_empty_group_goes_to_the_head);
    RUN(members_may_leave_the_hub);
    RUN(who_leaves_within_the_limits_is_live);
    RUN(the_same_range_is_used_as_long_as_it_fits);
    RUN(a_range_ends_where_the_group_begins);
    RUN(the_world_goes_on_while_a_range_is_allocated);
    RUN(whoever_is_cut_off_ends_there);
    return 0;
}
