#define _GNU_SOURCE /* memmem */
#include "load/head.h"

#include "core/wire.h"

#include <string.h>
#include <strings.h>

#define IS(text, literal) ((text).size == sizeof(literal) - 1 && strncasecmp((text).at, literal, (text).size) == 0)

struct seen {
    bool length;
    bool chunked;
    bool type;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_token(struct fw_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", text.at[i]) != NULL)
            return false;
    return text.size != 0;
}

static struct fw_text trim(struct fw_text text)
{
    while (text.size != 0 && (*text.at == ' ' || *text.at == '\t')) {
        text.at++;
        text.size--;
    }
    while (text.size != 0 && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* "HTTP/1.1 200 OK"; the reason may be empty, and some servers leave the space in front of it out too. */
static bool status_line(struct fw_text line, struct fw_head *head)
{
    const char *at = line.at;
    if (line.size < 12 || memcmp(at, "HTTP/1.", 7) != 0 || !is_digit(at[7]) || at[8] != ' ' || at[9] < '1' ||
        !is_digit(at[9]) || !is_digit(at[10]) || !is_digit(at[11]) || (line.size > 12 && at[12] != ' '))
        return false;
    head->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    return true;
}

static bool content_length(struct fw_text value, struct fw_head *head, struct seen *seen)
{
    uint64_t length = 0;
    if (value.size == 0 || value.size > 18)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.at[i]))
            return false;
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    if (seen->length && length != head->length)
        return false;
    seen->length = true;
    head->length = length;
    return true;
}

static bool header(struct fw_text name, struct fw_text value, struct fw_head *head, struct seen *seen)
{
    if (IS(name, "content-length"))
        return content_length(value, head, seen);
    if (IS(name, "transfer-encoding")) {
        bool is_first = !seen->chunked;
        seen->chunked = true;
        return is_first && IS(value, "chunked");
    }
    if (IS(name, "content-type")) {
        const char *stop = value.size != 0 ? memchr(value.at, ';', value.size) : NULL;
        struct fw_text essence =
            trim((struct fw_text){value.at, stop != NULL ? (size_t)(stop - value.at) : value.size});
        head->is_event_stream = !seen->type && IS(essence, "text/event-stream");
        seen->type = true;
    } else if (IS(name, "content-encoding")) {
        head->is_encoded = head->is_encoded || !IS(value, "identity");
    }
    return true;
}

static bool header_line(struct fw_text line, struct fw_head *head, struct seen *seen)
{
    const char *colon = memchr(line.at, ':', line.size);
    if (colon == NULL)
        return false;
    struct fw_text name = {line.at, (size_t)(colon - line.at)};
    struct fw_text value = {colon + 1, line.size - name.size - 1};
    for (size_t i = 0; i < value.size; i++)
        if ((unsigned char)value.at[i] < ' ' && value.at[i] != '\t')
            return false;
    return is_token(name) && header(name, trim(value), head, seen);
}

bool fw_head_parse(const char *bytes, size_t size, struct fw_head *head)
{
    const char *at = bytes, *end = bytes + size;
    struct seen seen = {false, false, false};
    *head = (struct fw_head){0};
    for (bool is_first = true;; is_first = false) {
        const char *stop = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (stop == NULL)
            return false;
        struct fw_text line = {at, (size_t)(stop - at)};
        at = stop + 2;
        if (line.size == 0 && !is_first)
            break;
        if (line.size == 0 || memchr(line.at, '\n', line.size) != NULL)
            return false;
        if (!(is_first ? status_line(line, head) : header_line(line, head, &seen)))
            return false;
    }
    head->body = seen.chunked ? FW_BODY_CHUNKED : seen.length ? FW_BODY_LENGTH : FW_BODY_CLOSE;
    return at == end && !(seen.chunked && seen.length);
}
