/* Event ids: where an event stands, "<epoch>-<position>", digits in base 32.
 *
 *   mzxw6ytboi2ds-aaaaaaaaaaabc                   27 bytes of [a-z2-7-], safe in every header
 *   mzxw6ytboi2ds-aaaaabs5ovk7caaaaaaaaaaaab      40, where a position has two numbers
 *   epoch         position
 *
 * A hub that numbers its events itself draws an epoch at random, so an id of another process, or of this one before a
 * restart, never seems to fit; its positions count the events up to and including this one, and 0 is in front of the
 * first. Where epoch and positions come from outside, they mean the same in every process that reads that stream. */
#ifndef FW_CORE_ID_H
#define FW_CORE_ID_H

#include "core/wire.h"

#include <stdbool.h>

#define FW_EPOCH_DIGITS 13    /* of 64 bits */
#define FW_POSITION_DIGITS 13 /* of 64 bits: of each of the numbers of a position */
#define FW_POSITION_DIGITS_MAX (2 * FW_POSITION_DIGITS)
#define FW_ID_SIZE_OF(digits) (FW_EPOCH_DIGITS + 1 + (digits))
#define FW_ID_SIZE FW_ID_SIZE_OF(FW_POSITION_DIGITS)
#define FW_ID_SIZE_MAX FW_ID_SIZE_OF(FW_POSITION_DIGITS_MAX)

/* Ordered by `high`, then by `low`. One of FW_POSITION_DIGITS has the high number 0. */
struct fw_position {
    uint64_t high;
    uint64_t low;
};

struct fw_id {
    char epoch[FW_EPOCH_DIGITS];
    uint8_t digits; /* of its position; if they are neither 13 nor 26 no hub has written it, and it is not read */
    struct fw_position position;
};

static inline bool fw_position_is_above(struct fw_position one, struct fw_position other)
{
    return one.high != other.high ? one.high > other.high : one.low > other.low;
}

/* Draws an epoch. Returns FW_OK, or FW_ERANDOM if the system gives no random bytes. */
int fw_id_draw(char epoch[FW_EPOCH_DIGITS]);

/* Writes FW_ID_SIZE_OF(digits) bytes at `to`; `digits` is 13 or 26. */
void fw_id_write(char *to, const char epoch[FW_EPOCH_DIGITS], struct fw_position position, size_t digits);

/* Reads an id from a stranger: any bytes, in time bounded by FW_ID_SIZE_MAX. A number beyond 64 bits makes the position
 * the highest there is. Returns FW_OK or FW_EID. */
int fw_id_parse(struct fw_text text, struct fw_id *id);

/* Reads `digits` digits, 13 or 26, in the same way. Returns FW_OK or FW_EID. */
int fw_position_parse(const char *at, size_t digits, struct fw_position *position);

/* Whether `text` is an epoch. */
bool fw_id_is_epoch(struct fw_text text);

#endif
