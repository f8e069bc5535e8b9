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

void fw_range_unref(struct fw_range *range)
{
    if (range != NULL && --range->references == 0)
        fw_range_free(range);
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

static void link_reader(struct fw_reader **first, struct fw_reader *reader)
{
    reader->previous = NULL;
    reader->next = *first;
    if (reader->next != NULL)
        reader->next->previous = reader;
    *first = reader;
}

static void unlink_reader(struct fw_reader **first, struct fw_reader *reader)
{
    if (reader->previous != NULL)
        reader->previous->next = reader->next;
    else
        *first = reader->next;
    if (reader->next != NULL)
        reader->next->previous = reader->previous;
    reader->previous = reader->next = NULL;
}

void fw_log_enter(struct fw_log *log, struct fw_reader *reader, uint64_t sequence)
{
    assert(!reader->in_slot && reader->group == NULL && log->tail <= sequence && sequence <= log->head);
    reader->sequence = sequence;
    link_reader(&fw_log_slot(log, sequence)->readers, reader);
    reader->in_slot = true;
    if (sequence < log->oldest) /* it comes from a group that was behind all slots with readers */
        log->oldest = sequence;
}

void fw_log_leave(struct fw_log *log, struct fw_reader *reader)
{
    assert(reader->in_slot);
    unlink_reader(&fw_log_slot(log, reader->sequence)->readers, reader);
    reader->in_slot = false;
}

void fw_log_unite(struct fw_group *group, struct fw_reader *reader)
{
    assert(!reader->in_slot && reader->group == NULL);
    link_reader(&group->readers, reader);
    reader->group = group;
}

void fw_log_part(struct fw_reader *reader)
{
    assert(reader->group != NULL);
    unlink_reader(&reader->group->readers, reader);
    reader->sequence = reader->group->sequence;
    reader->group = NULL;
}

static uint64_t oldest_group(const struct fw_log *log)
{
    uint64_t oldest = log->head;
    for (const struct fw_group *group = log->groups; group != NULL; group = group->next)
        if (group->readers != NULL && group->sequence < oldest)
            oldest = group->sequence;
    return oldest;
}

uint64_t fw_log_needed(const struct fw_log *log)
{
    uint64_t group = oldest_group(log);
    return group < log->oldest ? group : log->oldest;
}

bool fw_log_allows(const struct fw_log *log, struct fw_limits limits, uint64_t sequence)
{
    uint64_t events = log->head - sequence;
    return (limits.events == 0 || events <= limits.events) &&
           (limits.bytes == 0 || events <= 1 || fw_log_bytes(log, sequence, log->head) <= limits.bytes);
}

static uint64_t cut_from(const struct fw_log *log, uint64_t cut, struct fw_limits limits, size_t incoming)
{
    if (limits.events != 0 && log->head - cut >= limits.events)
        cut = log->head - limits.events + 1;
    /* Each step leaves the oldest readers or groups behind for good, so over the life of the log this loop costs one step
     * per event. */
    if (limits.bytes != 0)
        while (cut != log->head && fw_log_bytes(log, cut, log->head) + incoming > limits.bytes)
            cut++;
    return cut;
}

uint64_t fw_log_cut(const struct fw_log *log, struct fw_limits limits, size_t incoming)
{
    return cut_from(log, log->oldest, limits, incoming);
}

uint64_t fw_log_group_cut(const struct fw_log *log, struct fw_limits limits, size_t incoming)
{
    return cut_from(log, oldest_group(log), limits, incoming);
}

static uint64_t oldest_reader(const struct fw_log *log, uint64_t before)
{
    uint64_t sequence = log->oldest;
    while (sequence != before && fw_log_slot(log, sequence)->readers == NULL)
        sequence++;
    return sequence;
}

/* Whether a prune takes the readers of `group`. */
static bool is_cut(const struct fw_group *group, struct fw_cut cut)
{
    return group->readers != NULL && group->sequence < cut.groups;
}

/* Returns the first event that is owed to somebody in front of `cut`, the head if there is nobody. */
static uint64_t first_owed(const struct fw_log *log, struct fw_cut cut)
{
    uint64_t oldest = oldest_reader(log, cut.readers), first = oldest == cut.readers ? log->head : oldest;
    for (const struct fw_group *group = log->groups; group != NULL; group = group->next)
        if (is_cut(group, cut) && group->sequence < first)
            first = group->sequence;
    return first;
}

size_t fw_log_owed(const struct fw_log *log, struct fw_cut cut)
{
    return (size_t)(log->head - first_owed(log, cut));
}

static uint64_t weight_of(const struct fw_reader *reader)
{
    uint64_t weight = 0;
    for (; reader != NULL; reader = reader->next)
        weight += reader->counted ? reader->weight : 0;
    return weight;
}

uint64_t fw_log_weight(const struct fw_log *log, struct fw_cut cut)
{
    uint64_t weight = 0;
    for (uint64_t sequence = oldest_reader(log, cut.readers); sequence != cut.readers; sequence++)
        weight += weight_of(fw_log_slot(log, sequence)->readers);
    for (const struct fw_group *group = log->groups; group != NULL; group = group->next)
        if (is_cut(group, cut))
            weight += weight_of(group->readers);
    return weight;
}

/* Lets `reader`, which stands nowhere any more, read what `range` holds. Returns the weight that it counted for. */
static uint64_t retire(const struct fw_log *log, struct fw_reader *reader, struct fw_range *range)
{
    uint64_t weight = reader->counted ? reader->weight : 0;
    reader->range = range;
    range->references++;
    if (reader->end > log->head)
        reader->end = log->head;
    reader->counted = false;
    return weight;
}

uint64_t fw_log_prune(struct fw_log *log, struct fw_cut cut, struct fw_range *range)
{
    uint64_t weight = 0;
    struct fw_reader *reader;
    fw_log_fill(log, range, first_owed(log, cut));
    for (uint64_t sequence = oldest_reader(log, cut.readers); sequence != cut.readers; sequence++)
        while ((reader = fw_log_slot(log, sequence)->readers) != NULL) {
            fw_log_leave(log, reader);
            weight += retire(log, reader, range);
        }
    for (struct fw_group *group = log->groups; group != NULL; group = group->next)
        if (is_cut(group, cut)) {
            group->is_broken = true;
            while ((reader = group->readers) != NULL) {
                fw_log_part(reader);
                weight += retire(log, reader, range);
            }
        }
    return weight;
}

void fw_log_fill(const struct fw_log *log, struct fw_range *range, uint64_t from)
{
    assert(range->count == 0 && range->capacity >= log->head - from);
    range->first = from;
    range->count = (size_t)(log->head - from);
    for (size_t i = 0; i < range->count; i++) {
        range->frames[i] = fw_log_slot(log, from + i)->frame;
        fw_frame_ref(range->frames[i]);
    }
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

uint64_t fw_range_stop(const struct fw_range *range, uint64_t from, uint64_t to, size_t max_events, size_t max_bytes,
                       uint64_t *bytes)
{
    uint64_t stop = from;
    *bytes = 0;
    while (stop != to && stop - from != max_events) {
        size_t size = range->frames[stop - range->first]->size;
        if (*bytes + size > max_bytes && stop != from)
            break;
        *bytes += size;
        stop++;
    }
    return stop;
}

static bool nobody_needs_oldest(const struct fw_log *log)
{
    return log->oldest != log->head && fw_log_slot(log, log->oldest)->readers == NULL;
}

static bool tail_is_past(const struct fw_log *log, struct fw_history history)
{
    return log->tail != fw_log_needed(log) &&
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
