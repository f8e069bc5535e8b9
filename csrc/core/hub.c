#include "core/hub.h"

#include "core/alloc.h"
#include "core/hub_state.h"
#include "core/place.h"
#include "core/status.h"

#include <assert.h>
#include <string.h>

#define FIRST_CAPACITY 16
#define TRIM_SLOTS 256 /* per critical section */

/* A group reads at once, but the loop it is served by has other work too; so it may fall behind at least this far. */
#define GROUP_EVENTS 65536
#define GROUP_BYTES (16 << 20)

int fw_hub_new(struct fw_hub **made)
{
    struct fw_hub *hub = fw_alloc(sizeof *hub);
    struct fw_slot *slots = fw_log_new_slots(FIRST_CAPACITY);
    int status = hub == NULL || slots == NULL ? FW_ENOMEM : FW_OK;
    if (status == FW_OK) {
        *hub = (struct fw_hub){.digits = FW_POSITION_DIGITS, .is_known = true};
        status = fw_id_draw(hub->epoch);
    }
    if (status != FW_OK) {
        fw_free(hub, sizeof *hub);
        fw_log_free_slots(slots, FIRST_CAPACITY);
        return status;
    }
    atomic_init(&hub->references, 1);
    pthread_mutex_init(&hub->mu, NULL);
    fw_log_init(&hub->log, slots, FIRST_CAPACITY);
    *made = hub;
    return FW_OK;
}

void fw_hub_ref(struct fw_hub *hub)
{
    /* Relaxed: whoever adds a reference holds one. */
    atomic_fetch_add_explicit(&hub->references, 1, memory_order_relaxed);
}

/* Returns what no reader needs any more, a bounded number of frames: to be freed after unlocking. */
static struct fw_frame *trim_locked(struct fw_hub *hub, bool *more)
{
    struct fw_frame *chain = fw_log_trim(&hub->log, fw_place_history_locked(hub), TRIM_SLOTS, more);
    fw_place_trimmed_locked(hub, chain);
    return chain;
}

void fw_hub_trim(struct fw_hub *hub)
{
    bool more;
    do {
        fw_hub_lock(hub);
        struct fw_frame *chain = trim_locked(hub, &more);
        fw_hub_unlock(hub);
        fw_log_free_frames(chain);
    } while (more);
}

void fw_hub_unref(struct fw_hub *hub)
{
    /* Release: our use comes before the free. Acquire: the freeing thread sees that of all others. */
    if (hub == NULL || atomic_fetch_sub_explicit(&hub->references, 1, memory_order_acq_rel) != 1)
        return;
    assert(hub->joined == 0);
    hub->history = (struct fw_history){0};
    fw_hub_trim(hub);
    fw_log_free_slots(hub->log.slots, hub->log.capacity);
    pthread_mutex_destroy(&hub->mu);
    fw_free(hub, sizeof *hub);
}

static void set_limits(struct fw_hub *hub, struct fw_limits limits, struct fw_history history)
{
    hub->limits = limits;
    hub->history = history;
    hub->group = limits;
    if (limits.events != 0 && limits.events < GROUP_EVENTS)
        hub->group.events = GROUP_EVENTS;
    if ((limits.events != 0 || limits.bytes != 0) && limits.bytes < GROUP_BYTES)
        hub->group.bytes = GROUP_BYTES;
}

int fw_hub_renew(struct fw_hub *old, struct fw_hub **hub)
{
    int status = fw_hub_new(hub);
    if (status == FW_OK) {
        set_limits(*hub, old->limits, old->history);
        (*hub)->digits = old->digits;
        (*hub)->is_told = old->is_told;
        (*hub)->is_known = !old->is_told;
        (*hub)->closed = old->closed;
    }
    return status;
}

