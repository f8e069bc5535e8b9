#include "core/place.h"

#include <string.h>

uint64_t fw_place_oldest_locked(const struct fw_hub *hub)
{
    return hub->log.tail > hub->since ? hub->log.tail : hub->since;
}

/* Of a frame that was published with a position from outside. */
static struct fw_position position_of(const struct fw_hub *hub, const struct fw_frame *frame)
{
    struct fw_position position = {0, 0};
    fw_position_parse(fw_frame_text(frame).at + frame->id_at + FW_EPOCH_DIGITS + 1, hub->digits, &position);
    return position;
}

bool fw_place_in_front_locked(const struct fw_hub *hub, uint64_t sequence, struct fw_position *position)
{
    if (!hub->is_told)
        *position = (struct fw_position){0, sequence};
    else if (!hub->is_known || sequence < fw_place_oldest_locked(hub))
        return false;
    else if (sequence == hub->log.head)
        *position = hub->position;
    else if (sequence == fw_place_oldest_locked(hub))
        *position = hub->base;
    else
        *position = position_of(hub, fw_log_slot(&hub->log, sequence - 1)->frame);
    return true;
}

/* Returns the first event behind `position`, which is not below the base. */
static uint64_t find(const struct fw_hub *hub, struct fw_position position)
{
    uint64_t from = fw_place_oldest_locked(hub), to = hub->log.head;
    if (!hub->is_told)
        return position.low;
    while (from != to) {
        uint64_t middle = from + (to - from + 1) / 2;
        struct fw_position in_front = {0, 0};
        fw_place_in_front_locked(hub, middle, &in_front);
        if (fw_position_is_above(in_front, position))
            to = middle - 1;
        else
            from = middle;
    }
    return from;
}

/* Whether `position` is that of the base or of an event of the history. Between two of them may have been what the server
 * has lost. */
static bool has_place(const struct fw_hub *hub, struct fw_position position)
{
    struct fw_position in_front = {0, 0};
    return !fw_position_is_above(hub->base, position) &&
           fw_place_in_front_locked(hub, find(hub, position), &in_front) && !fw_position_is_above(position, in_front);
}

enum fw_join fw_place_judge_locked(const struct fw_hub *hub, const struct fw_id *id)
{
    if (hub->closed)
        return FW_JOIN_LIVE;
    if (!hub->is_known)
        return FW_JOIN_UNKNOWN;
    if (id == NULL)
        return FW_JOIN_INVALID;
    if (memcmp(id->epoch, hub->epoch, FW_EPOCH_DIGITS) != 0)
        return FW_JOIN_EPOCH;
    if (id->digits != hub->digits)
        return FW_JOIN_INVALID;
    if (hub->is_told) {
        /* No server gives out the highest numbers, which are also those of whoever sent more than 64 bits. */
        if (id->position.high == UINT64_MAX || id->position.low == UINT64_MAX)
            return FW_JOIN_FUTURE;
        return has_place(hub, id->position) ? FW_JOIN_RESUMED : FW_JOIN_BEHIND;
    }
    if (id->position.low > hub->log.head)
        return FW_JOIN_FUTURE;
    return id->position.low < hub->log.tail ? FW_JOIN_EVICTED : FW_JOIN_RESUMED;
}

void fw_place_register_locked(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight, enum fw_join join)
{
    *reader = (struct fw_reader){.end = FW_FOREVER, .weight = weight};
    hub->joined++;
    if (hub->closed)
        return;
    reader->counted = true;
    hub->clients += weight;
    hub->joins[join] += weight;
}

void fw_place_stand_locked(struct fw_hub *hub, struct fw_reader *reader, uint64_t sequence)
{
    reader->sequence = sequence;
    reader->catches_up = sequence != hub->log.head;
    if (!reader->catches_up)
        fw_log_enter(&hub->log, reader, sequence);
}

void fw_place_begin_locked(struct fw_hub *hub, struct fw_reader *reader, enum fw_join join, const struct fw_id *id)
{
    reader->aside = 0;
    if (join == FW_JOIN_LIVE) {
        fw_place_stand_locked(hub, reader, hub->log.head);
    } else if (join == FW_JOIN_RESUMED) {
        fw_place_stand_locked(hub, reader, find(hub, id->position));
    } else if (join == FW_JOIN_BEHIND || join == FW_JOIN_UNKNOWN) {
        reader->aside = (uint8_t)join;
        reader->sequence = hub->log.head;
    } else {
        fw_place_stand_locked(hub, reader, fw_place_oldest_locked(hub));
        reader->latest = hub->log.head;
    }
}

bool fw_place_has_passed_locked(const struct fw_hub *hub, const struct fw_reader *reader)
{
    if (reader->aside != 0)
        return !hub->closed &&
               (reader->aside == FW_JOIN_EVICTED ||
                (reader->aside == FW_JOIN_BEHIND && reader->sequence < hub->since && reader->end == FW_FOREVER));
    return reader->catches_up && reader->sequence < hub->log.tail && reader->sequence != reader->end;
}

struct fw_history fw_place_history_locked(const struct fw_hub *hub)
{
    struct fw_history history = hub->history;
    if (history.events > hub->log.head - hub->since)
        history.events = hub->log.head - hub->since;
    return history;
}

void fw_place_trimmed_locked(struct fw_hub *hub, const struct fw_frame *chain)
{
    /* The first of the chain is the last that went, the one in front of the tail. */
    if (chain != NULL && hub->is_told && hub->log.tail > hub->since)
        hub->base = position_of(hub, chain);
}
