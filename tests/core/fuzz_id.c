/* libFuzzer target: any bytes are an id or none, read without a look beside them; and an id of either width that fits
 * is written back as it was. */
#include "core/id.h"

#include "check.h"
#include "core/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static bool is_digit(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '2' && byte <= '7');
}

/* Whether 13 digits are a number of 64 bits: the first of them has four of its bits. */
static bool fits(const char *number)
{
    return *number >= 'a' && *number <= 'p';
}

/* The grammar, read off id.h. */
static bool is_well_formed(const char *text, size_t size)
{
    if (size <= FW_EPOCH_DIGITS + 1 || size > FW_EPOCH_DIGITS + 1 + FW_POSITION_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (i == FW_EPOCH_DIGITS ? text[i] != '-' : !is_digit(text[i]))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    char *text = malloc(size); /* of its own, so that a byte read beside it is seen */
    if (size != 0)
        memcpy(text, input, size);
    struct fw_id id;
    int status = fw_id_parse((struct fw_text){text, size}, &id);
    CHECK_EQ(status, is_well_formed(text, size) ? FW_OK : FW_EID);
    if (status == FW_OK) {
        const char *position = text + FW_EPOCH_DIGITS + 1;
        CHECK_EQ(id.digits, size - FW_EPOCH_DIGITS - 1);
        bool is_read = size == FW_ID_SIZE || size == FW_ID_SIZE_MAX;
        if (is_read && fits(position) && (size == FW_ID_SIZE || fits(position + FW_POSITION_DIGITS))) {
            char again[FW_ID_SIZE_MAX];
            fw_id_write(again, id.epoch, id.position, id.digits);
            CHECK(memcmp(again, text, size) == 0);
        } else {
            CHECK(id.position.low == UINT64_MAX && id.position.high == (size == FW_ID_SIZE ? 0 : UINT64_MAX));
        }
    }
    free(text);
    return 0;
}
