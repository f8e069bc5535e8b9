/* Every allocation of a fan-out's life fails once, in turn: nobody gets a gap for it, and those whose streams go on get
 * everything. The same for its epoll (the Makefile links with --wrap=fw_alloc, --wrap=epoll_ctl and --wrap=send). */
#include "viewers.h"

#include <sys/epoll.h>

enum {
    VIEWERS = 6,
    BURST = 1500
};

void *__wrap_fw_alloc(size_t size);
void *__real_fw_alloc(size_t size);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

static struct viewer viewers[VIEWERS];
static bool is_here[VIEWERS];
static struct fw_hub *hub;
static struct fw_fanout *fanout;
static size_t failures, successes, broken, cut_off; /* in this life; the last two ever */
static long fails_at = -1;                          /* the call that fails; -1: none */

static bool is_to_fail(void)
{
    bool fails = fails_at == 0;
    fails_at -= fails_at >= 0;
    failures += fails;
    successes += !fails;
    return fails;
}

static void (*meanwhile)(void); /* at the next allocation, once */

static bool in_epoll; /* the calls that fail are those of epoll_ctl */

void *__wrap_fw_alloc(size_t size)
{
    void (*act)(void) = meanwhile;
    meanwhile = NULL;
    if (act != NULL)
        act();
    return !in_epoll && is_to_fail() ? NULL : __real_fw_alloc(size);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (in_epoll && operation == EPOLL_CTL_ADD && is_to_fail()) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(epoll, operation, fd, event);
}

/* Publishing is not the matter here: it does not fail. */
static void put_safely(size_t count, size_t size)
{
    long kept = fails_at;
    fails_at = -1;
    put_many(hub, count, size);
    fails_at = kept;
}

static void put_away(size_t i)
{
    struct viewer *viewer = &viewers[i];
    detach(hub, fanout, viewer);
    bool is_cut_off = viewer->reader.sequence != viewer->next;
    int status = read_on(hub, viewer, 100);
    if (is_cut_off)
        CHECK(status == FW_EEND && failures == 1);
    else if (status == FW_EAGAIN)
        CHECK_EQ(viewer->next, published.head);
    cut_off += is_cut_off;
    leave(hub, viewer);
    is_here[i] = false;
}

static void heed(void)
{
    struct fw_direct *noted;
    while ((noted = fw_fanout_note(fanout)) != NULL) {
        size_t i = 0;
        while (noted != &viewers[i].direct)
            i++;
        CHECK(noted->note == FW_NOTE_ENDED || failures == 1);
        broken += noted->note == FW_NOTE_BROKEN;
        put_away(i);
    }
}

static void turn(size_t clients)
{
    size_t before = failures;
    enum fw_pass pass = fw_fanout_pass(fanout, clients, SIZE_MAX, 0);
    bool is_lossless = failures != before && fanout->count == VIEWERS && fanout->notes.next == &fanout->notes;
    CHECK(!is_lossless || in_epoll || pass == FW_PASS_AGAIN || pass == FW_PASS_MORE);
    check_fanout(fanout);
    fw_hub_check(hub);
    heed();
}

static void run_all(void)
{
    bool is_busy = true;
    for (size_t turns = 0; is_busy; turns++) {
        CHECK(turns < 100000);
        is_busy = false;
        turn(3);
        if (is_readable(fanout))
            fw_fanout_ready(fanout, 0);
        heed();
        for (size_t i = 0; i < VIEWERS; i++)
            is_busy = (is_here[i] && watch_all(&viewers[i]) != 0) || is_busy;
        is_busy = is_busy || is_readable(fanout) || fw_fanout_pass(fanout, 3, SIZE_MAX, 0) != FW_PASS_IDLE;
        heed();
    }
}

static void one_life(long fails)
{
    hub = open_hub_with((struct fw_limits){16, 0}, (struct fw_history){.events = 100});
    fails_at = fails;
    int status = fw_fanout_new(hub, &fanout);
    if (status == FW_ENOMEM)
        status = fw_fanout_new(hub, &fanout);
    CHECK_EQ(status, FW_OK);
    put_safely(50, 50);
    struct fw_id id = id_of(hub, &(struct fw_reader){.sequence = 10});
    for (size_t i = 0; i < VIEWERS; i++) {
        if (i == 5)
            CHECK_EQ(fw_hub_resume(hub, &viewers[i].reader, 1, &id), FW_JOIN_RESUMED);
        else
            fw_hub_join(hub, &viewers[i].reader, 1);
        viewers[i].may_be_cut_off = true;
        is_here[i] = true;
        attach(fanout, &viewers[i], i % 2, 0, 0);
    }
    run_all();
    fw_fanout_beat(fanout);
    run_all();
    put_safely(BURST, 60);
    sends.most = 500; /* who is served in this slice lags, far behind */
    turn(2);
    sends.most = 0;
    for (size_t i = 3; i < 5; i++) /* a window, a range and a place in the log */
        if (is_here[i])
            put_away(i);
    run_all();
    put_safely(10, 60);
    turn(1);
    run_all();
    fw_hub_close(hub);
    run_all();
    for (size_t i = 0; i < VIEWERS; i++)
        CHECK(!is_here[i]);
    close_both(hub, fanout);
}

static void nobody_gets_a_gap(void)
{
    for (long call = 0;; call++) {
        size_t before = fw_alloc_live();
        failures = successes = 0;
        one_life(call);
        fails_at = -1;
        CHECK_EQ(fw_alloc_live(), before);
        if (failures == 0)
            break;
    }
    CHECK(broken != 0);
}

static void whatever_allocation_fails(void)
{
    in_epoll = false;
    nobody_gets_a_gap();
    CHECK(cut_off > 1);
}

static void whichever_socket_cannot_be_watched(void)
{
    in_epoll = true;
    broken = 0;
    nobody_gets_a_gap();
}

static void the_group_is_pruned(void)
{
    CHECK_EQ(put_many(hub, 10, 50), 2);
}

/* Between the look at what waits and the move over it. Nobody may be sent twice what it is owed then. */
static void a_group_may_break_while_its_window_is_made(void)
{
    hub = open_hub(10, 0);
    fanout = open_fanout(hub);
    hub->group = (struct fw_limits){20, 0};
    for (size_t i = 0; i < 2; i++)
        arrive(hub, fanout, &viewers[i], i);
    put_many(hub, 15, 50);
    meanwhile = the_group_is_pruned;
    while (fw_fanout_pass(fanout, 1, SIZE_MAX, 0) != FW_PASS_IDLE)
        check_fanout(fanout);
    CHECK(meanwhile == NULL);
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(fw_fanout_note(fanout)->note, FW_NOTE_ENDED);
        watch_all(&viewers[i]);
        CHECK_EQ(viewers[i].next, 20);
        go(hub, fanout, &viewers[i]);
    }
    close_both(hub, fanout);
}

int main(void)
{
    RUN(whatever_allocation_fails);
    RUN(whichever_socket_cannot_be_watched);
    RUN(a_group_may_break_while_its_window_is_made);
    return 0;
}
