#include "core/group.h"

#include "core/place.h"
#include "core/status.h"

#include <assert.h>

void fw_group_open(struct fw_hub *hub, struct fw_group *group)
{
    fw_hub_lock(hub);
    *group = (struct fw_group){.sequence = hub->log.head, .next = hub->log.groups};
    hub->log.groups = group;
    fw_hub_unlock(hub);
}

void fw_group_close(struct fw_hub *hub, struct fw_group *group)
{
    fw_hub_lock(hub);
    assert(group->readers == NULL);
    struct fw_group **at = &hub->log.groups;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    fw_hub_unlock(hub);
}

struct fw_group_view fw_group_look(struct fw_hub *hub, const struct fw_group *group)
{
    fw_hub_lock(hub);
    struct fw_group_view view = {hub->log.head, hub->closed, group->is_broken};
    fw_hub_unlock(hub);
    return view;
}

void fw_group_mend(struct fw_hub *hub, struct fw_group *group)
{
    fw_hub_lock(hub);
    group->is_broken = false;
    fw_hub_unlock(hub);
}

int fw_group_peek(struct fw_hub *hub, const struct fw_group *group, struct fw_batch *batch)
{
    const struct fw_log *log = &hub->log;
    batch->count = 0;
    fw_hub_lock(hub);
    bool is_there = group->readers != NULL && group->sequence != log->head;
    if (is_there) {
        batch->first = group->sequence;
        batch->last = fw_log_stop(log, batch->first, log->head, FW_BATCH_FRAMES, FW_BATCH_BYTES);
        batch->bytes = fw_log_bytes(log, batch->first, batch->last);
        batch->count = (size_t)(batch->last - batch->first);
        for (size_t i = 0; i < batch->count; i++) {
            batch->frames[i] = fw_log_slot(log, batch->first + i)->frame;
            fw_frame_ref(batch->frames[i]);
        }
    }
    fw_hub_unlock(hub);
    return is_there ? FW_OK : FW_EAGAIN;
}

bool fw_group_advance(struct fw_hub *hub, struct fw_group *group, uint64_t sequence)
{
    fw_hub_lock(hub);
    bool has_moved = group->readers != NULL;
    if (has_moved)
        group->sequence = sequence;
    fw_hub_unlock(hub);
    if (has_moved)
        fw_hub_trim(hub);
    return has_moved;
}

enum fw_gathered fw_group_gather(struct fw_hub *hub, struct fw_group *group, struct fw_reader *reader, size_t *most)
{
    struct fw_log *log = &hub->log;
    enum fw_gathered gathered = FW_GATHERED_READS;
    *most = FW_BATCH_FRAMES;
    fw_hub_lock(hub);
    if (group->readers == NULL)
        group->sequence = log->head;
    bool is_ending = hub->closed || reader->end != FW_FOREVER || fw_place_has_passed_locked(hub, reader);
    if (!is_ending && (group->is_broken || reader->sequence > group->sequence)) {
        gathered = FW_GATHERED_WAITS;
    } else if (!is_ending && reader->sequence == group->sequence) {
        if (reader->in_slot)
            fw_log_leave(log, reader);
        reader->catches_up = false;
        fw_log_unite(group, reader);
        gathered = FW_GATHERED_JOINS;
    } else if (!is_ending && group->sequence - reader->sequence < *most) {
        *most = (size_t)(group->sequence - reader->sequence);
    }
    fw_hub_unlock(hub);
    return gathered;
}

static bool fits(const struct fw_hub *hub, const struct fw_range *range, uint64_t sequence)
{
    return range != NULL && range->first <= sequence && sequence < range->first + range->count &&
           fw_log_allows(&hub->log, hub->limits, range->first + range->count);
}

/* Returns whether it has been done; if not, *capacity is what a new range needs. */
static bool part_locked(struct fw_hub *hub, struct fw_reader *reader, struct fw_range **range, struct fw_range **made,
                        size_t *capacity, bool *owes)
{
    struct fw_log *log = &hub->log;
    if (reader->group == NULL)
        return true;
    uint64_t sequence = reader->group->sequence;
    if (fw_log_allows(log, hub->limits, sequence)) {
        fw_log_part(reader);
        fw_log_enter(log, reader, sequence);
        return true;
    }
    *capacity = (size_t)(log->head - sequence);
    if (!fits(hub, *range, sequence)) {
        if (*made == NULL || (*made)->capacity < *capacity)
            return false;
        fw_log_fill(log, *made, sequence);
        *range = *made;
        *made = NULL;
    }
    fw_log_part(reader);
    fw_log_enter(log, reader, (*range)->first + (*range)->count);
    *owes = true;
    return true;
}

int fw_group_part(struct fw_hub *hub, struct fw_reader *reader, struct fw_range **range, bool *owes)
{
    struct fw_range *made = NULL;
    size_t capacity = 0;
    bool done = false, is_out_of_memory = false;
    *owes = false;
    while (!done && !is_out_of_memory) {
        fw_hub_lock(hub);
        done = part_locked(hub, reader, range, &made, &capacity, owes);
        fw_hub_unlock(hub);
        if (!done) {
            fw_range_free(made);
            made = fw_range_new(capacity);
            is_out_of_memory = made == NULL;
        }
    }
    fw_range_free(made);
    if (is_out_of_memory) {
        fw_group_cut_off(hub, reader);
        return FW_ENOMEM;
    }
    fw_hub_trim(hub);
    return FW_OK;
}

void fw_group_cut_off(struct fw_hub *hub, struct fw_reader *reader)
{
    fw_hub_lock(hub);
    if (reader->group != NULL) {
        fw_log_part(reader);
        fw_log_enter(&hub->log, reader, hub->log.head);
    }
    fw_hub_uncount_locked(hub, reader);
    reader->end = reader->sequence;
    fw_hub_unlock(hub);
    fw_hub_trim(hub);
}
