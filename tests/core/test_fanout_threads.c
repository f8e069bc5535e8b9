/* Two fan-outs in two threads on one hub, publishers on two more: every client gets one gap-free run of the one order. What
 * the clients get is kept, and looked at when all threads are over. */
#define _GNU_SOURCE

#include "viewers.h"

#include <pthread.h>

#ifdef FW_UNDER_TSAN
#define SCALE 1
#else
#define SCALE 4
#endif

enum {
    PUBLISHERS = 2,
    LOOPS = 2,
    VIEWERS = 8, /* of each loop */
    EVENTS = 5000 * SCALE,
    LIVES = 6000 /* of each loop; the last ones go on to the end */
};

/* One attachment of a client, and what came of it: out of the socket, as rest, and from the reader. */
struct life {
    uint64_t start, end;
    bool is_chunked;
    enum fw_fate fate;
    char *at;
    size_t size, capacity;
};

struct loop {
    struct fw_fanout *fanout;
    struct viewer viewers[VIEWERS];
    struct life lives[LIVES];
    size_t count;             /* of lives */
    struct life *of[VIEWERS]; /* the present ones */
    uint64_t state;
};

static struct fw_hub *hub;
static struct loop loops[LOOPS];
static atomic_int publishing; /* publishers that are not done */
static uint64_t seed;

static char *room_for(struct life *life, size_t size)
{
    if (life->capacity - life->size < size) {
        life->capacity = 2 * life->capacity + size;
        life->at = realloc(life->at, life->capacity);
        CHECK(life->at != NULL);
    }
    life->size += size;
    return life->at + life->size - size;
}

static void record(struct life *life, struct viewer *viewer, size_t most)
{
    char bytes[4096];
    ssize_t size;
    while (most != 0 && (size = recv(viewer->theirs, bytes, most < sizeof bytes ? most : sizeof bytes, 0)) > 0) {
        memcpy(room_for(life, (size_t)size), bytes, (size_t)size);
        most -= (size_t)size;
    }
}

static void begin(struct loop *loop, size_t i)
{
    struct viewer *viewer = &loop->viewers[i];
    struct life *life = loop->of[i] = &loop->lives[loop->count++];
    fw_hub_join(hub, &viewer->reader, 1);
    open_sockets(viewer);
    *life = (struct life){.start = viewer->reader.sequence, .is_chunked = random_below(&loop->state, 2)};
    fw_fanout_attach(loop->fanout, &viewer->direct, &viewer->reader, viewer->ours, life->is_chunked, 0, 0);
}

static void finish(struct loop *loop, size_t i)
{
    static _Thread_local struct fw_batch batch;
    struct viewer *viewer = &loop->viewers[i];
    struct life *life = loop->of[i];
    fw_fanout_detach(loop->fanout, &viewer->direct);
    record(life, viewer, SIZE_MAX);
    size_t rest = fw_direct_rest(&viewer->direct);
    fw_direct_take_rest(&viewer->direct, room_for(life, rest));
    fw_direct_release(&viewer->direct);
    CHECK_EQ(viewer->reader.sequence, life->start + viewer->direct.events);
    while (fw_hub_read(hub, &viewer->reader, 50, 0, &batch) == FW_OK) {
        for (size_t n = 0; n < batch.count; n++) {
            struct fw_text piece = fw_window_piece(batch.frames[n], life->is_chunked);
            memcpy(room_for(life, piece.size), piece.at, piece.size);
        }
        fw_batch_release(&batch);
    }
    life->end = viewer->reader.sequence;
    life->fate = fw_hub_fate(hub, &viewer->reader);
    fw_hub_leave(hub, &viewer->reader);
    close(viewer->ours);
    close(viewer->theirs);
    loop->of[i] = NULL;
}

