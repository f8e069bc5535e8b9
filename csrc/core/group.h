/* The group of a fan-out: the readers that have been sent the same, behind one position in the log.
 *
 *   slots         [ 97 ][ 98 ][ 99 ][100 ][101 ][102 ][(103)]
 *   group          N readers need 97 next                         one `sequence` for all of them
 *   window         97 .. 99                                       what they are sent next; then `sequence` is 100
 *
 * Its members stand in no slot, so moving on costs the same however many they are. A reader joins where it stands exactly
 * at the group's sequence. One that leaves is an ordinary live reader again, if it may be so far behind; else it becomes
 * one at a later event, and what lies between is a range.
 *
 * The group has limits of its own (hub.c). A publish that would exceed them prunes all members and breaks the group, which
 * takes nobody in until it is mended.
 *
 * A group and its readers are used by one thread at a time; publishers run beside it. None of these functions blocks for
 * longer than the hub's critical sections. */
#ifndef FW_CORE_GROUP_H
#define FW_CORE_GROUP_H

#include "core/hub.h"

/* Enters `group` (the caller's memory, which must stay until fw_group_close) at the head. */
void fw_group_open(struct fw_hub *hub, struct fw_group *group);

/* Nobody may be in it. */
void fw_group_close(struct fw_hub *hub, struct fw_group *group);

struct fw_group_view {
    uint64_t head; /* of the hub */
    bool is_closed;
    bool is_broken; /* the group is */
};

struct fw_group_view fw_group_look(struct fw_hub *hub, const struct fw_group *group);

/* After this the group takes readers in again. */
void fw_group_mend(struct fw_hub *hub, struct fw_group *group);

/* Writes the window into *batch: the events from the group's sequence on, as fw_hub_read would, but the group does not
 * move. Returns FW_OK (the caller releases the batch) or FW_EAGAIN: there is none, or nobody to need it. */
int fw_group_peek(struct fw_hub *hub, const struct fw_group *group, struct fw_batch *batch);

/* Moves the group on to `sequence`. Returns false where nothing has happened since it has been broken meanwhile. */
bool fw_group_advance(struct fw_hub *hub, struct fw_group *group, uint64_t sequence);

/* What a reader does that has been sent everything in front of it. */
enum fw_gathered {
    FW_GATHERED_JOINS, /* it is a member now */
    FW_GATHERED_WAITS, /* it is ahead of the group, or the group is broken */
    FW_GATHERED_READS /* by itself, at most *most events, which do not go beyond the group's sequence; or it is ending */
};

/* A group without members goes to the head first. */
enum fw_gathered fw_group_gather(struct fw_hub *hub, struct fw_group *group, struct fw_reader *reader, size_t *most);

/* Takes `reader` out of its group, unless it has been pruned out of it. It stands at the group's sequence then; or, if
 * *owes is set, behind what *range holds, which the caller has to send before. `*range` is the one that was used last, or
 * NULL; if it does not fit, *range becomes a new one, without references, and the caller still owns the old one. Returns
 * FW_OK, or FW_ENOMEM: then the reader has been cut off. */
int fw_group_part(struct fw_hub *hub, struct fw_reader *reader, struct fw_range **range, bool *owes);

/* Ends `reader` where it stands: something in front of it is lost, and a stream has no gaps. */
void fw_group_cut_off(struct fw_hub *hub, struct fw_reader *reader);

#endif
