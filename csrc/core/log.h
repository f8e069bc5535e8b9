/* The log: every frame of one Broadcaster in order, and every reader as a cursor in it. No locks, no allocation.
 *
 *  sequence          tail                                 head
 *                     |                                    |
 *  slots            [ 97 ][ 98 ][ 99 ][100 ][101 ][102 ][ 103 ]      a ring, a power of two, slot = sequence & mask
 *  frame              f97   f98   f99  f100  f101  f102   none yet
 *  readers             A     B     -     -    C,D    -   E,F,...     a reader stands in the slot it needs next
 *
 * - Positions are absolute; they never wrap (2^64 events) and never become pointers, so the ring may grow at any time.
 * - A reader enters at `head`. Publishing walks nobody: the frame goes into slot `head`, and `head` moves on.
 * - Whoever is too far behind stands in the oldest slots, so pruning pops whole slots from the tail. Each reader is
 *   popped once in its life: constant work per event, however many readers there are.
 * - What the popped readers are still owed becomes one `range`, shared by them; nothing else pins those frames.
 * - Freeing: a slot in front of the oldest reader and the oldest group gives up its frame
 *   (fw_log_trim); with no reader behind, and no history, no frame remains.
 * - A group is many readers at one place, which stand in no slot: one position moves for all of them, and has limits of
 *   its own. Publish and trim walk the list of groups, which is as short as that of the event loops.
 * - History: the last events stay although everybody has read them. A reader that catches up in them stands in no slot and
 *   pins nothing; it may find that the tail has passed it.
 *
 * The owner (the hub) calls everything here under its lock, and frees what comes back after unlocking.
 */
#ifndef FW_CORE_LOG_H
#define FW_CORE_LOG_H

#include "core/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_FOREVER UINT64_MAX /* the `end` of a reader that may read whatever comes */

/* How a reader begins. */
enum fw_join {
    FW_JOIN_LIVE,    /* at the head */
    FW_JOIN_RESUMED, /* behind the event that it had last: nothing is missing */
    FW_JOIN_EVICTED, /* that event is too old; it begins with the oldest that there is, as in all cases below */
    FW_JOIN_EPOCH,   /* the id is of another hub */
    FW_JOIN_FUTURE,  /* the id is of this hub, which has not published so much */
    FW_JOIN_INVALID, /* it is no id */
    FW_JOIN_BEHIND,  /* the id may be good, but its place is not in this log: somebody else has to be asked */
    FW_JOIN_UNKNOWN, /* there is nothing yet to judge it by */
    FW_JOINS
};

/* One client's place. The memory belongs to the caller; the fields belong to log and hub, guarded by the hub's lock
 * (`sequence` moves in the reader's own reads alone, so its owner may look at it between them). */
struct fw_reader {
    uint64_t sequence;          /* the event it needs next */
    uint64_t end;               /* it reads the events in front of this one, then its stream is over */
    struct fw_reader *previous; /* in the list of its slot or group; NULL for the first, which these point at */
    struct fw_reader *next;
    struct fw_group *group; /* that it belongs to; `sequence` is the group's then, and set when it leaves */
    uint64_t latest;        /* after a gap: it may still begin as late as here; else 0 */
    struct fw_range *range; /* owned reference: what it is owed since it was pruned */
    uint32_t weight;        /* how many clients it stands for */
    bool in_slot;
    bool catches_up; /* in the history: in no slot, until it reaches the head */
    bool counted;    /* still part of the hub's client count */
    uint8_t aside;   /* FW_JOIN_BEHIND or _UNKNOWN: it stands nowhere until it is judged; _EVICTED: for good; else 0 */
};

/* Readers that stand at one place and move together. The memory belongs to a fan-out, the fields to log and hub;
 * `sequence` moves in the fan-out's own calls alone. */
struct fw_group {
    uint64_t sequence;         /* the event that all of them need next */
    struct fw_reader *readers; /* without any, the group holds nothing back */
    struct fw_group *next;     /* of the log */
    bool is_broken;            /* it overflowed: all that were in it have been pruned */
};

/* Frames owed to readers that have left the log, or a part of it: the events [first, first + count). Counted by those. */
struct fw_range {
    uint32_t references; /* of pruned readers: guarded by the hub's lock; else by a fan-out, for itself */
    uint64_t first;
    size_t count;
    size_t capacity;
    struct fw_frame *frames[];
};

/* How far a reader may fall behind; 0 means without limit. */
struct fw_limits {
    uint64_t events;
    uint64_t bytes; /* of text; an empty buffer takes one event of any size */
};

/* How much stays for those who come back: the last `events`, but no more of them than have `bytes` of text (0: any). */
struct fw_history {
    uint64_t events;
    uint64_t bytes;
};

struct fw_slot {
    struct fw_frame *frame;    /* owned reference; NULL in slot `head` and outside [tail, head) */
    struct fw_reader *readers; /* who needs this event next */
    uint64_t start;            /* bytes of text published in front of this event */
};

struct fw_log {
    struct fw_slot *slots;
    size_t capacity; /* a power of two, above head - tail */
    uint64_t tail;   /* the oldest event that is still here */
    uint64_t oldest; /* no reader stands in a slot in front of this one; tail <= oldest <= head */
    uint64_t head;   /* the next event to be published */
    uint64_t bytes;  /* of text, of all events ever published */
    struct fw_group *groups;
};

