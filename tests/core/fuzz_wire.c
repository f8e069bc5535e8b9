/* libFuzzer target: any four texts and any retry make one event with exactly these fields, or are refused. */
#include "core/wire.h"

#include "check.h"
#include "core/status.h"
#include "decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* Cuts the next text off the input, into memory of its own so that a byte read beside it is seen. */
static struct fw_text next_text(const uint8_t **input, size_t *size, bool is_present)
{
    if (!is_present)
        return (struct fw_text){NULL, 0};
    const uint8_t *stop = *size != 0 ? memchr(*input, 0xff, *size) : NULL; /* no byte of UTF-8 */
    size_t length = stop != NULL ? (size_t)(stop - *input) : *size;
    char *text = malloc(length);
    if (length != 0)
        memcpy(text, *input, length);
    *input += length + (stop != NULL);
    *size -= length + (stop != NULL);
    return (struct fw_text){text, length};
}

static bool may_stand_on_one_line(struct fw_text name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.at[i] == '\r' || name.at[i] == '\n' || name.at[i] == '\0')
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0)
        return 0;
    unsigned set = *input++;
    size--;
    struct fw_event event = {.retry = FW_NO_RETRY};
    if (set & 1 && size >= sizeof event.retry) {
        memcpy(&event.retry, input, sizeof event.retry);
        event.retry &= INT64_MAX;
        input += sizeof event.retry;
        size -= sizeof event.retry;
    }
    event.event = next_text(&input, &size, set & 2);
    event.id = next_text(&input, &size, set & 4);
    event.comment = next_text(&input, &size, set & 8);
    event.data = next_text(&input, &size, set & 16);

    size_t wire_size = 0;
    int status = fw_wire_measure(&event, &wire_size);
    if (!may_stand_on_one_line(event.event)) {
        CHECK_EQ(status, FW_EEVENT);
    } else if (!may_stand_on_one_line(event.id)) {
        CHECK_EQ(status, FW_EID);
    } else {
        CHECK_EQ(status, FW_OK);
        char *wire = malloc(wire_size);
        CHECK(fw_wire_write(&event, wire) == wire + wire_size);
        decode(&event, wire, wire_size);
        free(wire);
    }
    free((char *)event.event.at);
    free((char *)event.id.at);
    free((char *)event.comment.at);
    free((char *)event.data.at);
    return 0;
}
