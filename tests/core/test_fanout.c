/* fw_fanout_*: passes, laggards and notes, one by one. */
#define _GNU_SOURCE

#include "viewers.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum {
    LAG = 16, /* the limit of most hubs here */
    CROWD = 200
};

static struct viewer crowd[CROWD];

/* Reads all sockets and serves them until nobody lags. */
static void catch_up(struct fw_hub *hub, struct fw_fanout *fanout, struct viewer *viewers, size_t count)
{
    size_t turns = 0;
    do {
        CHECK(turns++ < 100000);
        for (size_t i = 0; i < count; i++)
            watch_all(&viewers[i]);
        if (is_readable(fanout))
            fw_fanout_ready(fanout, 0);
        run(hub, fanout, 0);
    } while (fw_fanout_laggards(fanout) != 0);
    for (size_t i = 0; i < count; i++)
        watch_all(&viewers[i]);
}

/* Fills the socket of `viewer`, so that it takes nothing more. */
static void stuff(struct viewer *viewer)
{
    static const char bytes[512];
    watch_all(viewer);
    for (size_t size = sizeof bytes; size != 0; size /= 2)
        while (__real_send(viewer->ours, bytes, size, MSG_DONTWAIT) > 0)
            ;
}

static void unstuff(struct viewer *viewer)
{
    char bytes[512];
    while (recv(viewer->theirs, bytes, sizeof bytes, 0) > 0)
        ;
}

