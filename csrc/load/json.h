/* Two members of a JSON object, found without parsing the rest of it. Pure. */
#ifndef FW_LOAD_JSON_H
#define FW_LOAD_JSON_H

#include "core/wire.h"

#include <stdbool.h>

/* Looks in the outermost object of `text` for members by name. `names` are JSON strings with their quotes, compared
 * byte by byte; .at == NULL is none. Stores in values[i] what follows the colon, up to the end of the text (at NULL:
 * not there). Stops as soon as it has found all; what is no JSON object has no members. */
void fw_json_find(struct fw_text text, const struct fw_text names[2], struct fw_text values[2]);

/* Each reads a number that `text` begins with, up to `,`, `}`, white space or the end; returns whether there is one. */

/* A whole number from 0 to 2^64 - 1. */
bool fw_json_whole(struct fw_text text, uint64_t *number);

/* A time in s, ms, us or ns since 1970; which of them is told by its magnitude, for times after 1973. As ns. */
bool fw_json_time(struct fw_text text, uint64_t *ns);

#endif
