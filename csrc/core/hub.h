/* The hub: one log behind the one mutex, with its readers and their count. Opaque; counted.
 *
 * Locks. Order: the GIL, then `hub->mu`. Under `hub->mu` there are pointer moves only: nothing is allocated, freed,
 * logged, written to a descriptor or called back (alloc.c asserts the first two in debug builds), and no function
 * returns with it held. So a plain mutex cannot deadlock against itself: Python-level signal handlers, destructors and
 * gc callbacks run only where C calls into Python, and that never happens between lock and unlock; and whoever waits
 * for `mu` while holding the GIL waits for a holder that does not need the GIL to go on.
 *
 * Every function may be called from any thread, with or without the GIL; none blocks for longer than such a critical
 * section. One reader is used by one thread at a time (fw_hub_leave included).
 *
 * Allocation happens before the lock: where a call finds under the lock that the ring must grow or that a range is
 * needed, it unlocks, allocates and looks again. So FW_ENOMEM means that nothing has happened.
 */
#ifndef FW_CORE_HUB_H
#define FW_CORE_HUB_H

#include "core/log.h"

struct fw_hub;

/* The most frames that one read returns: 64 KiB of the smallest events. */
#define FW_BATCH_FRAMES 4096
#define FW_BATCH_BYTES 65536

/* What a read took: the events [first, last), with a reference to each frame for the caller. `count` is 0 where the
 * caller said that it has the bytes of exactly these events already. */
struct fw_batch {
    uint64_t first;
    uint64_t last;
    uint64_t bytes; /* of text of those events */
    size_t count;
    struct fw_frame *frames[FW_BATCH_FRAMES];
};

enum fw_fate {
    FW_FATE_NONE,     /* it does not */
    FW_FATE_PRUNED,   /* more was waiting for it than the limits allow */
    FW_FATE_PASSED,   /* the history passed it while it caught up */
    FW_FATE_FINISHED, /* it alone was told to */
    FW_FATE_CLOSED    /* the hub was */
};

struct fw_published {
    uint64_t sequence; /* of this event */
    uint64_t pruned;   /* clients pruned by it, by weight */
    uint64_t clients;  /* clients that remain */
};

struct fw_hub_counts {
    uint64_t clients;         /* by weight: joined and neither left, pruned, finished nor closed */
    uint64_t total;           /* by weight: all that were ever counted */
    uint64_t pruned;          /* by weight, ever: they had more events, or bytes, waiting than the limit */
    uint64_t pruned_by_bytes; /* those of them that the number of events would have let stay */
    uint64_t passed;          /* by weight, ever: the history passed them while they caught up */
    uint64_t joins[FW_JOINS]; /* by weight, ever: how they began */
    uint64_t head;            /* events published */
    uint64_t text;            /* bytes of their text */
    uint64_t frames;          /* held in the log */
    uint64_t bytes;           /* their text */
    uint64_t lag;             /* events that the reader furthest behind in the log still needs */
    uint64_t history_events;  /* kept for those who come back, and their text */
    uint64_t history_bytes;
    bool closed;
};

/* Returns a hub without limits or history and with one reference in *hub. The last fw_hub_unref frees it; no reader may
 * be joined by then. Returns FW_OK, FW_ENOMEM or FW_ERANDOM. */
int fw_hub_new(struct fw_hub **hub);
void fw_hub_ref(struct fw_hub *hub);
void fw_hub_unref(struct fw_hub *hub);

/* The same with the limits and the history's size of `old`, closed if that is, and with nothing else of it. For the
 * child of a fork. No thread of the parent was inside `old` then: the forking thread had the GIL, and all that call the
 * hub have it. */
int fw_hub_renew(struct fw_hub *old, struct fw_hub **hub);

/* Sets how far readers may fall behind, and what stays for those who come back. FW_EBUSY if a reader is joined: the
 * limits of a live log are fixed. */
int fw_hub_set_limits(struct fw_hub *hub, struct fw_limits limits, struct fw_history history);

/* Lets epoch and positions come from outside, positions of `digits` digits: 13 or 26; or, with 0, has the hub number its
 * events itself, as a new one does. FW_EBUSY if a reader is joined, or an event was published. */
int fw_hub_set_positions(struct fw_hub *hub, size_t digits);

/* Registers `reader` (caller's memory, which must stay until fw_hub_leave) at the head, counting as `weight` clients.
 * A closed hub registers it too, at its end and uncounted. */
void fw_hub_join(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight);

/* Ends the registration, whatever became of the reader meanwhile; the frames that it alone needed are freed. */
void fw_hub_leave(struct fw_hub *hub, struct fw_reader *reader);

/* Writes its id into `frame`, appends it (the hub takes its own reference; a frame is published once, to one hub) and
 * prunes the readers that cannot take it. Constant time in the number of readers that stay. A closed hub accepts and
 * drops it. Returns FW_OK or FW_ENOMEM. */
int fw_hub_publish(struct fw_hub *hub, struct fw_frame *frame, struct fw_published *published);

/* The same with a position from outside; `frame` has room for an id of that width. FW_EORDER if the position is not above
 * that of the event before, or none is known: then nothing has changed. */
int fw_hub_deliver(struct fw_hub *hub, struct fw_frame *frame, struct fw_position position,
                   struct fw_published *published);

/* From here on events are of `epoch`, behind `position`: at first, and where the positions that were are no more the
 * ones that come. `frame`, which carries that id, is published to all readers as an event is; what was history is none
 * any more, so ids of that time are judged anew. Returns FW_OK or FW_ENOMEM. */
int fw_hub_rebase(struct fw_hub *hub, struct fw_frame *frame, const char epoch[FW_EPOCH_DIGITS],
                  struct fw_position position, struct fw_published *published);

/* Reads the next events of `reader`: at most `max_events` (1 to FW_BATCH_FRAMES) and FW_BATCH_BYTES of text, but a
 * larger event alone and whole. The reader then stands behind them. If the read would end at `known_last` (0: none),
 * frames are not taken. Returns FW_OK, FW_EAGAIN or FW_EEND; the caller releases the batch after FW_OK. */
int fw_hub_read(struct fw_hub *hub, struct fw_reader *reader, size_t max_events, uint64_t known_last,
                struct fw_batch *batch);
void fw_batch_release(struct fw_batch *batch);

/* Whether fw_hub_read would return anything but FW_EAGAIN. */
bool fw_hub_ready(struct fw_hub *hub, const struct fw_reader *reader);

/* Whether `reader` has used more than half of what it may fall behind. */
bool fw_hub_endangered(struct fw_hub *hub, const struct fw_reader *reader);

/* Why the stream of `reader` ends, once it has read what it may. */
enum fw_fate fw_hub_fate(struct fw_hub *hub, const struct fw_reader *reader);

/* Ends one reader: it is no longer counted, reads up to the present head, or nothing more if `at_once`, and then gets
 * FW_EEND. Idempotent. Until it leaves it still stands in the log. */
void fw_hub_finish(struct fw_hub *hub, struct fw_reader *reader, bool at_once);

/* Ends every reader in this way and freezes the head. Idempotent, constant time. */
void fw_hub_close(struct fw_hub *hub);

struct fw_hub_counts fw_hub_counts(struct fw_hub *hub);

#endif
