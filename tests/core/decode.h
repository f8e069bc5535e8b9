/* A browser's view of what fw_wire_write wrote: reads the bytes as WHATWG HTML 9.2.6 says, sharing nothing with
 * wire.c, and checks that they are exactly one event and hold exactly the fields that were passed. */
#ifndef DECODE_H
#define DECODE_H

#include "check.h"
#include "core/wire.h"

#include <stdbool.h>

/* A text of which the wire must give the lines one after the other. */
struct expected {
    const char *at;
    const char *end;
    bool open; /* another line must come */
};

static inline struct expected expect(struct fw_text text)
{
    return (struct expected){text.at, text.at == NULL ? NULL : text.at + text.size, text.at != NULL};
}

static inline void expect_line(struct expected *text, const char *value, size_t size)
{
    CHECK(text->open && (size_t)(text->end - text->at) >= size);
    CHECK(size == 0 || memcmp(text->at, value, size) == 0);
    text->at += size;
    text->open = text->at != text->end;
    if (!text->open)
        return;
    char terminator = *text->at++;
    CHECK(terminator == '\r' || terminator == '\n');
    if (terminator == '\r' && text->at != text->end && *text->at == '\n')
        text->at++;
}

static inline void expect_whole(struct expected *text, const char *value, size_t size)
{
    CHECK(text->open && (size_t)(text->end - text->at) == size);
    CHECK(size == 0 || memcmp(text->at, value, size) == 0);
    text->open = false;
}

static inline bool is_named(const char *line, const char *colon, const char *name)
{
    size_t size = (size_t)(colon - line);
    return size == strlen(name) && memcmp(line, name, size) == 0;
}

static inline void decode(const struct fw_event *sent, const char *wire, size_t size)
{
    struct expected event = expect(sent->event), data = expect(sent->data), id = expect(sent->id);
    struct expected comment = expect(sent->comment);
    char retry[24];
    int digits = snprintf(retry, sizeof retry, "%lld", (long long)sent->retry);
    bool retry_open = sent->retry != FW_NO_RETRY;

    for (const char *line = wire, *end = wire + size;;) {
        const char *stop = line, *colon = NULL;
        while (stop != end && *stop != '\r' && *stop != '\n') {
            if (*stop == ':' && colon == NULL)
                colon = stop;
            stop++;
        }
        CHECK(stop != end); /* a line that does not end says nothing */
        if (stop == line) {
            CHECK(*stop == '\n' && stop + 1 == end); /* the event is dispatched, and nothing follows */
            break;
        }
        CHECK(colon != NULL);
        const char *value = colon + 1;
        if (value != stop && *value == ' ')
            value++;
        size_t length = (size_t)(stop - value);
        if (colon == line) {
            expect_line(&comment, value, length);
        } else if (is_named(line, colon, "event")) {
            expect_whole(&event, value, length);
        } else if (is_named(line, colon, "id")) {
            expect_whole(&id, value, length);
        } else if (is_named(line, colon, "retry")) {
            CHECK(retry_open && length == (size_t)digits && memcmp(value, retry, length) == 0);
            retry_open = false;
        } else {
            CHECK(is_named(line, colon, "data"));
            expect_line(&data, value, length);
        }
        line = stop + (*stop == '\r' && stop + 1 != end && stop[1] == '\n') + 1;
    }
    CHECK(!event.open && !data.open && !id.open && !comment.open && !retry_open);
}

#endif
