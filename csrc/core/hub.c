#include "core/hub.h"

#include "core/alloc.h"
#include "core/status.h"

#include <assert.h>
#include <pthread.h>

#define FIRST_CAPACITY 16
#define TRIM_SLOTS 256 /* per critical section */

struct fw_hub {
    atomic_uint_least32_t references;
    pthread_mutex_t mu;
    struct fw_log log;       /* guarded by mu */
    struct fw_limits limits; /* guarded by mu */
    uint64_t clients;        /* guarded by mu; the weight of all readers with `counted` */
    uint64_t total;          /* guarded by mu; the weight of all readers that were ever counted */
    uint64_t pruned;         /* guarded by mu; by weight */
    uint64_t joined;         /* guarded by mu; readers between join and leave */
    bool closed;             /* guarded by mu */
};

static void lock(struct fw_hub *hub)
{
    pthread_mutex_lock(&hub->mu);
    fw_alloc_forbid(true);
}

static void unlock(struct fw_hub *hub)
{
    fw_alloc_forbid(false);
    pthread_mutex_unlock(&hub->mu);
}

struct fw_hub *fw_hub_new(void)
{
    struct fw_hub *hub = fw_alloc(sizeof *hub);
    struct fw_slot *slots = fw_log_new_slots(FIRST_CAPACITY);
    if (hub == NULL || slots == NULL) {
        fw_free(hub, sizeof *hub);
        fw_log_free_slots(slots, FIRST_CAPACITY);
        return NULL;
    }
    *hub = (struct fw_hub){.closed = false};
    atomic_init(&hub->references, 1);
    pthread_mutex_init(&hub->mu, NULL);
    fw_log_init(&hub->log, slots, FIRST_CAPACITY);
    return hub;
}

void fw_hub_ref(struct fw_hub *hub)
{
    /* Relaxed: whoever adds a reference holds one. */
    atomic_fetch_add_explicit(&hub->references, 1, memory_order_relaxed);
}

/* Gives up what no reader needs any more, in critical sections of bounded length. */
static void trim(struct fw_hub *hub)
{
    bool more;
    do {
        lock(hub);
        struct fw_frame *chain = fw_log_trim(&hub->log, TRIM_SLOTS, &more);
        unlock(hub);
        fw_log_free_frames(chain);
    } while (more);
}

void fw_hub_unref(struct fw_hub *hub)
{
    /* Release: our use comes before the free. Acquire: the freeing thread sees that of all others. */
    if (hub == NULL || atomic_fetch_sub_explicit(&hub->references, 1, memory_order_acq_rel) != 1)
        return;
    assert(hub->joined == 0);
    trim(hub);
    fw_log_free_slots(hub->log.slots, hub->log.capacity);
    pthread_mutex_destroy(&hub->mu);
    fw_free(hub, sizeof *hub);
}

struct fw_hub *fw_hub_renew(struct fw_hub *old)
{
    struct fw_hub *hub = fw_hub_new();
    if (hub != NULL) {
        hub->limits = old->limits;
        hub->closed = old->closed;
    }
    return hub;
}

int fw_hub_set_limits(struct fw_hub *hub, struct fw_limits limits)
{
    lock(hub);
    int status = hub->joined == 0 ? FW_OK : FW_EBUSY;
    if (status == FW_OK)
        hub->limits = limits;
    unlock(hub);
    return status;
}

static void uncount_locked(struct fw_hub *hub, struct fw_reader *reader)
{
    if (reader->counted)
        hub->clients -= reader->weight;
    reader->counted = false;
}

void fw_hub_join(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight)
{
    *reader = (struct fw_reader){.end = FW_FOREVER, .weight = weight};
    lock(hub);
    fw_log_enter(&hub->log, reader, hub->log.head);
    hub->joined++;
    if (!hub->closed) {
        reader->counted = true;
        hub->clients += weight;
        hub->total += weight;
    }
    unlock(hub);
}

void fw_hub_leave(struct fw_hub *hub, struct fw_reader *reader)
{
    bool more = false;
    struct fw_frame *chain = NULL;
    struct fw_range *range = NULL;
    lock(hub);
    hub->joined--;
    if (!hub->closed)
        uncount_locked(hub, reader);
    if (reader->in_slot) {
        fw_log_leave(&hub->log, reader);
        chain = fw_log_trim(&hub->log, TRIM_SLOTS, &more);
    } else if (--reader->range->references == 0) {
        range = reader->range;
    }
    reader->range = NULL;
    unlock(hub);
    fw_log_free_frames(chain);
    fw_range_free(range);
    if (more)
        trim(hub);
}

/* What a publish needs and cannot allocate under the lock. */
struct provisions {
    struct fw_slot *slots;
    size_t capacity;
    struct fw_range *range;
};