int fw_hub_set_limits(struct fw_hub *hub, struct fw_limits limits, struct fw_history history)
{
    fw_hub_lock(hub);
    int status = hub->joined == 0 ? FW_OK : FW_EBUSY;
    if (status == FW_OK)
        set_limits(hub, limits, history);
    fw_hub_unlock(hub);
    if (status == FW_OK)
        fw_hub_trim(hub);
    return status;
}

int fw_hub_set_positions(struct fw_hub *hub, size_t digits)
{
    assert(digits == 0 || digits == FW_POSITION_DIGITS || digits == FW_POSITION_DIGITS_MAX);
    fw_hub_lock(hub);
    bool is_same = digits == (hub->is_told ? hub->digits : 0);
    int status = is_same || (hub->joined == 0 && hub->log.head == 0) ? FW_OK : FW_EBUSY;
    if (status == FW_OK && !is_same) {
        hub->is_told = digits != 0;
        hub->is_known = !hub->is_told;
        hub->digits = hub->is_told ? (uint8_t)digits : FW_POSITION_DIGITS;
    }
    fw_hub_unlock(hub);
    return status;
}

uint64_t fw_hub_uncount_locked(struct fw_hub *hub, struct fw_reader *reader)
{
    uint64_t weight = reader->counted && !hub->closed ? reader->weight : 0;
    reader->counted = false;
    hub->clients -= weight;
    return weight;
}

void fw_hub_join(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight)
{
    fw_hub_lock(hub);
    fw_place_register_locked(hub, reader, weight, FW_JOIN_LIVE);
    fw_log_enter(&hub->log, reader, hub->log.head);
    fw_hub_unlock(hub);
}

void fw_hub_leave(struct fw_hub *hub, struct fw_reader *reader)
{
    bool more = false;
    struct fw_frame *chain = NULL;
    struct fw_range *range = NULL;
    fw_hub_lock(hub);
    hub->joined--;
    uint64_t weight = fw_hub_uncount_locked(hub, reader);
    if (fw_place_has_passed_locked(hub, reader))
        hub->passed += weight;
    if (reader->in_slot)
        fw_log_leave(&hub->log, reader);
    else if (reader->group != NULL)
        fw_log_part(reader);
    else if (reader->range != NULL && --reader->range->references == 0)
        range = reader->range;
    chain = trim_locked(hub, &more);
    reader->range = NULL;
    fw_hub_unlock(hub);
    fw_log_free_frames(chain);
    fw_range_free(range);
    if (more)
        fw_hub_trim(hub);
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

/* Where an event comes from outside: its position and, with the first of another epoch or of another time, that epoch. */
struct told {
    const char *epoch; /* or NULL */
    struct fw_position position;
};

/* Makes the position of the event that comes next that which was told, or the next number. */
static void move_on_locked(struct fw_hub *hub, const struct told *told)
{
    hub->position = told != NULL ? told->position : (struct fw_position){0, hub->log.head + 1};
    if (told == NULL || told->epoch == NULL)
        return;
    memcpy(hub->epoch, told->epoch, FW_EPOCH_DIGITS);
    hub->is_known = true;
    hub->base = told->position;
    hub->since = hub->log.head + 1;
}

/* The event that a publish would append. Returns true when it has been appended; otherwise false and what is needed. */
static bool append_locked(struct fw_hub *hub, struct fw_frame *frame, const struct told *told, struct provisions *have,
                          struct fw_published *published, size_t *capacity, size_t *owed)
{
    struct fw_log *log = &hub->log;
    struct fw_cut cut = {.readers = fw_log_cut(log, hub->limits, frame->size),
                         .groups = fw_log_group_cut(log, hub->group, frame->size)};
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
        struct fw_limits events = {.events = hub->limits.events}, group_events = {.events = hub->group.events};
        uint64_t too_many = fw_log_weight(log, (struct fw_cut){.readers = fw_log_cut(log, events, 0),
                                                               .groups = fw_log_group_cut(log, group_events, 0)});
        weight = fw_log_prune(log, cut, have->range);
        have->range = NULL; /* its readers own it now */
        hub->pruned_by_bytes += weight - too_many;
    }
    hub->clients -= weight;
    hub->pruned += weight;
    *published = (struct fw_published){.sequence = log->head, .pruned = weight, .clients = hub->clients};
    move_on_locked(hub, told);
    if (frame->id_at != 0)
        fw_id_write(frame->bytes + FW_FRAME_HEAD + frame->id_at, hub->epoch, hub->position, hub->digits);
    fw_frame_ref(frame);
    fw_log_append(log, frame);
    return true;
}

