#define _DEFAULT_SOURCE /* getentropy */

#include "core/id.h"

#include "core/status.h"

#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

static const char digits_of_32[32] = "abcdefghijklmnopqrstuvwxyz234567";

static void write_number(char *to, size_t count, uint64_t number)
{
    while (count-- != 0) {
        to[count] = digits_of_32[number & 31];
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

static bool are_digits(const char *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (value_of(at[i]) < 0)
            return false;
    return true;
}

/* Reads FW_POSITION_DIGITS digits. Returns false if they are more than 64 bits. */
static bool read_number(const char *at, uint64_t *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < FW_POSITION_DIGITS; i++) {
        if (value >> 59 != 0)
            return false;
        value = value << 5 | (uint64_t)value_of(at[i]);
    }
    *number = value;
    return true;
}

int fw_id_draw(char epoch[FW_EPOCH_DIGITS])
{
    uint64_t random;
    if (getentropy(&random, sizeof random) != 0)
        return FW_ERANDOM;
    write_number(epoch, FW_EPOCH_DIGITS, random);
    return FW_OK;
}

void fw_id_write(char *to, const char epoch[FW_EPOCH_DIGITS], struct fw_position position, size_t digits)
{
    memcpy(to, epoch, FW_EPOCH_DIGITS);
    to[FW_EPOCH_DIGITS] = '-';
    to += FW_EPOCH_DIGITS + 1;
    if (digits == FW_POSITION_DIGITS_MAX) {
        write_number(to, FW_POSITION_DIGITS, position.high);
        to += FW_POSITION_DIGITS;
    }
    write_number(to, FW_POSITION_DIGITS, position.low);
}

int fw_position_parse(const char *at, size_t digits, struct fw_position *position)
{
    if (!are_digits(at, digits))
        return FW_EID;
    *position = (struct fw_position){0, 0};
    bool is_wide = digits == FW_POSITION_DIGITS_MAX;
    if ((is_wide && !read_number(at, &position->high)) ||
        !read_number(is_wide ? at + FW_POSITION_DIGITS : at, &position->low))
        *position = (struct fw_position){is_wide ? UINT64_MAX : 0, UINT64_MAX};
    return FW_OK;
}

bool fw_id_is_epoch(struct fw_text text)
{
    return text.size == FW_EPOCH_DIGITS && are_digits(text.at, text.size);
}

int fw_id_parse(struct fw_text text, struct fw_id *id)
{
    if (text.size <= FW_EPOCH_DIGITS + 1 || text.size > FW_ID_SIZE_MAX || text.at[FW_EPOCH_DIGITS] != '-' ||
        !are_digits(text.at, FW_EPOCH_DIGITS))
        return FW_EID;
    const char *at = text.at + FW_EPOCH_DIGITS + 1;
    size_t digits = text.size - FW_EPOCH_DIGITS - 1;
    id->digits = (uint8_t)digits;
    memcpy(id->epoch, text.at, FW_EPOCH_DIGITS);
    if (digits == FW_POSITION_DIGITS || digits == FW_POSITION_DIGITS_MAX)
        return fw_position_parse(at, digits, &id->position);
    id->position = (struct fw_position){UINT64_MAX, UINT64_MAX};
    return are_digits(at, digits) ? FW_OK : FW_EID;
}
