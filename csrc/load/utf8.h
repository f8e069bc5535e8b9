/* Whether bytes are UTF-8, as they arrive. Pure. */
#ifndef FW_LOAD_UTF8_H
#define FW_LOAD_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Where the input stands inside a character; all zero is between two. */
struct fw_utf8 {
    uint8_t missing; /* continuation bytes still to come */
    uint8_t low;     /* the next one lies in [low, high]: overlong forms, surrogates and what is beyond U+10FFFF */
    uint8_t high;    /* fall out at the second byte */
};

/* Returns how many malformed sequences came to light in these bytes. The input may be cut anywhere. */
size_t fw_utf8_feed(struct fw_utf8 *state, const char *bytes, size_t size);

#endif