static int publish(struct fw_hub *hub, struct fw_frame *frame, const struct told *told, struct fw_published *published)
{
    struct provisions have = {.slots = NULL};
    struct fw_frame *chain = NULL;
    bool more = false, done = false;
    size_t capacity = 0, owed = 0;
    int status = FW_OK;
    while (!done && status == FW_OK) {
        fw_hub_lock(hub);
        if (hub->closed) {
            *published = (struct fw_published){.sequence = hub->log.head};
            done = true;
        } else if (told != NULL && told->epoch == NULL &&
                   !(hub->is_known && fw_position_is_above(told->position, hub->position))) {
            status = FW_EORDER;
        } else {
            done = append_locked(hub, frame, told, &have, published, &capacity, &owed);
            if (done)
                chain = trim_locked(hub, &more);
        }
        fw_hub_unlock(hub);
        if (!done && status == FW_OK)
            status = provide(&have, capacity, owed);
    }
    fw_log_free_slots(have.slots, have.capacity);
    fw_range_free(have.range);
    fw_log_free_frames(chain);
    if (more)
        fw_hub_trim(hub);
    return status;
}

int fw_hub_publish(struct fw_hub *hub, struct fw_frame *frame, struct fw_published *published)
{
    assert(!hub->is_told);
    return publish(hub, frame, NULL, published);
}

int fw_hub_deliver(struct fw_hub *hub, struct fw_frame *frame, struct fw_position position,
                   struct fw_published *published)
{
    assert(hub->is_told && frame->id_at != 0);
    return publish(hub, frame, &(struct told){.position = position}, published);
}

