/* Readers that come back: with the id of the last event that they had, and the ids of their places. What hub.h says of
 * threads and of the lock holds here too. */
#ifndef FW_CORE_HUB_RESUME_H
#define FW_CORE_HUB_RESUME_H

#include "core/hub.h"

/* Registers, as fw_hub_join does, a reader that comes back with the id of the last event that it had, `id`, or NULL if
 * what it came with is none. It reads from there, or from the oldest event, until it has caught up; the history may pass
 * it meanwhile, but the limits do not prune it. A closed hub does what fw_hub_join does. Returns how it begins.
 *
 * FW_JOIN_BEHIND (the place is none of those here) and FW_JOIN_UNKNOWN (before the first fw_hub_rebase)
 * are only where positions come from outside. Such a reader counts and can be finished, but it stands aside, and has
 * nothing to read until fw_hub_judge or fw_hub_arrive gives it a place. */
enum fw_join fw_hub_resume(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight, const struct fw_id *id);

/* Judges the id of a reader that is aside again. If its place still is not here, it stays aside; or, unless the place
 * `is_covered` by what else there is, it begins as after any gap. Returns how it begins. */
enum fw_join fw_hub_judge(struct fw_hub *hub, struct fw_reader *reader, const struct fw_id *id, bool is_covered);

/* Lets a reader that is aside (FW_JOIN_BEHIND) go on at the head, and stores the position of that: what is in front of it
 * comes to the client from elsewhere. Returns false, and leaves it aside, where there was a fw_hub_rebase meanwhile: its
 * next read is FW_EEND then, as if the history had passed it; or where it or the hub was told to end. */
bool fw_hub_arrive(struct fw_hub *hub, struct fw_reader *reader, struct fw_position *head);

/* What comes in front of what `reader` would read here is nowhere any more: from now on it reads nothing, and its next read
 * is FW_EEND, as if the history had passed it. */
void fw_hub_strand(struct fw_hub *hub, struct fw_reader *reader);

/* To be called before the first read of a reader that came back: if the history has passed one that fw_hub_resume had to
 * put at the oldest event, it is put there again, but not behind what was the head then. So whoever prepares the start of
 * its stream meanwhile need not hurry. */
void fw_hub_settle(struct fw_hub *hub, struct fw_reader *reader);

/* Writes the id of the event in front of the one that `reader` needs next. Returns its size: FW_ID_SIZE, or that of ids
 * from outside; 0 where it is not known, or not here any more. */
size_t fw_hub_id(struct fw_hub *hub, const struct fw_reader *reader, char to[FW_ID_SIZE_MAX]);

#endif