/* A verdict: readers in slots in front of `readers`, and groups in front of `groups`, are pruned. */
struct fw_cut {
    uint64_t readers;
    uint64_t groups;
};

/* Returns slots for fw_log_init and fw_log_grow (`capacity` a power of two), empty, or NULL. For use without the lock;
 * fw_log_free_slots frees them. */
struct fw_slot *fw_log_new_slots(size_t capacity);
void fw_log_free_slots(struct fw_slot *slots, size_t capacity);

/* Likewise a range with room for `capacity` frames, without references or frames. */
struct fw_range *fw_range_new(size_t capacity);

/* Frees a range that nobody refers to, and drops its frames. Without the lock. */
void fw_range_free(struct fw_range *range);

/* Drops a reference of a fan-out's, if there is a range, and frees it with the last. Without the lock. */
void fw_range_unref(struct fw_range *range);

void fw_log_init(struct fw_log *log, struct fw_slot *slots, size_t capacity);

static inline struct fw_slot *fw_log_slot(const struct fw_log *log, uint64_t sequence)
{
    return &log->slots[sequence & (log->capacity - 1)];
}

/* Returns the bytes of text of the events [from, to); both within [tail, head]. */
uint64_t fw_log_bytes(const struct fw_log *log, uint64_t from, uint64_t to);

/* Returns the lowest sequence, `from` or above, from which the events up to the head have at most `bytes` of text. */
uint64_t fw_log_fit(const struct fw_log *log, uint64_t from, uint64_t bytes);

/* Whether the ring must grow before the next append. */
bool fw_log_is_full(const struct fw_log *log);

/* Moves the log into larger `slots`; returns the old ones for the caller to free (their number was the old capacity). */
struct fw_slot *fw_log_grow(struct fw_log *log, struct fw_slot *slots, size_t capacity);

/* Puts `frame` at the head; the log takes over the caller's reference. The log must not be full. */
void fw_log_append(struct fw_log *log, struct fw_frame *frame);

/* Lets `reader` (not in a slot) stand in the slot of `sequence`, which is within [tail, head]. */
void fw_log_enter(struct fw_log *log, struct fw_reader *reader, uint64_t sequence);

/* Takes `reader` out of its slot. */
void fw_log_leave(struct fw_log *log, struct fw_reader *reader);

/* Lets `reader` (not in a slot) stand with those of `group`, and takes it out of its group. */
void fw_log_unite(struct fw_group *group, struct fw_reader *reader);
void fw_log_part(struct fw_reader *reader);

/* Returns the oldest event that a reader in a slot or a group needs, the head if there is none. */
uint64_t fw_log_needed(const struct fw_log *log);

/* Whether a reader that stands at `sequence` is within `limits`. */
bool fw_log_allows(const struct fw_log *log, struct fw_limits limits, uint64_t sequence);

/* The verdict: the lowest sequence at which a reader may stand once an event of `incoming` bytes has been appended.
 * Changes nothing. The result is at most `head`: an empty buffer takes any event. */
uint64_t fw_log_cut(const struct fw_log *log, struct fw_limits limits, size_t incoming);

/* The same for groups and theirs. */
uint64_t fw_log_group_cut(const struct fw_log *log, struct fw_limits limits, size_t incoming);

/* How many frames are owed to the readers in front of `cut`: those from the oldest of them up to `head`; 0 if there is
 * no such reader. Changes nothing. */
size_t fw_log_owed(const struct fw_log *log, struct fw_cut cut);

/* Returns the weight of the readers in front of `cut` that are still counted. Changes nothing. */
uint64_t fw_log_weight(const struct fw_log *log, struct fw_cut cut);

/* The act, to be done before the append: every reader in front of `cut` leaves its slot or group and shares `range` (empty,
 * with room for fw_log_owed frames), from which it reads up to `head`. Returns the weight of those that were still
 * counted, and uncounts them. */
uint64_t fw_log_prune(struct fw_log *log, struct fw_cut cut, struct fw_range *range);

/* Returns where a read that begins at `from` stops: at most `to`, `max_events` events and `max_bytes` of text, but at
 * least one event. tail <= from < to <= head. */
uint64_t fw_log_stop(const struct fw_log *log, uint64_t from, uint64_t to, size_t max_events, size_t max_bytes);

/* The same for a range, whose frames carry no running sum; *bytes is the text of the events it takes. */
uint64_t fw_range_stop(const struct fw_range *range, uint64_t from, uint64_t to, size_t max_events, size_t max_bytes,
                       uint64_t *bytes);

/* Fills `range` (empty, with room for them) with the events [from, head), a reference to each. */
void fw_log_fill(const struct fw_log *log, struct fw_range *range, uint64_t from);

/* Moves `oldest` forward to the oldest reader, and the tail after it as far as `history` lets it, by at most `most` slots
 * each. Returns the frames given up, chained by `next_free`, for fw_log_free_frames after unlocking; *more tells whether
 * to call again. */
struct fw_frame *fw_log_trim(struct fw_log *log, struct fw_history history, size_t most, bool *more);
void fw_log_free_frames(struct fw_frame *chain);

#endif
