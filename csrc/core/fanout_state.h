/* What is behind `struct fw_fanout`, for fanout.c and laggard.c alone.
 *
 * Each client is in one list, by its state:
 *
 *   attach ──> due ──> member <──┬── ahead      ahead of the group's position
 *               │        │       │
 *               └────────┴──> lagging           its socket is full: in the epoll
 *   and from each of them to notes, which the owner pops */
#ifndef FW_CORE_FANOUT_STATE_H
#define FW_CORE_FANOUT_STATE_H

#include "core/direct.h"
#include "core/group.h"

#include <stddef.h>

enum fw_direct_state {
    FW_DIRECT_DETACHED,
    FW_DIRECT_MEMBER,
    FW_DIRECT_WAITING, /* due or ahead */
    FW_DIRECT_LAGGING,
    FW_DIRECT_NOTED
};

static inline struct fw_direct *fw_direct_of(struct fw_link *link)
{
    return (struct fw_direct *)((char *)link - offsetof(struct fw_direct, link));
}

struct fw_fanout {
    struct fw_hub *hub; /* owned reference */
    struct fw_group group;
    int epoll; /* -1 in the child of a fork */
    size_t count;
    size_t laggards;

    /* Rings of clients through their links. */
    struct fw_link members; /* those that the running pass has not visited first */
    struct fw_link due;     /* to be served by the next slices */
    struct fw_link ahead;   /* become due when the group has moved */
    struct fw_link lagging;
    struct fw_link notes;

    size_t framings[2];           /* members by `chunked` */
    bool is_running;              /* a pass is */
    bool is_cut;                  /* there was more than fitted into its window */
    bool is_beating;              /* a heartbeat is wanted */
    double sent;                  /* when the last pass began */
    uint8_t stamp;                /* of the pass; between passes all members have it */
    struct fw_window *windows[2]; /* of the running pass, by `chunked`; owned references */

    struct fw_range *owed; /* the last one, for more members that leave; owned reference */
    struct fw_shelf shelf;
    struct fw_batch batch; /* what a read took, as long as it is copied from */
};

#endif
