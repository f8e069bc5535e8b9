#define _DEFAULT_SOURCE /* getentropy */

#include "core/id.h"

#include "core/status.h"

#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

static const char digits[32] = "abcdefghijklmnopqrstuvwxyz234567";

static void write_number(char *to, size_t count, uint64_t number)
{
    while (count-- != 0) {
        to[count] = digits[number & 31];
        number >>= 5;
    }
}

/* Returns the value of a digit, or -1. */
static int value_of(char digit)
{
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a';
    return digit >= '2' && digit <= '7' ? digit - '2' + 26 : -1;
}

int fw_id_draw(char epoch[FW_EPOCH_DIGITS])
{
    uint64_t random;
    if (getentropy(&random, sizeof random) != 0)
        return FW_ERANDOM;
    write_number(epoch, FW_EPOCH_DIGITS, random);
    return FW_OK;
}

void fw_id_write(char *to, const char epoch[FW_EPOCH_DIGITS], uint64_t position)
{
    memcpy(to, epoch, FW_EPOCH_DIGITS);
    to[FW_EPOCH_DIGITS] = '-';
    write_number(to + FW_EPOCH_DIGITS + 1, FW_POSITION_DIGITS, position);
}

int fw_id_parse(struct fw_text text, struct fw_id *id)
{
    if (text.size <= FW_EPOCH_DIGITS + 1 || text.size > FW_EPOCH_DIGITS + 1 + FW_POSITION_DIGITS_MAX ||
        text.at[FW_EPOCH_DIGITS] != '-')
        return FW_EID;
    uint64_t position = 0;
    bool fits = true;
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(text.at[i]);
        if (i == FW_EPOCH_DIGITS)
            continue;
        if (value < 0)
            return FW_EID;
        if (i > FW_EPOCH_DIGITS) {
            fits = fits && position >> 59 == 0;
            position = position << 5 | (uint64_t)value;
        }
    }
    memcpy(id->epoch, text.at, FW_EPOCH_DIGITS);
    id->is_wide = text.size != FW_ID_SIZE;
    id->position = fits && !id->is_wide ? position : UINT64_MAX;
    return FW_OK;
}