/* Allocates what is missing. Returns FW_OK or FW_ENOMEM. */
static int provide(struct provisions *have, size_t capacity, size_t owed)
{
    if (capacity > have->capacity) {
        fw_log_free_slots(have->slots, have->capacity);
        have->slots = fw_log_new_slots(capacity);
        have->capacity = have->slots != NULL ? capacity : 0;
        if (have->slots == NULL)
            return FW_ENOMEM;
    }
    if (owed != 0 && (have->range == NULL || have->range->capacity < owed)) {
        fw_range_free(have->range);
        have->range = fw_range_new(owed);
        if (have->range == NULL)
            return FW_ENOMEM;
    }
    return FW_OK;
}

/* The event that a publish would append. Returns true when it has been appended; otherwise false and what is needed. */
static bool append_locked(struct fw_hub *hub, struct fw_frame *frame, struct provisions *have,
                          struct fw_published *published, size_t *capacity, size_t *owed)
{
    struct fw_log *log = &hub->log;
    uint64_t cut = fw_log_cut(log, hub->limits, frame->size);
    *owed = fw_log_owed(log, cut);
    *capacity = fw_log_is_full(log) ? 2 * log->capacity : 0;
    if (*capacity > have->capacity || (*owed != 0 && (have->range == NULL || have->range->capacity < *owed)))
        return false;
    if (*capacity != 0) {
        size_t old = log->capacity;
        have->slots = fw_log_grow(log, have->slots, have->capacity);
        have->capacity = old; /* freed by the caller */
    }
    uint64_t weight = 0;
    if (*owed != 0) {
        weight = fw_log_prune(log, cut, have->range);
        have->range = NULL; /* its readers own it now */
    }
    hub->clients -= weight;
    hub->pruned += weight;
    *published = (struct fw_published){.sequence = log->head, .pruned = weight, .clients = hub->clients};
    fw_frame_ref(frame);
    fw_log_append(log, frame);
    return true;
}

int fw_hub_publish(struct fw_hub *hub, struct fw_frame *frame, struct fw_published *published)
{
    struct provisions have = {.slots = NULL};
    struct fw_frame *chain = NULL;
    bool more = false, done = false;
    size_t capacity = 0, owed = 0;
    int status = FW_OK;
    while (!done && status == FW_OK) {
        lock(hub);
        if (hub->closed) {
            *published = (struct fw_published){.sequence = hub->log.head};
            done = true;
        } else {
            done = append_locked(hub, frame, &have, published, &capacity, &owed);
            if (done)
                chain = fw_log_trim(&hub->log, TRIM_SLOTS, &more);
        }
        unlock(hub);
        if (!done)
            status = provide(&have, capacity, owed);
    }
    fw_log_free_slots(have.slots, have.capacity);
    fw_range_free(have.range);
    fw_log_free_frames(chain);
    if (more)
        trim(hub);
    return status;
}

/* Where `reader` stops reading, as things stand. */
static uint64_t bound_locked(const struct fw_hub *hub, const struct fw_reader *reader)
{
    return reader->end < hub->log.head ? reader->end : hub->log.head;
}

static bool is_ending_locked(const struct fw_hub *hub, const struct fw_reader *reader)
{
    return hub->closed || reader->end != FW_FOREVER;
}

/* The same as fw_log_stop for a range, whose frames carry no running sum. */
static uint64_t range_stop(const struct fw_range *range, uint64_t from, uint64_t to, size_t max_events)
{
    uint64_t stop = from;
    size_t bytes = 0;
    while (stop != to && stop - from != max_events) {
        bytes += range->frames[stop - range->first]->size;
        if (bytes > FW_BATCH_BYTES && stop != from)
            break;
        stop++;
    }
    return stop;
}

int fw_hub_read(struct fw_hub *hub, struct fw_reader *reader, size_t max_events, uint64_t known_last,
                struct fw_batch *batch)
{
    struct fw_log *log = &hub->log;
    struct fw_frame *chain = NULL;
    bool more = false;
    int status = FW_OK;
    assert(max_events >= 1 && max_events <= FW_BATCH_FRAMES);
    batch->count = 0;
    lock(hub);
    uint64_t first = reader->sequence, bound = bound_locked(hub, reader), last;
    if (first == bound) {
        status = is_ending_locked(hub, reader) ? FW_EEND : FW_EAGAIN;
        goto done;
    }
    if (reader->in_slot)
        last = fw_log_stop(log, first, bound, max_events, FW_BATCH_BYTES);
    else
        last = range_stop(reader->range, first, bound, max_events);
    batch->first = first;
    batch->last = last;
    if (last != known_last) {
        batch->count = (size_t)(last - first);
        for (size_t i = 0; i < batch->count; i++) {
            batch->frames[i] = reader->in_slot ? fw_log_slot(log, first + i)->frame
                                               : reader->range->frames[first + i - reader->range->first];
            fw_frame_ref(batch->frames[i]);
        }
    }
    if (reader->in_slot) {
        fw_log_leave(log, reader);
        fw_log_enter(log, reader, last);
        chain = fw_log_trim(log, TRIM_SLOTS, &more);
    } else {
        reader->sequence = last;
    }
done:
    unlock(hub);
    fw_log_free_frames(chain);
    if (more)
        trim(hub);
    return status;
}