/* Gives the socket of `viewer` room for more than a window. */
static void widen(struct viewer *viewer)
{
    int room = 200000;
    CHECK_EQ(setsockopt(viewer->ours, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
}

static void a_client_is_small(void)
{
    CHECK(sizeof(struct fw_direct) <= 120);
}

static void one_send_gives_each_member_all_that_waits(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    CHECK_EQ(fw_fanout_pass(fanout, 64, 1 << 20, 1), FW_PASS_IDLE);
    for (size_t i = 0; i < CROWD; i++)
        arrive(hub, fanout, &crowd[i], i % 2);
    CHECK_EQ(fanout->count, CROWD);
    CHECK_EQ(check_fanout(fanout), CROWD);
    for (size_t round = 0; round < 3; round++) {
        put_many(hub, 5, 100);
        reset_sends();
        run(hub, fanout, 7);
        CHECK_EQ(sends.calls, CROWD);
        CHECK_EQ(fw_hub_counts(hub).frames, 0);
        CHECK_EQ(fw_hub_counts(hub).lag, 0);
        CHECK_EQ(fw_fanout_sent(fanout), 7);
        for (size_t i = 0; i < CROWD; i++) {
            watch_all(&crowd[i]);
            CHECK_EQ(crowd[i].next, published.head);
            CHECK_EQ(crowd[i].direct.events, published.head);
            CHECK_EQ(crowd[i].direct.bytes, 100 * published.head);
        }
    }
    CHECK_EQ(count_armed(fanout), 0);
    CHECK(!is_readable(fanout));
    for (size_t i = 0; i < CROWD; i++)
        go(hub, fanout, &crowd[i]);
    CHECK_EQ(fanout->count, 0);
    close_both(hub, fanout);
}

static void a_pass_owns_one_window_for_each_framing(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 2; i++)
        arrive(hub, fanout, &crowd[i], true);
    put_many(hub, 100, 600);
    size_t before = fw_alloc_live();
    CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
    size_t one = fw_alloc_live() - before;
    CHECK(one >= 60000 && one < 62000 + sizeof(struct fw_window)); /* the frames are the test's too */
    run(hub, fanout, 0);
    CHECK_EQ(fw_alloc_live(), before + (fw_fanout_laggards(fanout) != 0) * one);
    catch_up(hub, fanout, crowd, 2);
    arrive(hub, fanout, &crowd[2], false);
    put_many(hub, 100, 600);
    before = fw_alloc_live();
    CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
    CHECK(fw_alloc_live() - before > 2 * 60000);
    run(hub, fanout, 0);
    catch_up(hub, fanout, crowd, 3);
    for (size_t i = 0; i < 3; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void a_slice_is_bounded_in_clients_and_bytes(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 10; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 1000);
    for (size_t left = 10; left > 3; left -= 3) {
        reset_sends();
        CHECK_EQ(fw_fanout_pass(fanout, 3, SIZE_MAX, 0), FW_PASS_MORE);
        CHECK_EQ(sends.calls, 3);
    }
    CHECK_EQ(fw_fanout_pass(fanout, 3, SIZE_MAX, 0), FW_PASS_IDLE);
    CHECK_EQ(sends.calls, 4);
    put(hub, 1000);
    reset_sends();
    CHECK_EQ(fw_fanout_pass(fanout, 64, 1500, 0), FW_PASS_MORE);
    CHECK_EQ(sends.calls, 2);
    CHECK_EQ(fw_fanout_pass(fanout, 8, SIZE_MAX, 0), FW_PASS_MORE); /* it has not been seen that all are served */
    CHECK_EQ(sends.calls, 10);
    CHECK_EQ(fw_fanout_pass(fanout, 8, SIZE_MAX, 0), FW_PASS_IDLE);
    CHECK_EQ(sends.calls, 10);
    for (size_t i = 0; i < 10; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void another_client_is_the_first_of_each_pass(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 5; i++)
        arrive(hub, fanout, &crowd[i], true);
    for (size_t pass = 0; pass < 12; pass++) {
        put(hub, 50);
        reset_sends();
        run(hub, fanout, 0);
        CHECK_EQ(sends.calls, 5);
        for (size_t i = 0; i < 5; i++)
            CHECK_EQ(sends.descriptors[i], crowd[(pass + i) % 5].ours);
        for (size_t i = 0; i < 5; i++)
            watch_all(&crowd[i]);
    }
    for (size_t i = 0; i < 5; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void the_head_is_looked_at_again_at_the_end_of_a_pass(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 4; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 0), FW_PASS_MORE);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 4, SIZE_MAX, 0), FW_PASS_AGAIN);
    CHECK_EQ(fw_hub_counts(hub).lag, 1);
    run(hub, fanout, 0);
    for (size_t i = 0; i < 4; i++) {
        watch_all(&crowd[i]);
        CHECK_EQ(crowd[i].next, 2);
    }
    /* What does not fit into one window does not wait for a gap. */
    widen(&crowd[0]);
    put_many(hub, LAG, 20000);
    CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 0), FW_PASS_MORE);
    catch_up(hub, fanout, crowd, 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(crowd[i].next, published.head);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void events_without_text_have_no_chunk(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 2; i++)
        arrive(hub, fanout, &crowd[i], i);
    put_frame(hub, empty_frame());
    put(hub, 40);
    put_frame(hub, empty_frame());
    run(hub, fanout, 0);
    put_frame(hub, empty_frame());
    reset_sends();
    run(hub, fanout, 0);
    CHECK_EQ(sends.calls, 0);
    for (size_t i = 0; i < 2; i++) {
        watch_all(&crowd[i]);
        CHECK_EQ(crowd[i].next, 2);
        CHECK_EQ(crowd[i].direct.events, 4);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void a_laggard_is_in_the_epoll_until_it_is_in_the_group_again(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 3; i++)
        arrive(hub, fanout, &crowd[i], i != 2);
    put_many(hub, 10, 3000);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 3);
    CHECK_EQ(count_armed(fanout), 3);
    CHECK(!is_readable(fanout));
    watch_all(&crowd[1]); /* makes room */
    CHECK(is_readable(fanout));
    fw_fanout_ready(fanout, 0);
    CHECK(crowd[1].next < 10);
    put(hub, 100); /* goes to nobody directly */
    reset_sends();
    run(hub, fanout, 0);
    CHECK_EQ(sends.calls, 0);
    while (crowd[1].next != published.head) {
        fw_fanout_ready(fanout, 0);
        watch_all(&crowd[1]);
    }
    CHECK_EQ(check_fanout(fanout), 1);
    CHECK_EQ(count_armed(fanout), 2);
    CHECK(!is_readable(fanout));
    put(hub, 100); /* and this at once */
    run(hub, fanout, 0);
    watch_all(&crowd[1]);
    CHECK_EQ(crowd[1].next, published.head);
    catch_up(hub, fanout, crowd, 3);
    CHECK_EQ(check_fanout(fanout), 3);
    CHECK_EQ(count_armed(fanout), 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(crowd[i].next, published.head);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void ready_serves_64_clients_with_64_kib_each(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 100; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 120000); /* one window */
    sends.most = 1;
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 100);
    reset_sends();
    sends.most = 10;
    fw_fanout_ready(fanout, 0);
    CHECK_EQ(sends.calls, 64);
    CHECK_EQ(sends.bytes_most, 65536);
    reset_sends();
    catch_up(hub, fanout, crowd, 100);
    for (size_t i = 0; i < 100; i++) {
        CHECK_EQ(crowd[i].next, 1);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

/* A burst of more than the limit in one turn prunes nobody who reads; those who do not read share what they are owed. */
static void a_burst_beyond_the_limit_prunes_nobody_who_reads(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < CROWD; i++)
        arrive(hub, fanout, &crowd[i], true);
    for (size_t i = 0; i < CROWD; i++)
        i < 10 ? widen(&crowd[i]) : stuff(&crowd[i]);
    CHECK_EQ(put_many(hub, 1000, 1000), 0);
    CHECK_EQ(fw_hub_counts(hub).lag, 1000);
    size_t before = fw_alloc_live();
    CHECK_EQ(fw_fanout_pass(fanout, 2 * CROWD, SIZE_MAX, 0), FW_PASS_MORE);
    CHECK(fw_alloc_live() - before < 200000); /* one window, one range: 190 clients lag */
    CHECK_EQ(fw_fanout_laggards(fanout), CROWD - 10);
    CHECK_EQ(fw_hub_counts(hub).lag, 1000 - 65); /* the group's, by a window */
    CHECK_EQ(fw_hub_counts(hub).pruned, 0);
    for (size_t i = 10; i < CROWD; i++)
        unstuff(&crowd[i]);
    run(hub, fanout, 0);
    catch_up(hub, fanout, crowd, CROWD);
    CHECK_EQ(fw_hub_counts(hub).frames, 0);
    CHECK(fanout->owed == NULL);
    for (size_t i = 0; i < CROWD; i++) {
        CHECK_EQ(crowd[i].next, 1000);
        CHECK_EQ(crowd[i].direct.events, 1000);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

/* Of a range that they are owed, and of the log that their readers read. */
static void laggards_at_the_same_place_share_a_window(void)
{
    enum {
        LAGGARDS = 50
    };
    for (size_t limit = LAG; limit <= 1000; limit += 1000 - LAG) {
        struct fw_hub *hub = open_hub(limit, 0);
        struct fw_fanout *fanout = open_fanout(hub);
        for (size_t i = 0; i < LAGGARDS; i++)
            arrive(hub, fanout, &crowd[i], i % 2);
        put_many(hub, 1000, 1000);
        run(hub, fanout, 0);
        CHECK_EQ(fw_fanout_laggards(fanout), LAGGARDS);
        CHECK_EQ(crowd[7].direct.owed != NULL, limit == LAG);
        size_t before = fw_alloc_live();
        while (crowd[0].direct.events < 200) {
            for (size_t i = 0; i < LAGGARDS; i++)
                watch_all(&crowd[i]);
            fw_fanout_ready(fanout, 0);
            CHECK(fw_alloc_live() < before + 4 * 66000); /* two windows for each framing */
        }
        catch_up(hub, fanout, crowd, LAGGARDS);
        CHECK_EQ(check_fanout(fanout), LAGGARDS);
        for (size_t i = 0; i < LAGGARDS; i++)
            go(hub, fanout, &crowd[i]);
        close_both(hub, fanout);
    }
}

/* The live part of a laggard is limited as that of anyone. */
static void a_laggard_is_pruned_like_anyone(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    arrive(hub, fanout, &crowd[0], true);
    arrive(hub, fanout, &crowd[1], true);
    stuff(&crowd[0]);
    widen(&crowd[1]);
    put_many(hub, 100, 50);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    CHECK_EQ(put_many(hub, LAG, 50), 0);
    CHECK_EQ(put(hub, 50).pruned, 1);
    CHECK_EQ(fw_hub_fate(hub, &crowd[0].reader), FW_FATE_PRUNED);
    run(hub, fanout, 0);
    CHECK_EQ(fw_hub_counts(hub).frames, 0);
    put_many(hub, 10, 50);
    run(hub, fanout, 0);
    CHECK(fw_fanout_note(fanout) == NULL);
    unstuff(&crowd[0]);
    catch_up(hub, fanout, crowd, 2);
    CHECK(fw_fanout_note(fanout) == &crowd[0].direct);
    CHECK(fw_fanout_note(fanout) == NULL);
    CHECK_EQ(crowd[0].direct.note, FW_NOTE_ENDED);
    CHECK_EQ(count_armed(fanout), 0);
    CHECK_EQ(crowd[0].next, 100 + LAG);
    CHECK_EQ(crowd[1].next, published.head);
    CHECK_EQ(detach(hub, fanout, &crowd[0]), 0);
    CHECK_EQ(read_on(hub, &crowd[0], 10), FW_EEND);
    leave(hub, &crowd[0]);
    go(hub, fanout, &crowd[1]);
    close_both(hub, fanout);
}

/* Those of the group and those in slots that one event prunes share one range. */
static void a_group_has_a_limit_of_its_own(void)
{
    struct fw_hub *hub = open_hub(10, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    struct fw_reader slot;
    for (size_t in_bytes = 0; in_bytes < 2; in_bytes++) {
        hub->group = in_bytes ? (struct fw_limits){1000, 20 * 50} : (struct fw_limits){20, 0};
        for (size_t i = 0; i < 5; i++)
            arrive(hub, fanout, &crowd[i], i % 2);
        uint64_t first = published.head, by_bytes = fw_hub_counts(hub).pruned_by_bytes;
        CHECK_EQ(put_many(hub, 10, 50), 0);
        fw_hub_join(hub, &slot, 100);
        CHECK(!fw_hub_endangered(hub, &crowd[0].reader));
        CHECK_EQ(put_many(hub, 10, 50), 0);
        CHECK(fw_hub_endangered(hub, &crowd[0].reader));
        CHECK(fw_fanout_endangered(fanout));
        CHECK_EQ(fw_hub_counts(hub).lag, 20);
        CHECK(!fw_fanout_overflowed(fanout));
        struct fw_published overflow = put(hub, 50);
        CHECK(fw_fanout_overflowed(fanout));
        CHECK_EQ(overflow.pruned, 105);
        CHECK_EQ(overflow.clients, 0);
        CHECK_EQ(fw_hub_counts(hub).pruned_by_bytes - by_bytes, in_bytes ? 5 : 0);
        CHECK(slot.range == crowd[0].reader.range && slot.range->count == 20 && slot.range->references == 6);
        CHECK_EQ(fw_hub_fate(hub, &crowd[0].reader), FW_FATE_PRUNED);
        CHECK(!fw_hub_endangered(hub, &crowd[0].reader));
        check_counts(hub, 0, 0);

        arrive(hub, fanout, &crowd[5], true); /* and whoever comes then is in no danger */
        put_many(hub, 3, 50);
        run(hub, fanout, 0);
        CHECK(!fw_fanout_overflowed(fanout));
        CHECK_EQ(check_fanout(fanout), 1);
        for (size_t i = 0; i < 5; i++) {
            struct fw_direct *noted = fw_fanout_note(fanout);
            CHECK(noted != NULL && noted->note == FW_NOTE_ENDED && noted->events == 20);
        }
        CHECK(fw_fanout_note(fanout) == NULL);
        for (size_t i = 0; i < 6; i++) {
            watch_all(&crowd[i]);
            CHECK_EQ(crowd[i].next, i == 5 ? published.head : first + 20);
            go(hub, fanout, &crowd[i]);
        }
        fw_hub_leave(hub, &slot);
    }
    close_both(hub, fanout);
}

static void a_group_without_members_overflows_never(void)
{
    struct fw_hub *hub = open_hub(10, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    hub->group = (struct fw_limits){20, 100};
    put_many(hub, 200, 50);
    check_counts(hub, 0, 0);
    arrive(hub, fanout, &crowd[0], true);
    CHECK_EQ(check_fanout(fanout), 1);
    go(hub, fanout, &crowd[0]);
    put_many(hub, 200, 50);
    check_counts(hub, 0, 0);
    close_both(hub, fanout);
}

static void the_groups_limit_follows_the_hubs(void)
{
    struct {
        struct fw_limits hub, group;
    } cases[] = {{{0, 0}, {0, 0}},
                 {{256, 0}, {65536, 16 << 20}},
                 {{100000, 1 << 20}, {100000, 16 << 20}},
                 {{10, 64 << 20}, {65536, 64 << 20}},
                 {{0, 1 << 20}, {0, 16 << 20}},
                 {{0, 64 << 20}, {0, 64 << 20}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fw_hub *hub = open_hub_with(cases[i].hub, (struct fw_history){0}), *child;
        CHECK_EQ(fw_hub_renew(hub, &child), FW_OK);
        CHECK(hub->group.events == cases[i].group.events && hub->group.bytes == cases[i].group.bytes);
        CHECK(child->group.events == cases[i].group.events && child->group.bytes == cases[i].group.bytes);
        fw_hub_unref(hub);
        fw_hub_unref(child);
    }
}

/* In the middle of a pass: some have the window, the others still own it. */
static void a_group_that_is_pruned_in_mid_pass_gets_its_window(void)
{
    struct fw_hub *hub = open_hub(10, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    hub->group = (struct fw_limits){10, 0};
    for (size_t i = 0; i < 6; i++)
        arrive(hub, fanout, &crowd[i], i % 2);
    put_many(hub, 4, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 0), FW_PASS_MORE);
    CHECK_EQ(put_many(hub, 11, 50), 6);
    detach(hub, fanout, &crowd[0]);
    detach(hub, fanout, &crowd[5]);
    stuff(&crowd[2]);
    run(hub, fanout, 0);
    unstuff(&crowd[2]);
    catch_up(hub, fanout, crowd + 1, 4);
    for (size_t i = 0; i < 6; i++) {
        if (i != 0 && i != 5) {
            CHECK_EQ(crowd[i].direct.note, FW_NOTE_ENDED);
            CHECK_EQ(crowd[i].next, 14);
            detach(hub, fanout, &crowd[i]);
        }
        CHECK_EQ(read_on(hub, &crowd[i], 3), FW_EEND);
        CHECK_EQ(crowd[i].next, 14);
        leave(hub, &crowd[i]);
    }
    close_both(hub, fanout);
}

/* Its members are gone before anybody has seen that it is broken; the laggard comes back to it all the same. */
static void a_broken_group_is_mended_without_members(void)
{
    struct fw_hub *hub = open_hub(100, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    hub->group = (struct fw_limits){10, 0};
    for (size_t i = 0; i < 3; i++)
        arrive(hub, fanout, &crowd[i], true);
    stuff(&crowd[0]);
    put(hub, 50);
    run(hub, fanout, 0);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
    CHECK_EQ(put_many(hub, 11, 50), 2);
    go(hub, fanout, &crowd[1]);
    go(hub, fanout, &crowd[2]);
    run(hub, fanout, 0);
    unstuff(&crowd[0]);
    while (fw_fanout_laggards(fanout) != 0)
        fw_fanout_ready(fanout, 0);
    CHECK_EQ(check_fanout(fanout), 1);
    watch_all(&crowd[0]);
    CHECK_EQ(crowd[0].next, 13);
    go(hub, fanout, &crowd[0]);
    close_both(hub, fanout);
}

static void a_socket_that_takes_nothing_is_noted(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 3; i++) {
        fw_hub_join(hub, &crowd[i].reader, 1);
        attach(fanout, &crowd[i], true, i * 10.0, 5);
    }
    CHECK_EQ(fw_fanout_sent(fanout), 5);
    put(hub, 100000);
    run(hub, fanout, 100);
    CHECK_EQ(fw_fanout_laggards(fanout), 3);
    fw_fanout_expire(fanout, 109.9);
    CHECK(fw_fanout_note(fanout) == NULL);
    watch_all(&crowd[1]);
    fw_fanout_ready(fanout, 109);
    fw_fanout_expire(fanout, 118.9);
    CHECK(fw_fanout_note(fanout) == NULL);
    fw_fanout_expire(fanout, 119.1);
    CHECK(fw_fanout_note(fanout) == &crowd[1].direct && crowd[1].direct.note == FW_NOTE_STUCK);
    CHECK(fw_fanout_note(fanout) == NULL);
    CHECK_EQ(fw_fanout_laggards(fanout), 2);
    CHECK_EQ(count_armed(fanout), 2);
    fw_fanout_expire(fanout, 120);
    CHECK(fw_fanout_note(fanout) == &crowd[2].direct && crowd[2].direct.note == FW_NOTE_STUCK);
    fw_fanout_expire(fanout, 1e9);
    CHECK(fw_fanout_note(fanout) == NULL);
    for (size_t i = 0; i < 3; i++)
        go(hub, fanout, &crowd[i]); /* all of them find whole events in rest and log */
    close_both(hub, fanout);
}

/* A laggard whose socket has taken all that it was given waits for us. */
static void a_socket_that_waits_for_us_is_not_stuck(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    fw_hub_join(hub, &crowd[0].reader, 1);
    attach(fanout, &crowd[0], true, 1, 0);
    stuff(&crowd[0]);
    put(hub, 50);
    run(hub, fanout, 0);
    put(hub, 50);
    unstuff(&crowd[0]);
    fw_fanout_ready(fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    fw_fanout_expire(fanout, 100);
    CHECK(fw_fanout_note(fanout) == NULL);
    catch_up(hub, fanout, crowd, 1);
    CHECK_EQ(crowd[0].next, 2);
    go(hub, fanout, &crowd[0]);
    close_both(hub, fanout);
}

/* What it was given before is in the socket, which takes no more; the epoll has not told of any room since. */
static void a_socket_that_is_full_between_two_windows_is_stuck(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    fw_hub_join(hub, &crowd[0].reader, 1);
    attach(fanout, &crowd[0], true, 5, 0);
    stuff(&crowd[0]);
    put(hub, 50);
    run(hub, fanout, 0);
    put(hub, 50);
    unstuff(&crowd[0]);
    fw_fanout_ready(fanout, 1);
    CHECK(crowd[0].direct.window == NULL);
    stuff(&crowd[0]);
    fw_fanout_expire(fanout, 5.9);
    CHECK(fw_fanout_note(fanout) == NULL);
    fw_fanout_expire(fanout, 6);
    CHECK(fw_fanout_note(fanout) == &crowd[0].direct && crowd[0].direct.note == FW_NOTE_STUCK);
    unstuff(&crowd[0]);
    go(hub, fanout, &crowd[0]);
    close_both(hub, fanout);
}

static void those_who_are_stuck_are_noted_in_slices(void)
{
    struct fw_hub *hub = open_hub(0, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 65; i++) {
        fw_hub_join(hub, &crowd[i].reader, 1);
        attach(fanout, &crowd[i], true, 5, 0);
        stuff(&crowd[i]);
    }
    put(hub, 50);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 65);
    CHECK(!fw_fanout_expire(fanout, 4));
    CHECK(fw_fanout_expire(fanout, 5));
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    CHECK(!fw_fanout_expire(fanout, 5));
    CHECK_EQ(fw_fanout_laggards(fanout), 0);
    for (size_t i = 0; i < 65; i++) {
        CHECK(fw_fanout_note(fanout) != NULL);
        unstuff(&crowd[i]);
    }
    for (size_t i = 0; i < 65; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void a_broken_socket_is_noted(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 4; i++)
        arrive(hub, fanout, &crowd[i], true);
    put_many(hub, 10, 2000);
    run(hub, fanout, 0);
    catch_up(hub, fanout, crowd, 4);
    stuff(&crowd[2]);
    put(hub, 100);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    for (size_t i = 1; i < 3; i++) { /* one of the group and the laggard */
        close(crowd[i].theirs);
        crowd[i].theirs = -1;
        crowd[i].is_lost = true;
    }
    put(hub, 100);
    run(hub, fanout, 0);
    CHECK(fw_fanout_note(fanout) == &crowd[1].direct && crowd[1].direct.note == FW_NOTE_BROKEN);
    CHECK(fw_fanout_note(fanout) == NULL);
    CHECK(is_readable(fanout));
    reset_sends();
    fw_fanout_ready(fanout, 0);
    CHECK_EQ(sends.calls, 0);
    CHECK(!is_readable(fanout)); /* a hang-up cannot be masked */
    CHECK(fw_fanout_note(fanout) == &crowd[2].direct && crowd[2].direct.note == FW_NOTE_BROKEN);
    int errors[] = {EPIPE, ECONNRESET, ENOBUFS, EBADF};
    for (size_t i = 0; i < 4; i++) {
        put(hub, 100);
        sends.error = errors[i];
        CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
        sends.error = 0;
        run(hub, fanout, 0);
        struct fw_direct *noted = fw_fanout_note(fanout);
        CHECK(noted != NULL && noted->note == FW_NOTE_BROKEN);
        struct viewer *viewer = noted == &crowd[0].direct ? &crowd[0] : &crowd[3];
        detach(hub, fanout, viewer); /* nothing is lost with it */
        attach(fanout, viewer, true, 0, 0);
        run(hub, fanout, 0);
    }
    for (size_t i = 0; i < 4; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void closing_ends_each_client_behind_its_last_event(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 100; i++)
        arrive(hub, fanout, &crowd[i], i % 3);
    stuff(&crowd[7]);
    put_many(hub, 5, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 50, SIZE_MAX, 0), FW_PASS_MORE);
    put_many(hub, 5, 50);
    fw_hub_close(hub);
    fw_fanout_beat(fanout);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    unstuff(&crowd[7]);
    catch_up(hub, fanout, crowd, 100);
    for (size_t i = 0; i < 100; i++) {
        struct fw_direct *noted = fw_fanout_note(fanout);
        CHECK(noted != NULL && noted->note == FW_NOTE_ENDED);
    }
    for (size_t i = 0; i < 100; i++) {
        CHECK(crowd[i].next == 10 && crowd[i].heartbeats == 0);
        CHECK_EQ(detach(hub, fanout, &crowd[i]), 0);
        CHECK_EQ(read_on(hub, &crowd[i], 1), FW_EEND);
        CHECK_EQ(fw_hub_fate(hub, &crowd[i].reader), FW_FATE_CLOSED);
        leave(hub, &crowd[i]);
    }
    for (size_t i = 0; i < 3; i++) { /* and whoever comes then */
        arrive(hub, fanout, &crowd[i], true);
        CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 0), FW_PASS_IDLE);
        CHECK(fw_fanout_note(fanout) == &crowd[i].direct && crowd[i].direct.note == FW_NOTE_ENDED);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void the_end_of_many_is_bounded_too(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 10; i++)
        arrive(hub, fanout, &crowd[i], true);
    fw_hub_close(hub);
    for (size_t left = 10; left != 0; left -= 2) {
        CHECK_EQ(check_fanout(fanout), left);
        CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 0), left == 2 ? FW_PASS_IDLE : FW_PASS_MORE);
    }
    for (size_t i = 0; i < 10; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void whoever_is_attached_reads_on_where_its_reader_stands(void)
{
    struct fw_hub *hub = open_hub_with((struct fw_limits){LAG, 0}, (struct fw_history){.events = 1000});
    struct fw_fanout *fanout = open_fanout(hub);
    struct viewer *live = &crowd[0], *behind = &crowd[1], *back = &crowd[2], *pruned = &crowd[3], *over = &crowd[4];
    struct fw_id id;
    arrive(hub, fanout, live, true);
    fw_hub_join(hub, &pruned->reader, 1);
    fw_hub_join(hub, &over->reader, 1);
    id = id_of(hub, &pruned->reader);
    put_many(hub, 3, 50);
    fw_hub_finish(hub, &over->reader, false);
    put_many(hub, 400, 50);
    fw_hub_join(hub, &behind->reader, 1);
    put_many(hub, 10, 50);
    id.position.low = 2;
    CHECK_EQ(fw_hub_resume(hub, &back->reader, 1, &id), FW_JOIN_RESUMED);
    for (size_t i = 1; i < 5; i++)
        attach(fanout, &crowd[i], i % 2, 0, 0);
    CHECK_EQ(check_fanout(fanout), 1);
    run(hub, fanout, 0);
    catch_up(hub, fanout, crowd, 5);
    CHECK_EQ(check_fanout(fanout), 3); /* also the one that came back */
    CHECK(!back->reader.catches_up && back->reader.group == &fanout->group);
    CHECK(fw_fanout_note(fanout) != NULL && fw_fanout_note(fanout) != NULL && fw_fanout_note(fanout) == NULL);
    CHECK(pruned->direct.note == FW_NOTE_ENDED && over->direct.note == FW_NOTE_ENDED);
    CHECK(live->next == 413 && behind->next == 413 && back->next == 413);
    CHECK(back->start == 2 && behind->start == 403);
    CHECK_EQ(pruned->next, LAG);
    CHECK_EQ(over->next, 3);
    for (size_t i = 0; i < 5; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

/* One that is attached at the head in mid-pass, when the group is not there yet. */
static void whoever_is_ahead_of_the_group_waits_for_it(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 4; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 0), FW_PASS_MORE);
    put(hub, 50);
    arrive(hub, fanout, &crowd[4], true); /* needs event 2, and the group 1 */
    put(hub, 50);
    CHECK_EQ(check_fanout(fanout), 4);
    CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 0), FW_PASS_AGAIN);
    run(hub, fanout, 0);
    CHECK_EQ(check_fanout(fanout), 5);
    watch_all(&crowd[4]);
    CHECK_EQ(crowd[4].next, 3);
    put(hub, 50);
    arrive(hub, fanout, &crowd[5], true);
    for (size_t i = 0; i < 5; i++) /* and if the group is there no more */
        go(hub, fanout, &crowd[i]);
    run(hub, fanout, 0);
    CHECK_EQ(check_fanout(fanout), 1);
    put(hub, 50);
    arrive(hub, fanout, &crowd[0], true);
    put(hub, 50);
    go(hub, fanout, &crowd[5]);
    arrive(hub, fanout, &crowd[5], true); /* or another one, at the head */
    run(hub, fanout, 0);
    watch_all(&crowd[0]);
    CHECK_EQ(crowd[0].next, 6);
    go(hub, fanout, &crowd[0]);
    CHECK_EQ(check_fanout(fanout), 1);
    put(hub, 50);
    run(hub, fanout, 0);
    watch_all(&crowd[5]);
    CHECK_EQ(crowd[5].next, 7);
    go(hub, fanout, &crowd[5]);
    close_both(hub, fanout);
}

static void a_laggard_joins_in_mid_pass_and_is_not_sent_the_window_twice(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 3; i++)
        arrive(hub, fanout, &crowd[i], true);
    stuff(&crowd[0]);
    put(hub, 50);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
    unstuff(&crowd[0]);
    fw_fanout_ready(fanout, 0); /* the rest of its window */
    fw_fanout_ready(fanout, 0); /* the event of this pass */
    CHECK_EQ(check_fanout(fanout), 3);
    run(hub, fanout, 0);
    for (size_t i = 0; i < 3; i++) {
        watch_all(&crowd[i]);
        CHECK_EQ(crowd[i].next, 2);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

/* One that catches up may be passed by the history. */
static void whom_the_history_passes_is_ended(void)
{
    struct fw_hub *hub = open_hub_with((struct fw_limits){LAG, 0}, (struct fw_history){.events = 40});
    struct fw_fanout *fanout = open_fanout(hub);
    struct viewer *back = &crowd[0];
    struct fw_reader here;
    fw_hub_join(hub, &here, 1);
    struct fw_id id = id_of(hub, &here);
    fw_hub_leave(hub, &here);
    put_many(hub, 40, 5000);
    CHECK_EQ(fw_hub_resume(hub, &back->reader, 1, &id), FW_JOIN_RESUMED);
    attach(fanout, back, true, 0, 0);
    run(hub, fanout, 0);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    put_many(hub, 40, 50);
    CHECK_EQ(fw_hub_counts(hub).frames, 40);
    catch_up(hub, fanout, crowd, 1);
    CHECK(fw_fanout_note(fanout) == &back->direct && back->direct.note == FW_NOTE_ENDED);
    CHECK_EQ(fw_hub_fate(hub, &back->reader), FW_FATE_PASSED);
    CHECK(back->next != 0 && back->next < 40);
    CHECK_EQ(fw_hub_counts(hub).passed, 1);
    go(hub, fanout, back);
    close_both(hub, fanout);
}

/* Detached at every point of a pass, members and laggards leave nothing out. */
static void a_detached_client_is_owed_what_it_was_not_sent(void)
{
    for (size_t burst = 1; burst < 100; burst += 7)
        for (size_t at = 0; at < 8; at++)
            for (size_t most = 0; most < 300; most += 37) {
                struct fw_hub *hub = open_hub(LAG, 0);
                struct fw_fanout *fanout = open_fanout(hub);
                for (size_t i = 0; i < 4; i++)
                    arrive(hub, fanout, &crowd[i], i % 2);
                put_many(hub, burst, 60);
                sends.most = most;
                if (at != 0)
                    fw_fanout_pass(fanout, at, SIZE_MAX, 0);
                put_many(hub, burst, 70);
                sends.most = 0;
                for (size_t i = 0; i < 4; i++) {
                    detach(hub, fanout, &crowd[i]);
                    int status = read_on(hub, &crowd[i], 5);
                    CHECK(status == FW_EAGAIN ? crowd[i].next == published.head
                                              : fw_hub_fate(hub, &crowd[i].reader) == FW_FATE_PRUNED);
                    leave(hub, &crowd[i]);
                }
                close_both(hub, fanout);
            }
}

static void a_detached_client_may_be_attached_again(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    arrive(hub, fanout, &crowd[0], true);
    for (size_t round = 0; round < 10; round++) {
        put_many(hub, 10, 900);
        fw_fanout_pass(fanout, 1, SIZE_MAX, 0);
        put(hub, 100);
        detach(hub, fanout, &crowd[0]);
        attach(fanout, &crowd[0], round % 2, 0, 0);
        run(hub, fanout, 0);
        catch_up(hub, fanout, crowd, 1);
        CHECK_EQ(crowd[0].next, published.head);
    }
    go(hub, fanout, &crowd[0]);
    close_both(hub, fanout);
}

static void a_heartbeat_goes_to_an_idle_group(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    fw_fanout_beat(fanout); /* for nobody */
    CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 1), FW_PASS_IDLE);
    for (size_t i = 0; i < 4; i++)
        arrive(hub, fanout, &crowd[i], i % 2);
    CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 2), FW_PASS_IDLE);
    CHECK_EQ(fw_fanout_sent(fanout), 0);
    fw_fanout_beat(fanout);
    run(hub, fanout, 3);
    CHECK_EQ(fw_fanout_sent(fanout), 3);
    run(hub, fanout, 4);
    for (size_t i = 0; i < 4; i++) {
        watch_all(&crowd[i]);
        CHECK(crowd[i].heartbeats == 1 && crowd[i].direct.events == 0 && crowd[i].direct.bytes == 0);
    }
    fw_fanout_beat(fanout); /* an event makes it needless */
    put(hub, 50);
    run(hub, fanout, 5);
    sends.most = 3; /* half a heartbeat is completed */
    fw_fanout_beat(fanout);
    CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 6), FW_PASS_MORE);
    CHECK_EQ(fw_fanout_laggards(fanout), 2);
    sends.most = 0;
    put(hub, 50);
    detach(hub, fanout, &crowd[0]); /* and one that was not begun is not owed */
    CHECK_EQ(crowd[0].heartbeats, 1);
    CHECK_EQ(read_on(hub, &crowd[0], 1), FW_EAGAIN);
    leave(hub, &crowd[0]);
    run(hub, fanout, 6);
    catch_up(hub, fanout, crowd + 1, 3);
    for (size_t i = 1; i < 4; i++) {
        CHECK_EQ(crowd[i].heartbeats, 2);
        CHECK_EQ(crowd[i].next, 2);
    }
    stuff(&crowd[1]); /* a laggard needs none */
    put(hub, 50);
    run(hub, fanout, 7);
    fw_fanout_beat(fanout);
    run(hub, fanout, 8);
    unstuff(&crowd[1]);
    catch_up(hub, fanout, crowd + 1, 3);
    CHECK(crowd[1].heartbeats == 2 && crowd[2].heartbeats == 3 && crowd[3].heartbeats == 3);
    for (size_t i = 1; i < 4; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void a_heartbeat_wanted_in_mid_pass_follows_it(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 2; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 50);
    CHECK_EQ(fw_fanout_pass(fanout, 1, SIZE_MAX, 0), FW_PASS_MORE);
    fw_fanout_beat(fanout);
    run(hub, fanout, 0);
    for (size_t i = 0; i < 2; i++) {
        watch_all(&crowd[i]);
        CHECK(crowd[i].next == 1 && crowd[i].heartbeats == 1);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void those_who_wait_can_be_endangered(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    CHECK(!fw_fanout_endangered(fanout));
    arrive(hub, fanout, &crowd[0], true);
    put_many(hub, LAG, 50);
    CHECK(!fw_fanout_endangered(fanout)); /* not by the hub's limit */
    arrive(hub, fanout, &crowd[1], true); /* it is ahead of the group, and limited by that */
    put_many(hub, LAG / 2, 50);
    CHECK(!fw_fanout_endangered(fanout));
    put(hub, 50);
    CHECK(fw_fanout_endangered(fanout));
    run(hub, fanout, 0);
    CHECK(!fw_fanout_endangered(fanout));
    fw_hub_join(hub, &crowd[2].reader, 1);
    put_many(hub, LAG / 2 + 1, 50);
    run(hub, fanout, 0);
    CHECK(!fw_fanout_endangered(fanout));
    attach(fanout, &crowd[2], true, 0, 0); /* it is due */
    CHECK(fw_fanout_endangered(fanout));
    run(hub, fanout, 0);
    CHECK(!fw_fanout_endangered(fanout));
    stuff(&crowd[2]); /* it is slow */
    put(hub, 50);
    run(hub, fanout, 0);
    put_many(hub, LAG, 50);
    CHECK(!fw_fanout_endangered(fanout));
    unstuff(&crowd[2]);
    run(hub, fanout, 0);
    catch_up(hub, fanout, crowd, 3);
    for (size_t i = 0; i < 3; i++)
        go(hub, fanout, &crowd[i]);
    close_both(hub, fanout);
}

static void one_that_waits_for_the_group_is_pruned_like_anyone(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    arrive(hub, fanout, &crowd[0], true);
    put(hub, 50);
    arrive(hub, fanout, &crowd[1], true);
    CHECK_EQ(put_many(hub, LAG, 50), 0);
    CHECK(!fw_fanout_overflowed(fanout));
    CHECK_EQ(put(hub, 50).pruned, 1);
    CHECK(fw_fanout_overflowed(fanout));
    run(hub, fanout, 0);
    CHECK(!fw_fanout_overflowed(fanout));
    catch_up(hub, fanout, crowd, 2);
    CHECK_EQ(crowd[0].next, published.head);
    CHECK_EQ(crowd[1].next, 1 + LAG);
    CHECK_EQ(crowd[1].direct.note, FW_NOTE_ENDED);
    go(hub, fanout, &crowd[0]);
    go(hub, fanout, &crowd[1]);
    close_both(hub, fanout);
}

static void two_groups_of_one_hub_are_two(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *one = open_fanout(hub), *other = open_fanout(hub);
    arrive(hub, one, &crowd[0], true);
    arrive(hub, other, &crowd[1], false);
    widen(&crowd[0]);
    widen(&crowd[1]);
    put_many(hub, 100, 50);
    run(hub, one, 0);
    CHECK_EQ(fw_hub_counts(hub).lag, 100);
    CHECK_EQ(fw_hub_counts(hub).frames, 100);
    watch_all(&crowd[0]);
    CHECK_EQ(crowd[0].next, 100);
    put(hub, 50);
    run(hub, other, 0);
    CHECK_EQ(fw_hub_counts(hub).frames, 1);
    watch_all(&crowd[1]);
    CHECK_EQ(crowd[1].next, 101);
    go(hub, one, &crowd[0]);
    fw_fanout_free(one);
    put(hub, 50);
    CHECK_EQ(fw_hub_counts(hub).frames, 1);
    run(hub, other, 0);
    go(hub, other, &crowd[1]);
    close_both(hub, other);
}

static void a_rest_outlives_the_fanout(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    char rest[2000];
    arrive(hub, fanout, &crowd[0], false);
    put_many(hub, 10, 100);
    sends.most = 950;
    run(hub, fanout, 0);
    fw_fanout_detach(fanout, &crowd[0].direct);
    fw_fanout_free(fanout);
    CHECK_EQ(fw_direct_rest(&crowd[0].direct), 50);
    fw_direct_take_rest(&crowd[0].direct, rest);
    watch_all(&crowd[0]);
    feed(&crowd[0], rest, 50);
    CHECK_EQ(crowd[0].next, 10);
    fw_direct_release(&crowd[0].direct);
    fw_hub_leave(hub, &crowd[0].reader);
    close(crowd[0].ours);
    close(crowd[0].theirs);
    close_both(hub, open_fanout(hub));
}

static void the_child_of_a_fork_touches_no_socket(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = open_fanout(hub);
    for (size_t i = 0; i < 3; i++)
        arrive(hub, fanout, &crowd[i], true);
    put(hub, 50);
    stuff(&crowd[2]);
    CHECK_EQ(fw_fanout_pass(fanout, 2, SIZE_MAX, 0), FW_PASS_MORE);
    run(hub, fanout, 0);
    put(hub, 50);
    CHECK_EQ(fw_fanout_laggards(fanout), 1);
    pid_t child = fork();
    if (child == 0) {
        int descriptor = fw_fanout_fd(fanout);
        fw_fanout_abandon(fanout);
        CHECK(fcntl(descriptor, F_GETFD) == -1 && errno == EBADF);
        sends.calls = 0;
        put(hub, 50);
        fw_fanout_beat(fanout);
        CHECK_EQ(fw_fanout_pass(fanout, 64, SIZE_MAX, 0), FW_PASS_IDLE);
        fw_fanout_ready(fanout, 0);
        fw_fanout_expire(fanout, 1e9);
        CHECK(fw_fanout_note(fanout) == NULL);
        CHECK_EQ(sends.calls, 0);
        for (size_t i = 0; i < 3; i++) {
            fw_fanout_detach(fanout, &crowd[i].direct);
            fw_direct_release(&crowd[i].direct);
            fw_hub_leave(hub, &crowd[i].reader);
        }
        CHECK_EQ(sends.calls, 0);
        fw_fanout_free(fanout);
        fw_hub_unref(hub);
        _exit(0);
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    CHECK_EQ(count_armed(fanout), 1); /* it is still there for the parent */
    run(hub, fanout, 0);
    unstuff(&crowd[2]);
    catch_up(hub, fanout, crowd, 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(crowd[i].next, 2);
        go(hub, fanout, &crowd[i]);
    }
    close_both(hub, fanout);
}

static void without_a_descriptor_there_is_no_fanout(void)
{
    struct fw_hub *hub = open_hub(LAG, 0);
    struct fw_fanout *fanout = NULL;
    struct rlimit before, none;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(fw_fanout_new(hub, &fanout), FW_ESYSTEM);
    CHECK(errno == EMFILE && fanout == NULL);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    close_both(hub, open_fanout(hub));
}

int main(void)
{
    RUN(a_client_is_small);
    RUN(one_send_gives_each_member_all_that_waits);
    RUN(a_pass_owns_one_window_for_each_framing);
    RUN(a_slice_is_bounded_in_clients_and_bytes);
    RUN(another_client_is_the_first_of_each_pass);
    RUN(the_head_is_looked_at_again_at_the_end_of_a_pass);
    RUN(events_without_text_have_no_chunk);
    RUN(a_laggard_is_in_the_epoll_until_it_is_in_the_group_again);
    RUN(ready_serves_64_clients_with_64_kib_each);
    RUN(a_burst_beyond_the_limit_prunes_nobody_who_reads);
    RUN(laggards_at_the_same_place_share_a_window);
    RUN(a_laggard_is_pruned_like_anyone);
    RUN(a_group_has_a_limit_of_its_own);
    RUN(a_group_without_members_overflows_never);
    RUN(the_groups_limit_follows_the_hubs);
    RUN(a_group_that_is_pruned_in_mid_pass_gets_its_window);
    RUN(a_broken_group_is_mended_without_members);
    RUN(a_socket_that_takes_nothing_is_noted);
    RUN(a_socket_that_waits_for_us_is_not_stuck);
    RUN(a_socket_that_is_full_between_two_windows_is_stuck);
    RUN(those_who_are_stuck_are_noted_in_slices);
    RUN(a_broken_socket_is_noted);
    RUN(closing_ends_each_client_behind_its_last_event);
    RUN(the_end_of_many_is_bounded_too);
    RUN(whoever_is_attached_reads_on_where_its_reader_stands);
    RUN(whoever_is_ahead_of_the_group_waits_for_it);
    RUN(a_laggard_joins_in_mid_pass_and_is_not_sent_the_window_twice);
    RUN(whom_the_history_passes_is_ended);
    RUN(a_detached_client_is_owed_what_it_was_not_sent);
    RUN(a_detached_client_may_be_attached_again);
    RUN(a_heartbeat_goes_to_an_idle_group);
    RUN(a_heartbeat_wanted_in_mid_pass_follows_it);
    RUN(those_who_wait_can_be_endangered);
    RUN(one_that_waits_for_the_group_is_pruned_like_anyone);
    RUN(two_groups_of_one_hub_are_two);
    RUN(a_rest_outlives_the_fanout);
    RUN(the_child_of_a_fork_touches_no_socket);
    RUN(without_a_descriptor_there_is_no_fanout);
    return 0;
}
