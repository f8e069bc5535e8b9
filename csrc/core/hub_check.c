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
    uint64_t in_slots = 0, counted = 0, bytes = fw_log_slot(log, log->tail)->start;
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
            CHECK(reader->in_slot && reader->range == NULL && !reader->catches_up);
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
    check_positions(hub);
    CHECK(in_slots <= hub->joined);
    /* Those in no slot: pruned, and then uncounted, or catching up. */
    CHECK(hub->closed ? hub->clients == 0 : counted <= hub->clients);
    CHECK(hub->closed || in_slots != hub->joined || counted == hub->clients);
    fw_hub_unlock(hub);
}

#endif