void fw_batch_release(struct fw_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        fw_frame_unref(batch->frames[i]);
    batch->count = 0;
}

bool fw_hub_ready(struct fw_hub *hub, const struct fw_reader *reader)
{
    lock(hub);
    bool ready = reader->sequence != bound_locked(hub, reader) || is_ending_locked(hub, reader);
    unlock(hub);
    return ready;
}

bool fw_hub_endangered(struct fw_hub *hub, const struct fw_reader *reader)
{
    lock(hub);
    const struct fw_log *log = &hub->log;
    bool endangered =
        reader->in_slot &&
        ((hub->limits.events != 0 && log->head - reader->sequence > hub->limits.events / 2) ||
         (hub->limits.bytes != 0 && fw_log_bytes(log, reader->sequence, log->head) > hub->limits.bytes / 2));
    unlock(hub);
    return endangered;
}

bool fw_hub_pruned(struct fw_hub *hub, const struct fw_reader *reader)
{
    lock(hub);
    bool pruned = !reader->in_slot;
    unlock(hub);
    return pruned;
}

void fw_hub_finish(struct fw_hub *hub, struct fw_reader *reader)
{
    lock(hub);
    if (!hub->closed)
        uncount_locked(hub, reader);
    if (reader->end > hub->log.head)
        reader->end = hub->log.head;
    unlock(hub);
}

void fw_hub_close(struct fw_hub *hub)
{
    lock(hub);
    hub->closed = true;
    hub->clients = 0;
    unlock(hub);
}

struct fw_hub_counts fw_hub_counts(struct fw_hub *hub)
{
    lock(hub);
    const struct fw_log *log = &hub->log;
    struct fw_hub_counts counts = {
        .clients = hub->clients,
        .total = hub->total,
        .pruned = hub->pruned,
        .head = log->head,
        .text = log->bytes,
        .frames = log->head - log->tail,
        .bytes = fw_log_bytes(log, log->tail, log->head),
        .lag = log->head - log->tail, /* the tail is where the last reader stands */
        .closed = hub->closed,
    };
    unlock(hub);
    return counts;
}

#ifdef FW_DEBUG

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fw_hub_check: %s (%s:%d)\n", #condition, __FILE__, __LINE__);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

void fw_hub_check(struct fw_hub *hub)
{
    lock(hub);
    const struct fw_log *log = &hub->log;
    uint64_t in_slots = 0, counted = 0, bytes = fw_log_slot(log, log->tail)->start;
    CHECK(log->tail <= log->head);
    CHECK((log->capacity & (log->capacity - 1)) == 0);
    CHECK(log->head - log->tail < log->capacity);
    for (uint64_t sequence = log->tail; sequence - log->tail < log->capacity; sequence++) {
        const struct fw_slot *slot = fw_log_slot(log, sequence);
        CHECK((slot->frame != NULL) == (sequence < log->head));
        CHECK(slot->readers == NULL || sequence <= log->head);
        if (slot->frame != NULL) {
            CHECK(slot->start == bytes);
            CHECK(atomic_load(&slot->frame->references) > 0);
            bytes += slot->frame->size;
        }
        const struct fw_reader *previous = NULL;
        for (const struct fw_reader *reader = slot->readers; reader != NULL; reader = reader->next) {
            CHECK(reader->in_slot && reader->range == NULL);
            CHECK(reader->sequence == sequence && reader->previous == previous && sequence <= reader->end);
            /* The promise that makes pruning exact. */
            CHECK(hub->limits.events == 0 || log->head - sequence <= hub->limits.events);
            CHECK(hub->limits.bytes == 0 || log->head - sequence <= 1 ||
                  fw_log_bytes(log, sequence, log->head) <= hub->limits.bytes);
            in_slots++;
            counted += reader->counted ? reader->weight : 0;
            previous = reader;
        }
    }
    CHECK(log->head == log->tail || bytes == log->bytes);
    CHECK(in_slots <= hub->joined);
    CHECK(hub->closed ? hub->clients == 0 : counted == hub->clients);
    unlock(hub);
}

#endif
