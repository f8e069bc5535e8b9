#include "core/hub_check.h"

#ifdef FW_DEBUG

#include "core/place.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fw_hub_check: %s (%s:%d)\n", #condition, __FILE__, __LINE__);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Positions from outside grow, from the base to that of the head; or no place could be found by halving. */
static void check_positions(const struct fw_hub *hub)
{
    struct fw_position before = hub->base, here;
    CHECK(hub->since <= hub->log.head);
    if (!hub->is_told || !hub->is_known)
        return;
    for (uint64_t sequence = fw_place_oldest_locked(hub); sequence != hub->log.head; before = here) {
        CHECK(fw_place_in_front_locked(hub, ++sequence, &here));
        CHECK(fw_position_is_above(here, before));
    }
    CHECK(before.high == hub->position.high && before.low == hub->position.low);
}

void fw_hub_check(struct fw_hub *hub)
{
    fw_hub_lock(hub);
    const struct fw_log *log = &hub->log;
    uint64_t placed = 0, counted = 0, bytes = fw_log_slot(log, log->tail)->start;
    CHECK(log->tail <= log->oldest && log->oldest <= log->head);
    CHECK((log->capacity & (log->capacity - 1)) == 0);
    CHECK(log->head - log->tail < log->capacity);
    for (uint64_t sequence = log->tail; sequence - log->tail < log->capacity; sequence++) {
        const struct fw_slot *slot = fw_log_slot(log, sequence);
        CHECK((slot->frame != NULL) == (sequence < log->head));
        CHECK(slot->readers == NULL || (log->oldest <= sequence && sequence <= log->head));
        if (slot->frame != NULL) {
            CHECK(slot->start == bytes);
            CHECK(atomic_load(&slot->frame->references) > 0);
            bytes += slot->frame->size;
        }
        const struct fw_reader *previous = NULL;
        for (const struct fw_reader *reader = slot->readers; reader != NULL; reader = reader->next) {
            CHECK(reader->in_slot && reader->range == NULL && !reader->catches_up && reader->group == NULL);
            CHECK(reader->sequence == sequence && reader->previous == previous && sequence <= reader->end);
            /* The promise that makes pruning exact. */
            CHECK(hub->limits.events == 0 || log->head - sequence <= hub->limits.events);
            CHECK(hub->limits.bytes == 0 || log->head - sequence <= 1 ||
                  fw_log_bytes(log, sequence, log->head) <= hub->limits.bytes);
            placed++;
            counted += reader->counted ? reader->weight : 0;
            previous = reader;
        }
    }
    CHECK(log->head == log->tail || bytes == log->bytes);
    for (const struct fw_group *group = log->groups; group != NULL; group = group->next) {
        const struct fw_reader *previous = NULL;
        uint64_t behind = log->head - group->sequence;
        CHECK(group->sequence <= log->head && (!group->is_broken || group->readers == NULL));
        if (group->readers == NULL)
            continue;
        CHECK(log->tail <= group->sequence);
        CHECK(hub->group.events == 0 || behind <= hub->group.events);
        CHECK(hub->group.bytes == 0 || behind <= 1 ||
              fw_log_bytes(log, group->sequence, log->head) <= hub->group.bytes);
        for (const struct fw_reader *reader = group->readers; reader != NULL; reader = reader->next) {
            CHECK(reader->group == group && !reader->in_slot && reader->range == NULL && !reader->catches_up);
            CHECK(reader->previous == previous && reader->end == FW_FOREVER);
            placed++;
            counted += reader->counted ? reader->weight : 0;
            previous = reader;
        }
    }
    check_positions(hub);
    CHECK(placed <= hub->joined);
    /* Those in no slot or group: pruned, and then uncounted, catching up, or aside. */
    CHECK(hub->closed ? hub->clients == 0 : counted <= hub->clients);
    CHECK(hub->closed || placed != hub->joined || counted == hub->clients);
    fw_hub_unlock(hub);
}

#endif
