/* Event ids: where an event stands in the log of one hub, "<epoch>-<position>", digits in base 32.
 *
 *   mzxw6ytboi2ds-aaaaaaaaaaabc       27 bytes of [a-z2-7-], safe in every header
 *   epoch         position
 *
 * The epoch is random and new for each hub, so an id of another process, or of this one before a restart, never seems to
 * fit. The position counts the events up to and including this one; 0 is in front of the first. */
#ifndef FW_CORE_ID_H
#define FW_CORE_ID_H

#include "core/wire.h"

#include <stdbool.h>

#define FW_EPOCH_DIGITS 13        /* of 64 random bits */
#define FW_POSITION_DIGITS 13     /* of 64 bits */
#define FW_POSITION_DIGITS_MAX 26 /* in ids that are well-formed, but another hub's */
#define FW_ID_SIZE (FW_EPOCH_DIGITS + 1 + FW_POSITION_DIGITS)

struct fw_id {
    char epoch[FW_EPOCH_DIGITS];
    bool is_wide; /* the position has not FW_POSITION_DIGITS digits: it is another hub's, and not read */
    uint64_t position;
};

/* Draws an epoch. Returns FW_OK, or FW_ERANDOM if the system gives no random bytes. */
int fw_id_draw(char epoch[FW_EPOCH_DIGITS]);

/* Writes FW_ID_SIZE bytes at `to`. */
void fw_id_write(char *to, const char epoch[FW_EPOCH_DIGITS], uint64_t position);

/* Reads an id from a stranger: any bytes, in time bounded by FW_ID_SIZE and the widest position. Returns FW_OK or
 * FW_EID. */
int fw_id_parse(struct fw_text text, struct fw_id *id);

#endif
