#include "core/log.h"

#include "core/alloc.h"

#include <assert.h>
#include <string.h>

struct fw_slot *fw_log_new_slots(size_t capacity)
{
    assert(capacity != 0 && (capacity & (capacity - 1)) == 0);
    if (capacity > SIZE_MAX / sizeof(struct fw_slot))
        return NULL;
    struct fw_slot *slots = fw_alloc(capacity * sizeof *slots);
    if (slots != NULL)
        memset(slots, 0, capacity * sizeof *slots);
    return slots;
}

void fw_log_free_slots(struct fw_slot *slots, size_t capacity)
{
    fw_free(slots, capacity * sizeof *slots);
}

static size_t range_bytes(size_t capacity)
{
    return sizeof(struct fw_range) + capacity * sizeof(struct fw_frame *);
}

struct fw_range *fw_range_new(size_t capacity)
{
    if (capacity > (SIZE_MAX - sizeof(struct fw_range)) / sizeof(struct fw_frame *))
        return NULL;
    struct fw_range *range = fw_alloc(range_bytes(capacity));
    if (range != NULL)
        *range = (struct fw_range){.capacity = capacity};
    return range;
}

void fw_range_free(struct fw_range *range)
{
    if (range == NULL)
        return;
    assert(range->references == 0);
    for (size_t i = 0; i < range->count; i++)
        fw_frame_unref(range->frames[i]);
    fw_free(range, range_bytes(range->capacity));
}

void fw_log_init(struct fw_log *log, struct fw_slot *slots, size_t capacity)
{
    *log = (struct fw_log){.slots = slots, .capacity = capacity};
}

static uint64_t start_of(const struct fw_log *log, uint64_t sequence)
{
    return sequence == log->head ? log->bytes : fw_log_slot(log, sequence)->start;
}

uint64_t fw_log_bytes(const struct fw_log *log, uint64_t from, uint64_t to)
{
    return start_of(log, to) - start_of(log, from);
}

