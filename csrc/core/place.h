/* Places in the log: where a reader begins, the positions in front of events, and what history there is. For those
 * that see hub_state.h: all of it under the lock, pointer moves only.
 *
 *                 since: where the epoch of now began        head
 *                   |                                         |
 *  events        .. | [ 17 ][ 23 ][ 24 ][ 31 ] ... [ 58 ][ 60 ]       positions from outside grow, but not by one
 *                   ^ base: the position 12, in front of the history   ^ position: 60
 *
 * The history begins at `since` or at the tail, whichever is higher. A frame has its position in its bytes, as digits of
 * its id; that of the event in front of the history is gone with its frame, so it is kept in `base`. */
#ifndef FW_CORE_PLACE_H
#define FW_CORE_PLACE_H

#include "core/hub_state.h"

/* Registers `reader`, which stands nowhere yet; it counts unless the hub is closed. */
void fw_place_register_locked(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight, enum fw_join join);

/* How a reader begins that comes with `id`, or NULL if what it came with is none. Changes nothing. */
enum fw_join fw_place_judge_locked(const struct fw_hub *hub, const struct fw_id *id);

/* Lets `reader`, which stands nowhere, begin so: in the history, at the head, or aside. */
void fw_place_begin_locked(struct fw_hub *hub, struct fw_reader *reader, enum fw_join join, const struct fw_id *id);

/* Lets `reader`, which is in no slot, go on at `sequence`: in the history, or at the head like anyone. */
void fw_place_stand_locked(struct fw_hub *hub, struct fw_reader *reader, uint64_t sequence);

/* Whether what `reader` needs next is gone: the history has passed it, or it is aside and will find nothing more. */
bool fw_place_has_passed_locked(const struct fw_hub *hub, const struct fw_reader *reader);

/* Returns the first event of the history, or the head. */
uint64_t fw_place_oldest_locked(const struct fw_hub *hub);

/* Stores the position of the event in front of `sequence`. Returns false where that is not known, or not here any more. */
bool fw_place_in_front_locked(const struct fw_hub *hub, uint64_t sequence, struct fw_position *position);

/* The size that the history may have now: none of it is in front of `since`. */
struct fw_history fw_place_history_locked(const struct fw_hub *hub);

/* To be called with what fw_log_trim gave up. */
void fw_place_trimmed_locked(struct fw_hub *hub, const struct fw_frame *chain);

#endif