static void *run_loop(void *argument)
{
    struct loop *loop = argument;
    bool is_over = false;
    sends.random = &loop->state;
    while (!is_over) {
        is_over = fw_hub_counts(hub).closed;
        for (size_t i = 0; i < VIEWERS; i++)
            if (loop->of[i] == NULL && !is_over && loop->count != LIVES)
                begin(loop, i);
        if (random_below(&loop->state, 20) == 0)
            fw_fanout_beat(loop->fanout);
        fw_fanout_pass(loop->fanout, 1 + random_below(&loop->state, 8), SIZE_MAX, 0);
        fw_fanout_endangered(loop->fanout);
        fw_fanout_ready(loop->fanout, 0);
        for (size_t i = 0; i < VIEWERS; i++)
            if (loop->of[i] != NULL && i >= 2) /* the others are slow */
                record(loop->of[i], &loop->viewers[i], SIZE_MAX);
            else if (loop->of[i] != NULL && random_below(&loop->state, 10) == 0)
                record(loop->of[i], &loop->viewers[i], 1 + random_below(&loop->state, 700));
        for (struct fw_direct *noted; (noted = fw_fanout_note(loop->fanout)) != NULL;)
            for (size_t i = 0; i < VIEWERS; i++)
                if (noted == &loop->viewers[i].direct)
                    finish(loop, i);
        size_t i = random_below(&loop->state, 200);
        if (i < VIEWERS && loop->of[i] != NULL && loop->count <= LIVES - VIEWERS)
            finish(loop, i);
        for (i = 0; i < VIEWERS; i++) /* until all have seen the end */
            is_over = is_over && loop->of[i] == NULL;
    }
    return NULL;
}

static void *run_publisher(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument;
    for (uint64_t number = 0; number < EVENTS; number++) {
        struct fw_published result;
        struct fw_frame *frame = sample_frame(number, 28 + random_below(&state, 100));
        CHECK_EQ(fw_hub_publish(hub, frame, &result), FW_OK);
        published.frames[result.sequence] = frame;
        if (random_below(&state, 50) == 0)
            sched_yield();
    }
    atomic_fetch_sub(&publishing, 1);
    return NULL;
}

static uint64_t check_lives(struct loop *loop)
{
    uint64_t pruned = 0;
    for (struct life *life = loop->lives; life != loop->lives + loop->count; life++) {
        struct viewer viewer = {.start = life->start, .next = life->start, .direct = {.chunked = life->is_chunked}};
        feed(&viewer, life->at, life->size);
        CHECK(is_between_events(&viewer));
        CHECK_EQ(viewer.next, life->end);
        CHECK(life->fate != FW_FATE_CLOSED || life->end == published.head);
        pruned += life->fate == FW_FATE_PRUNED;
        free(life->at);
    }
    return pruned;
}

static void many_threads(struct fw_limits limits, struct fw_limits group)
{
    pthread_t threads[LOOPS + PUBLISHERS];
    uint64_t lives = 0, pruned = 0;
    hub = open_hub_with(limits, (struct fw_history){.events = 20});
    hub->group = group;
    atomic_store(&publishing, PUBLISHERS);
    for (size_t i = 0; i < LOOPS; i++) {
        memset(&loops[i], 0, sizeof loops[i]);
        loops[i].state = seed++;
        loops[i].fanout = open_fanout(hub);
        CHECK_EQ(pthread_create(&threads[i], NULL, run_loop, &loops[i]), 0);
    }
    for (size_t i = 0; i < PUBLISHERS; i++)
        CHECK_EQ(pthread_create(&threads[LOOPS + i], NULL, run_publisher, (void *)(uintptr_t)seed++), 0);
    while (atomic_load(&publishing) != 0) {
        fw_hub_check(hub);
        sched_yield();
    }
    fw_hub_close(hub);
    for (size_t i = 0; i < LOOPS + PUBLISHERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    published.head = fw_hub_counts(hub).head;
    CHECK_EQ(published.head, PUBLISHERS * EVENTS);
    for (size_t i = 0; i < LOOPS; i++) {
        lives += loops[i].count;
        pruned += check_lives(&loops[i]);
        fw_fanout_free(loops[i].fanout);
    }
    printf("threads: %" PRIu64 " lives, %" PRIu64 " pruned\n", lives, pruned);
    fw_hub_unref(hub);
    forget_events();
}

static void every_client_gets_the_one_order(void)
{
    many_threads((struct fw_limits){0, 0}, (struct fw_limits){0, 0});
    many_threads((struct fw_limits){64, 0}, (struct fw_limits){65536, 0});
}

static void groups_are_pruned_while_they_are_served(void)
{
    many_threads((struct fw_limits){10, 0}, (struct fw_limits){20, 0});
}

int main(void)
{
    seed = SEED();
    RUN(every_client_gets_the_one_order);
    RUN(groups_are_pruned_while_they_are_served);
    return 0;
}
