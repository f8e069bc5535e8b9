/* Many threads on one hub: every reader sees one gap-free run of the one order, whoever publishes, leaves or closes. */
#define _GNU_SOURCE

#include "core/hub.h"

#include "check.h"
#include "core/status.h"
#include "sample.h"

#include <pthread.h>
#include <time.h>

#ifdef FW_UNDER_TSAN
#define SCALE 1
#else
#define SCALE 10
#endif

enum {
    PUBLISHERS = 3,
    READING_THREADS = 3,
    READERS = 5, /* in each of those */
    EVENTS = 8000 * SCALE,
    ALL = PUBLISHERS * EVENTS,
    SHARERS = 4,
};

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    CHECK_EQ(pthread_create(thread, NULL, run, argument), 0);
}

static void join(pthread_t *threads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void *share_frame(void *frame)
{
    for (int i = 0; i < 5000 * SCALE; i++) {
        fw_frame_ref(frame);
        CHECK_EQ(sample_number(frame), 42);
        fw_frame_unref(frame);
    }
    fw_frame_unref(frame);
    return NULL;
}

static void a_frame_goes_with_the_last_of_many_threads(void)
{
    pthread_t threads[SHARERS];
    size_t live = fw_alloc_live();
    struct fw_frame *frame = sample_frame(42, 0);
    for (size_t i = 0; i < SHARERS; i++) {
        fw_frame_ref(frame);
        start(&threads[i], share_frame, frame);
    }
    fw_frame_unref(frame);
    join(threads, SHARERS);
    CHECK_EQ(fw_alloc_live(), live);
}

static void *share_hub(void *hub)
{
    struct fw_reader reader;
    struct fw_published published;
    struct fw_frame *frame = sample_frame(1, 0);
    for (int i = 0; i < 200 * SCALE; i++) {
        fw_hub_ref(hub);
        fw_hub_unref(hub);
    }
    fw_hub_join(hub, &reader, 1);
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    fw_hub_leave(hub, &reader);
    fw_hub_unref(hub);
    fw_frame_unref(frame);
    return NULL;
}

static void a_hub_goes_with_the_last_of_many_threads(void)
{
    pthread_t threads[SHARERS];
    size_t live = fw_alloc_live();
    for (int i = 0; i < 50; i++) {
        struct fw_hub *hub = sample_hub();
        for (size_t n = 0; n < SHARERS; n++) {
            fw_hub_ref(hub);
            start(&threads[n], share_hub, hub);
        }
        fw_hub_unref(hub);
        join(threads, SHARERS);
        CHECK_EQ(fw_alloc_live(), live);
    }
}

/* What is known of one torture. */
static struct {
    struct fw_hub *hub;
    bool finishes;                    /* whether readers are also finished one by one */
    bool resumes;                     /* whether they come back, to a hub with a history */
    _Atomic uint64_t order[ALL];      /* by sequence: the number of the event, as anyone saw it first; 0: nobody yet */
    uint64_t pruned[ALL];             /* by sequence: the weight that this publish says it pruned */
    _Atomic uint64_t was_pruned[ALL]; /* and the weight of the readers that found themselves pruned by it */
    uint64_t sequences[PUBLISHERS][EVENTS]; /* what each publisher was told */
    _Atomic uint64_t published, read, ends, prefixes, passed, joins[FW_JOINS];
} torture;

static uint64_t number_of(size_t publisher, size_t event)
{
    return (publisher + 1) * 1000000000 + event;
}

/* Whoever comes to a place in the order must find the same event there. */
static void record(uint64_t sequence, uint64_t number)
{
    uint64_t known = 0;
    CHECK(sequence < ALL);
    if (!atomic_compare_exchange_strong(&torture.order[sequence], &known, number))
        CHECK_EQ(number, known);
}

static void *publish_all(void *argument)
{
    size_t publisher = (size_t)argument;
    for (size_t i = 0; i < EVENTS; i++) {
        struct fw_published published;
        struct fw_frame *frame = NULL;
        CHECK_EQ(sample_format(number_of(publisher, i), i % 50 == 0 ? 3000 : 0, torture.resumes, &frame), FW_OK);
        CHECK_EQ(fw_hub_publish(torture.hub, frame, &published), FW_OK);
        fw_frame_unref(frame);
        torture.sequences[publisher][i] = published.sequence;
        if (published.pruned != 0)
            torture.pruned[published.sequence] = published.pruned;
        atomic_fetch_add(&torture.published, 1);
        if (i % 500 == 0)
            nap(); /* so that some readers keep up */
    }
    return NULL;
}

struct place {
    struct fw_reader reader;
    bool joined;
    bool finished;
    uint64_t next;
};

/* As a client that was here before, and had the events up to place->next. */
static void come_back(struct place *place, uint32_t weight)
{
    char text[FW_ID_SIZE_MAX];
    struct fw_id id;
    fw_hub_id(torture.hub, &(struct fw_reader){.sequence = place->next}, text);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &id), FW_OK);
    enum fw_join join = fw_hub_resume(torture.hub, &place->reader, weight, &id);
    atomic_fetch_add(&torture.joins[join], weight);
    if (join == FW_JOIN_RESUMED) {
        CHECK_EQ(place->reader.sequence, place->next);
    } else if (join == FW_JOIN_EVICTED) {
        CHECK(place->reader.sequence > place->next);
    } else {
        CHECK(join == FW_JOIN_LIVE && fw_hub_counts(torture.hub).closed);
    }
}