int fw_hub_rebase(struct fw_hub *hub, struct fw_frame *frame, const char epoch[FW_EPOCH_DIGITS],
                  struct fw_position position, struct fw_published *published)
{
    assert(hub->is_told && frame->id_at != 0);
    int status = publish(hub, frame, &(struct told){epoch, position}, published);
    if (status == FW_OK)
        fw_hub_trim(hub);
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

int fw_hub_read(struct fw_hub *hub, struct fw_reader *reader, size_t max_events, uint64_t known_last,
                struct fw_batch *batch)
{
    struct fw_log *log = &hub->log;
    struct fw_frame *chain = NULL;
    bool more = false;
    int status = FW_OK;
    assert(max_events >= 1 && max_events <= FW_BATCH_FRAMES);
    batch->count = 0;
    fw_hub_lock(hub);
    uint64_t first = reader->sequence, bound = bound_locked(hub, reader), last;
    if (fw_place_has_passed_locked(hub, reader)) {
        hub->passed += fw_hub_uncount_locked(hub, reader);
        status = FW_EEND;
        goto done;
    }
    if (first == bound || reader->aside != 0) {
        status = is_ending_locked(hub, reader) ? FW_EEND : FW_EAGAIN;
        goto done;
    }
    batch->first = first;
    if (reader->range == NULL) {
        last = fw_log_stop(log, first, bound, max_events, FW_BATCH_BYTES);
        batch->bytes = fw_log_bytes(log, first, last);
    } else {
        last = fw_range_stop(reader->range, first, bound, max_events, FW_BATCH_BYTES, &batch->bytes);
    }
    batch->last = last;
    if (last != known_last) {
        batch->count = (size_t)(last - first);
        for (size_t i = 0; i < batch->count; i++) {
            batch->frames[i] = reader->range == NULL ? fw_log_slot(log, first + i)->frame
                                                     : reader->range->frames[first + i - reader->range->first];
            fw_frame_ref(batch->frames[i]);
        }
    }
    if (reader->in_slot) {
        fw_log_leave(log, reader);
        fw_log_enter(log, reader, last);
        chain = trim_locked(hub, &more);
    } else {
        if (reader->catches_up)
            fw_place_stand_locked(hub, reader, last);
        else
            reader->sequence = last;
    }
done:
    fw_hub_unlock(hub);
    fw_log_free_frames(chain);
    if (more)
        fw_hub_trim(hub);
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
    fw_hub_lock(hub);
    bool ready = reader->sequence != bound_locked(hub, reader) || is_ending_locked(hub, reader);
    fw_hub_unlock(hub);
    return ready;
}

bool fw_hub_endangered(struct fw_hub *hub, const struct fw_reader *reader)
{
    fw_hub_lock(hub);
    const struct fw_log *log = &hub->log;
    struct fw_limits limits = reader->group != NULL ? hub->group : hub->limits;
    uint64_t sequence = reader->group != NULL ? reader->group->sequence : reader->sequence;
    bool endangered = (reader->in_slot || reader->group != NULL) &&
                      ((limits.events != 0 && log->head - sequence > limits.events / 2) ||
                       (limits.bytes != 0 && fw_log_bytes(log, sequence, log->head) > limits.bytes / 2));
    fw_hub_unlock(hub);
    return endangered;
}

enum fw_fate fw_hub_fate(struct fw_hub *hub, const struct fw_reader *reader)
{
    fw_hub_lock(hub);
    enum fw_fate fate = reader->range != NULL                     ? FW_FATE_PRUNED
                        : fw_place_has_passed_locked(hub, reader) ? FW_FATE_PASSED
                        : hub->closed                             ? FW_FATE_CLOSED
                        : reader->end != FW_FOREVER               ? FW_FATE_FINISHED
                                                                  : FW_FATE_NONE;
    fw_hub_unlock(hub);
    return fate;
}

void fw_hub_finish(struct fw_hub *hub, struct fw_reader *reader, bool at_once)
{
    fw_hub_lock(hub);
    assert(reader->group == NULL);
    uint64_t end = at_once && reader->range == NULL ? reader->sequence : hub->log.head;
    fw_hub_uncount_locked(hub, reader);
    if (reader->end > end)
        reader->end = end;
    fw_hub_unlock(hub);
}

void fw_hub_close(struct fw_hub *hub)
{
    fw_hub_lock(hub);
    hub->closed = true;
    hub->clients = 0;
    fw_hub_unlock(hub);
}

struct fw_hub_counts fw_hub_counts(struct fw_hub *hub)
{
    fw_hub_lock(hub);
    const struct fw_log *log = &hub->log;
    struct fw_hub_counts counts = {
        .clients = hub->clients,
        .pruned = hub->pruned,
        .head = log->head,
        .text = log->bytes,
        .frames = log->head - log->tail,
        .bytes = fw_log_bytes(log, log->tail, log->head),
        .pruned_by_bytes = hub->pruned_by_bytes,
        .passed = hub->passed,
        .lag = log->head - fw_log_needed(log),
        .closed = hub->closed,
    };
    for (int join = 0; join < FW_JOINS; join++)
        counts.total += counts.joins[join] = hub->joins[join];
    counts.history_events = log->head - log->tail;
    if (counts.history_events > fw_place_history_locked(hub).events)
        counts.history_events = fw_place_history_locked(hub).events;
    if (hub->history.bytes != 0)
        counts.history_events = log->head - fw_log_fit(log, log->head - counts.history_events, hub->history.bytes);
    counts.history_bytes = fw_log_bytes(log, log->head - counts.history_events, log->head);
    fw_hub_unlock(hub);
    return counts;
}
