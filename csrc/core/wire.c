#include "core/wire.h"

#include "core/status.h"

#include <assert.h>
#include <string.h>

/* Walks the lines of a text. The position of the next CR is remembered, so that each byte is searched once for
 * each terminator however many lines there are. */
struct lines {
    const char *at;
    const char *end;
    const char *next_cr; /* end where there is none */
    int more;
};

static const char *find(const char *at, const char *end, int byte)
{
    const char *found = at == end ? NULL : memchr(at, byte, (size_t)(end - at));
    return found != NULL ? found : end;
}

static struct lines lines_of(struct fw_text text)
{
    const char *end = text.at + text.size;
    return (struct lines){text.at, end, find(text.at, end, '\r'), 1};
}

/* Returns the next line without its terminator. To be called only while `more`; "" has one line, "\n" two. */
static struct fw_text next_line(struct lines *lines)
{
    const char *start = lines->at, *end = lines->end;
    const char *stop = find(start, lines->next_cr, '\n'); /* the first LF before the next CR, else that CR, else end */
    lines->more = stop != end;
    if (lines->more) {
        int is_crlf = *stop == '\r' && stop + 1 != end && stop[1] == '\n';
        lines->at = stop + 1 + is_crlf;
        if (stop == lines->next_cr)
            lines->next_cr = find(lines->at, end, '\r');
    }
    return (struct fw_text){start, (size_t)(stop - start)};
}

static int decimal_digits(int64_t number)
{
    int digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

/* Adds the size of `text` with `prefix` bytes and an LF around each of its lines. Line terminators only shrink. */
static int add_lines(size_t *size, struct fw_text text, size_t prefix)
{
    size_t count = 0, body = 0;
    for (struct lines lines = lines_of(text); lines.more; count++)
        body += next_line(&lines).size;
    size_t around = 0;
    if (__builtin_mul_overflow(count, prefix + 1, &around) || __builtin_add_overflow(body, around, &body) ||
        __builtin_add_overflow(*size, body, size))
        return FW_ESIZE;
    return FW_OK;
}

static char *put(char *to, const char *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static char *put_line(char *to, const char *prefix, size_t prefix_size, struct fw_text line)
{
    to = put(to, prefix, prefix_size);
    if (line.size != 0)
        to = put(to, line.at, line.size);
    *to++ = '\n';
    return to;
}

static char *put_lines(char *to, const char *prefix, size_t prefix_size, struct fw_text text)
{
    for (struct lines lines = lines_of(text); lines.more;)
        to = put_line(to, prefix, prefix_size, next_line(&lines));
    return to;
}

#define PREFIX_SIZE(literal) (sizeof(literal) - 1)
#define PUT_LINE(to, literal, text) put_line(to, literal, PREFIX_SIZE(literal), text)
#define PUT_LINES(to, literal, text) put_lines(to, literal, PREFIX_SIZE(literal), text)

int fw_wire_one_line(struct fw_text name)
{
    const char *end = name.at + name.size;
    return find(name.at, end, '\n') == end && find(name.at, end, '\r') == end && find(name.at, end, '\0') == end;
}

int fw_wire_measure(const struct fw_event *event, size_t *size)
{
    size_t total = 1; /* the empty line */
    if (event->event.at != NULL) {
        if (!fw_wire_one_line(event->event))
            return FW_EEVENT;
        total += PREFIX_SIZE("event: \n") + event->event.size;
    }
    if (event->id.at != NULL) {
        if (!fw_wire_one_line(event->id))
            return FW_EID;
        total += PREFIX_SIZE("id: \n") + event->id.size;
    }
    if (event->retry != FW_NO_RETRY)
        total += PREFIX_SIZE("retry: \n") + (size_t)decimal_digits(event->retry);
    if (event->comment.at != NULL && add_lines(&total, event->comment, PREFIX_SIZE(": ")) != FW_OK)
        return FW_ESIZE;
    if (event->data.at != NULL && add_lines(&total, event->data, PREFIX_SIZE("data: ")) != FW_OK)
        return FW_ESIZE;
    *size = total;
    return FW_OK;
}

size_t fw_wire_id_at(const struct fw_event *event)
{
    assert(event->id.at != NULL && event->comment.at == NULL);
    size_t line = event->event.at != NULL ? PREFIX_SIZE("event: \n") + event->event.size : 0;
    return line + PREFIX_SIZE("id: ");
}

char *fw_wire_write(const struct fw_event *event, char *to)
{
    if (event->comment.at != NULL)
        to = PUT_LINES(to, ": ", event->comment);
    if (event->event.at != NULL)
        to = PUT_LINE(to, "event: ", event->event);
    if (event->id.at != NULL)
        to = PUT_LINE(to, "id: ", event->id);
    if (event->retry != FW_NO_RETRY) {
        assert(event->retry >= 0);
        char digits[20];
        char *first = digits + sizeof digits;
        int64_t rest = event->retry;
        do
            *--first = (char)('0' + rest % 10);
        while ((rest /= 10) != 0);
        to = PUT_LINE(to, "retry: ", ((struct fw_text){first, (size_t)(digits + sizeof digits - first)}));
    }
    if (event->data.at != NULL)
        to = PUT_LINES(to, "data: ", event->data);
    *to++ = '\n';
    return to;
}