static void enter_place(struct place *place, uint32_t weight, bool resumes)
{
    if (resumes)
        come_back(place, weight);
    else
        fw_hub_join(torture.hub, &place->reader, weight);
    place->joined = true;
    place->finished = false;
    place->next = place->reader.sequence;
}

static void leave_place(struct place *place, bool at_end)
{
    bool has_passed = fw_hub_fate(torture.hub, &place->reader) == FW_FATE_PASSED;
    CHECK(!has_passed || torture.resumes);
    fw_hub_leave(torture.hub, &place->reader);
    place->joined = false;
    if (place->reader.catches_up) /* nobody else can have been passed, told so or not */
        atomic_fetch_add(&torture.passed, place->reader.weight);
    if (at_end && has_passed) /* it is told so wherever it stands */
        return;
    /* The memory is ours again, and `end` tells what became of the reader. */
    uint64_t end = place->reader.end;
    if (end == FW_FOREVER) {
        struct fw_hub_counts counts = fw_hub_counts(torture.hub);
        CHECK(!at_end || (counts.closed && counts.head == place->next));
        return;
    }
    CHECK(at_end ? place->next == end : place->next <= end);
    if (at_end)
        atomic_fetch_add(&torture.prefixes, 1);
    if (!torture.finishes) { /* then only pruning sets an end */
        CHECK(end < ALL);
        atomic_fetch_add(&torture.was_pruned[end], place->reader.weight);
    }
}

static void read_place(struct place *place, size_t max_events)
{
    static _Thread_local struct fw_batch batch;
    int status = fw_hub_read(torture.hub, &place->reader, max_events, 0, &batch);
    if (status == FW_EEND) {
        atomic_fetch_add(&torture.ends, 1);
        leave_place(place, true);
    } else if (status == FW_EAGAIN) {
        CHECK(!place->finished);
    } else {
        CHECK_EQ(status, FW_OK);
        CHECK_EQ(batch.first, place->next);
        CHECK(batch.last > batch.first && batch.last - batch.first == batch.count && batch.count <= max_events);
        for (size_t i = 0; i < batch.count; i++) {
            record(batch.first + i, sample_number(batch.frames[i]));
            CHECK(!torture.resumes || sample_id(batch.frames[i]).position.low == batch.first + i + 1);
        }
        place->next = batch.last;
        atomic_fetch_add(&torture.read, batch.count);
        fw_batch_release(&batch);
    }
}

static void *read_at_random(void *argument)
{
    uint64_t state = (uint64_t)(size_t)argument;
    struct place places[READERS] = {{.joined = false}};
    size_t joined = 0, late_joins = 20; /* some join a hub that is closed */
    while (late_joins != 0 || joined != 0) {
        bool closed = fw_hub_counts(torture.hub).closed;
        struct place *place = &places[random_below(&state, READERS)];
        uint64_t kind = random_below(&state, 400);
        if (!place->joined && late_joins != 0) {
            enter_place(place, 1 + (uint32_t)random_below(&state, 3), torture.resumes && kind % 4 != 0);
            late_joins -= closed;
        } else if (place->joined && kind == 0) {
            leave_place(place, false);
        } else if (place->joined && kind == 1 && torture.finishes) {
            fw_hub_finish(torture.hub, &place->reader, false);
            place->finished = true;
        } else if (kind < 4) {
            nap(); /* and overflow */
        } else if (place->joined && (kind >= 200 || fw_hub_ready(torture.hub, &place->reader))) {
            read_place(place, kind % 3 == 0 ? 1 : FW_BATCH_FRAMES);
        }
        joined = 0;
        for (size_t i = 0; i < READERS; i++)
            joined += places[i].joined;
    }
    return NULL;
}