uint64_t fw_log_fit(const struct fw_log *log, uint64_t from, uint64_t bytes)
{
    uint64_t to = log->head;
    while (from != to) {
        uint64_t middle = from + (to - from) / 2;
        if (fw_log_bytes(log, middle, log->head) > bytes)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool fw_log_is_full(const struct fw_log *log)
{
    return log->head - log->tail + 1 == log->capacity;
}

struct fw_slot *fw_log_grow(struct fw_log *log, struct fw_slot *slots, size_t capacity)
{
    assert(capacity > log->capacity);
    struct fw_log grown = *log;
    grown.slots = slots;
    grown.capacity = capacity;
    for (uint64_t sequence = log->tail; sequence <= log->head; sequence++)
        *fw_log_slot(&grown, sequence) = *fw_log_slot(log, sequence);
    struct fw_slot *old = log->slots;
    *log = grown;
    return old;
}

void fw_log_append(struct fw_log *log, struct fw_frame *frame)
{
    assert(!fw_log_is_full(log));
    struct fw_slot *slot = fw_log_slot(log, log->head);
    slot->frame = frame;
    slot->start = log->bytes;
    log->bytes += frame->size;
    log->head++;
}

void fw_log_enter(struct fw_log *log, struct fw_reader *reader, uint64_t sequence)
{
    assert(!reader->in_slot && log->oldest <= sequence && sequence <= log->head);
    struct fw_slot *slot = fw_log_slot(log, sequence);
    reader->sequence = sequence;
    reader->previous = NULL;
    reader->next = slot->readers;
    if (reader->next != NULL)
        reader->next->previous = reader;
    slot->readers = reader;
    reader->in_slot = true;
}

void fw_log_leave(struct fw_log *log, struct fw_reader *reader)
{
    assert(reader->in_slot);
    if (reader->previous != NULL)
        reader->previous->next = reader->next;
    else
        fw_log_slot(log, reader->sequence)->readers = reader->next;
    if (reader->next != NULL)
        reader->next->previous = reader->previous;
    reader->previous = reader->next = NULL;
    reader->in_slot = false;
}

uint64_t fw_log_cut(const struct fw_log *log, struct fw_limits limits, size_t incoming)
{
    uint64_t cut = log->oldest;
    if (limits.events != 0 && log->head - cut >= limits.events)
        cut = log->head - limits.events + 1;
    /* Each step leaves the oldest readers behind for good, so over the life of the log this loop costs one step per
     * event. */
    if (limits.bytes != 0)
        while (cut != log->head && fw_log_bytes(log, cut, log->head) + incoming > limits.bytes)
            cut++;
    return cut;
}

static uint64_t oldest_reader(const struct fw_log *log, uint64_t before)
{
    uint64_t sequence = log->oldest;
    while (sequence != before && fw_log_slot(log, sequence)->readers == NULL)
        sequence++;
    return sequence;
}

size_t fw_log_owed(const struct fw_log *log, uint64_t cut)
{
    uint64_t oldest = oldest_reader(log, cut);
    return oldest == cut ? 0 : (size_t)(log->head - oldest);
}

uint64_t fw_log_weight(const struct fw_log *log, uint64_t cut)
{
    uint64_t weight = 0;
    for (uint64_t sequence = oldest_reader(log, cut); sequence != cut; sequence++)
        for (const struct fw_reader *reader = fw_log_slot(log, sequence)->readers; reader != NULL;
             reader = reader->next)
            weight += reader->counted ? reader->weight : 0;
    return weight;
}

uint64_t fw_log_prune(struct fw_log *log, uint64_t cut, struct fw_range *range)
{
    uint64_t oldest = oldest_reader(log, cut), weight = 0;
    assert(range->capacity >= log->head - oldest);
    range->first = oldest;
    range->count = (size_t)(log->head - oldest);
    for (size_t i = 0; i < range->count; i++) {
        range->frames[i] = fw_log_slot(log, oldest + i)->frame;
        fw_frame_ref(range->frames[i]);
    }
    for (uint64_t sequence = oldest; sequence != cut; sequence++) {
        struct fw_reader *reader;
        while ((reader = fw_log_slot(log, sequence)->readers) != NULL) {
            fw_log_leave(log, reader);
            reader->range = range;
            range->references++;
            if (reader->end > log->head)
                reader->end = log->head;
            weight += reader->counted ? reader->weight : 0;
            reader->counted = false;
        }
    }
    return weight;
}

uint64_t fw_log_stop(const struct fw_log *log, uint64_t from, uint64_t to, size_t max_events, size_t max_bytes)
{
    assert(log->tail <= from && from < to && to <= log->head);
    if (to - from > max_events)
        to = from + max_events;
    if (fw_log_bytes(log, from, to) <= max_bytes)
        return to;
    uint64_t fits = from + 1, exceeds = to; /* [from, fits) is taken, [from, exceeds) is too much */
    while (exceeds - fits > 1) {
        uint64_t middle = fits + (exceeds - fits) / 2;
        if (fw_log_bytes(log, from, middle) <= max_bytes)
            fits = middle;
        else
            exceeds = middle;
    }
    return fits;
}

static bool nobody_needs_oldest(const struct fw_log *log)
{
    return log->oldest != log->head && fw_log_slot(log, log->oldest)->readers == NULL;
}

static bool tail_is_past(const struct fw_log *log, struct fw_history history)
{
    return log->tail != log->oldest &&
           (log->head - log->tail > history.events ||
            (history.bytes != 0 && fw_log_bytes(log, log->tail, log->head) > history.bytes));
}

struct fw_frame *fw_log_trim(struct fw_log *log, struct fw_history history, size_t most, bool *more)
{
    struct fw_frame *chain = NULL;
    for (size_t steps = 0; nobody_needs_oldest(log) && steps < most; steps++)
        log->oldest++;
    for (size_t steps = 0; tail_is_past(log, history) && steps < most; steps++) {
        struct fw_slot *slot = fw_log_slot(log, log->tail);
        slot->frame->next_free = chain;
        chain = slot->frame;
        slot->frame = NULL;
        log->tail++;
    }
    *more = nobody_needs_oldest(log) || tail_is_past(log, history);
    return chain;
}

void fw_log_free_frames(struct fw_frame *chain)
{
    while (chain != NULL) {
        struct fw_frame *next = chain->next_free;
        fw_frame_unref(chain);
        chain = next;
    }
}
