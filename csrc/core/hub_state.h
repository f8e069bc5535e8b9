/* What is behind `struct fw_hub`, for hub.c, hub_resume.c, place.c, group.c and hub_check.c alone. */
#ifndef FW_CORE_HUB_STATE_H
#define FW_CORE_HUB_STATE_H

#include "core/alloc.h"
#include "core/log.h"

#include <pthread.h>

struct fw_hub {
    atomic_uint_least32_t references;
    pthread_mutex_t mu;
    struct fw_log log;           /* guarded by mu */
    struct fw_limits limits;     /* guarded by mu */
    struct fw_limits group;      /* guarded by mu; how far a group may fall behind, from `limits` */
    struct fw_history history;   /* guarded by mu */
    char epoch[FW_EPOCH_DIGITS]; /* guarded by mu */
    uint8_t digits;              /* of positions; constant while readers are joined, as the one below */
    bool is_told;                /* positions come from outside */
    bool is_known;               /* guarded by mu; the epoch is, and the position of the head */
    struct fw_position position; /* guarded by mu; if is_told: of the event in front of the head */
    struct fw_position base;     /* guarded by mu; if is_told: of that in front of the history (place.h) */
    uint64_t since;              /* guarded by mu; no history reaches back beyond this event */
    uint64_t clients;            /* guarded by mu; the weight of all readers with `counted` */
    uint64_t pruned;             /* guarded by mu; by weight, as the three below */
    uint64_t pruned_by_bytes;    /* guarded by mu */
    uint64_t passed;             /* guarded by mu */
    uint64_t joins[FW_JOINS];    /* guarded by mu */
    uint64_t joined;             /* guarded by mu; readers between join and leave */
    bool closed;                 /* guarded by mu */
};

/* Gives up what no reader needs any more, in critical sections of bounded length. Without the lock. */
void fw_hub_trim(struct fw_hub *hub);

/* The reader is no longer counted. Returns the weight that it had: 0 if it was not, or if closing the hub has uncounted
 * everyone. Under the lock. */
uint64_t fw_hub_uncount_locked(struct fw_hub *hub, struct fw_reader *reader);

static inline void fw_hub_lock(struct fw_hub *hub)
{
    pthread_mutex_lock(&hub->mu);
    fw_alloc_forbid(true);
}

static inline void fw_hub_unlock(struct fw_hub *hub)
{
    fw_alloc_forbid(false);
    pthread_mutex_unlock(&hub->mu);
}

#endif