/* The order that the publishers were told is gap-free, their own order is part of it, and readers saw that order. */
static void check_order(uint64_t head)
{
    uint64_t accepted = 0;
    for (size_t publisher = 0; publisher < PUBLISHERS; publisher++) {
        uint64_t least = 0;
        for (size_t i = 0; i < EVENTS; i++) {
            uint64_t sequence = torture.sequences[publisher][i];
            CHECK(sequence >= least && sequence <= head);
            least = sequence == head ? head : sequence + 1; /* once closed, closed for good */
            if (sequence == head)
                continue;
            record(sequence, number_of(publisher, i));
            accepted++;
        }
    }
    CHECK_EQ(accepted, head); /* no two at one place, so none is empty */
    for (uint64_t sequence = 0; sequence < ALL && !torture.finishes; sequence++)
        CHECK_EQ(torture.pruned[sequence], torture.was_pruned[sequence]);
}

static void torture_with(struct fw_limits limits, struct fw_history history, bool finishes)
{
    pthread_t publishers[PUBLISHERS], readers[READING_THREADS];
    uint64_t state = SEED(), pruned = 0;
    memset(&torture, 0, sizeof torture);
    torture.finishes = finishes;
    torture.resumes = history.events != 0;
    torture.hub = sample_hub();
    CHECK_EQ(fw_hub_set_limits(torture.hub, limits, history), FW_OK);
    for (size_t i = 0; i < READING_THREADS; i++)
        start(&readers[i], read_at_random, (void *)(size_t)random_next(&state));
    for (size_t i = 0; i < PUBLISHERS; i++)
        start(&publishers[i], publish_all, (void *)i);
    while (atomic_load(&torture.published) < ALL / 10 * 9) {
        fw_hub_check(torture.hub);
        nap();
    }
    fw_hub_close(torture.hub);
    join(publishers, PUBLISHERS);
    join(readers, READING_THREADS);

    struct fw_hub_counts counts = fw_hub_counts(torture.hub);
    CHECK(counts.closed && counts.clients == 0);
    CHECK(counts.frames == counts.history_events && counts.bytes == counts.history_bytes);
    fw_hub_check(torture.hub);
    check_order(counts.head);
    for (size_t i = 0; i < ALL; i++)
        pruned += torture.pruned[i];
    printf("torture: %" PRIu64 " published, %" PRIu64 " read, %" PRIu64 " ends, %" PRIu64 " pruned\n", counts.head,
           torture.read, torture.ends, pruned);
    CHECK(torture.read != 0 && torture.ends != 0);
    CHECK(limits.events == 0 || (pruned != 0 && torture.prefixes != 0));
    if (torture.resumes) {
        printf("torture: %" PRIu64 " resumed, %" PRIu64 " evicted, %" PRIu64 " passed\n", counts.joins[FW_JOIN_RESUMED],
               counts.joins[FW_JOIN_EVICTED], counts.passed);
        CHECK(counts.history_events != 0 && counts.history_events <= history.events);
        CHECK_EQ(counts.joins[FW_JOIN_RESUMED], torture.joins[FW_JOIN_RESUMED]);
        CHECK_EQ(counts.joins[FW_JOIN_EVICTED], torture.joins[FW_JOIN_EVICTED]);
        CHECK(counts.joins[FW_JOIN_RESUMED] != 0 && counts.joins[FW_JOIN_EVICTED] != 0);
        CHECK(counts.passed != 0 && counts.passed <= torture.passed); /* not those in the closed hub */
    }
    fw_hub_unref(torture.hub);
}

static void readers_that_overflow(void)
{
    torture_with((struct fw_limits){.events = 64}, (struct fw_history){0}, false);
}

static void readers_that_overflow_at_once(void)
{
    torture_with((struct fw_limits){.events = 2}, (struct fw_history){0}, false);
}

static void readers_with_a_byte_limit_that_are_finished(void)
{
    torture_with((struct fw_limits){.bytes = 8000}, (struct fw_history){0}, true);
}

static void readers_without_limit(void)
{
    torture_with((struct fw_limits){0}, (struct fw_history){0}, false);
}

static void readers_that_come_back(void)
{
    torture_with((struct fw_limits){.events = 64}, (struct fw_history){.events = 500}, false);
}

static void readers_that_come_back_and_are_finished(void)
{
    torture_with((struct fw_limits){.bytes = 8000}, (struct fw_history){.events = 1000, .bytes = 30000}, true);
}

int main(void)
{
    RUN(a_frame_goes_with_the_last_of_many_threads);
    RUN(a_hub_goes_with_the_last_of_many_threads);
    RUN(readers_that_overflow);
    RUN(readers_that_overflow_at_once);
    RUN(readers_with_a_byte_limit_that_are_finished);
    RUN(readers_without_limit);
    RUN(readers_that_come_back);
    RUN(readers_that_come_back_and_are_finished);
    return 0;
}
