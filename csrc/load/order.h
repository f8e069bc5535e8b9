/* Loss, duplicates and disorder in the sequence numbers of one stream, in constant memory. Pure.
 *
 *            high - 63                        high
 *   missing  [ 0 0 0 ... 0 1 1 0 0 0 0 0 0 0 0 0 ]       bit i: high - i was passed over and has not come yet
 *
 * A number that comes late, but within the window, was not lost: it came out of order. What leaves the window missing
 * stays lost.
 */
#ifndef FW_LOAD_ORDER_H
#define FW_LOAD_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/* All zero is a stream of which no number has come. */
struct fw_order {
    uint64_t first;
    uint64_t high;
    uint64_t missing;
    bool has_begun;
    bool is_new_run; /* the next number may be lower: nothing was promised across this reconnect */
    bool has_lost;   /* some number left the window missing, so an old one may be late, not doubled */
};

struct fw_disorder {
    uint64_t lost; /* passed over; one that comes late is taken off again */
    uint64_t duplicates;
    uint64_t late;
};

/* Takes the next number and adds to the counts. */
void fw_order_take(struct fw_order *order, uint64_t number, struct fw_disorder *counts);

/* To be called for a reconnect. With a last id the server owes the events after it, so numbers go on where they stood.
 * Without one a gap is still a loss, but lower numbers are those of a server that has begun anew. */
void fw_order_reconnect(struct fw_order *order, bool has_last_id);

#endif
