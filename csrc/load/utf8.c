#include "load/utf8.h"

#include <string.h>

/* Returns the first byte that may not be ASCII: 32 bytes a step, for most text is. */
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end)
{
    for (; end - at >= 32; at += 32) {
        uint64_t words[4];
        memcpy(words, at, sizeof words);
        if (((words[0] | words[1] | words[2] | words[3]) & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (at != end && *at < 0x80)
        at++;
    return at;
}

/* Returns 1 if `byte`, not ASCII, cannot begin a character. */
static size_t begin(struct fw_utf8 *state, unsigned char byte)
{
    if (byte < 0xc2 || byte > 0xf4)
        return 1;
    state->missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    state->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    state->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return 0;
}

size_t fw_utf8_feed(struct fw_utf8 *state, const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + size;
    size_t malformed = 0;
    while (at != end) {
        if (state->missing == 0) {
            at = skip_ascii(at, end);
            if (at != end)
                malformed += begin(state, *at++);
        } else if (*at >= state->low && *at <= state->high) {
            state->missing--;
            state->low = 0x80;
            state->high = 0xbf;
            at++;
        } else {
            malformed++; /* this byte begins anew */
            state->missing = 0;
        }
    }
    return malformed;
}
