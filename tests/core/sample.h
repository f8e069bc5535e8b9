/* Frames that tell which event they are: "data: 42......\n\n", of any size from SAMPLE_LEAST on; with a line for the id in
 * front of that, from SAMPLE_LEAST_WITH_ID on. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "check.h"
#include "core/hub.h"
#include "core/hub_check.h"
#include "core/hub_resume.h"
#include "core/status.h"

#include <stdbool.h>

#define SAMPLE_LEAST 28 /* twenty digits */
#define SAMPLE_ID_LINE (sizeof "id: \n" - 1 + FW_ID_SIZE)
#define SAMPLE_LEAST_WITH_ID (SAMPLE_LEAST + SAMPLE_ID_LINE)
#define SAMPLE_MOST (128 * 1024)

/* Formats the event `number` with a text of exactly `size` bytes, or of the least possible size where that is 0. */
static inline int sample_format(uint64_t number, size_t size, bool with_id, struct fw_frame **frame)
{
    static _Thread_local char data[SAMPLE_MOST];
    static _Thread_local size_t filled;
    if (filled == 0)
        memset(data, '.', filled = sizeof data);
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    memcpy(data, digits, length);
    size_t around = strlen("data: \n\n") + (with_id ? SAMPLE_ID_LINE : 0);
    size_t data_size = size != 0 ? size - around : length;
    CHECK(data_size >= length && data_size <= sizeof data);
    struct fw_event event = {.data = {data, data_size}, .retry = FW_NO_RETRY};
    int status = fw_frame_format(&event, with_id ? FW_ID_SIZE : 0, frame);
    memset(data, '.', length);
    return status;
}

static inline struct fw_frame *sample_frame(uint64_t number, size_t size)
{
    struct fw_frame *frame = NULL;
    CHECK_EQ(sample_format(number, size, false, &frame), FW_OK);
    return frame;
}

static inline struct fw_frame *sample_frame_with_id(uint64_t number, size_t size)
{
    struct fw_frame *frame = NULL;
    CHECK_EQ(sample_format(number, size, true, &frame), FW_OK);
    return frame;
}

/* Returns the id in a frame that was published with one. */
static inline struct fw_id sample_id(const struct fw_frame *frame)
{
    struct fw_id id;
    CHECK_EQ(frame->id_at, strlen("id: "));
    CHECK_EQ(fw_id_parse((struct fw_text){fw_frame_text(frame).at + frame->id_at, FW_ID_SIZE}, &id), FW_OK);
    return id;
}

/* Returns the number, having looked at every byte. */
static inline uint64_t sample_number(const struct fw_frame *frame)
{
    struct fw_text text = fw_frame_text(frame);
    const char *at = text.at, *end = text.at + text.size;
    if (frame->id_at != 0) {
        CHECK(text.size > SAMPLE_ID_LINE && memcmp(at, "id: ", 4) == 0 && at[SAMPLE_ID_LINE - 1] == '\n');
        at += SAMPLE_ID_LINE;
    }
    CHECK((size_t)(end - at) >= strlen("data: 0\n\n") && memcmp(at, "data: ", 6) == 0);
    CHECK(memcmp(end - 2, "\n\n", 2) == 0);
    uint64_t number = 0;
    const char *digit = at += 6;
    for (; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    CHECK(at != digit);
    size_t rest = (size_t)(end - 2 - at);
    CHECK(rest == 0 || (*at == '.' && memcmp(at, at + 1, rest - 1) == 0));
    return number;
}

/* A new hub; NULL if there is no memory, where that is expected. */
static inline struct fw_hub *sample_hub(void)
{
    struct fw_hub *hub = NULL;
    int status = fw_hub_new(&hub);
    CHECK(status == FW_OK || (status == FW_ENOMEM && hub == NULL));
    return hub;
}

#endif
