#define _GNU_SOURCE /* memmem */
#include "load/http.h"

#include "core/status.h"

#include <string.h>

/* In order of arrival. The chunk states loop: SIZE, (EXTENSION), SIZE_LF, DATA, DATA_CR, DATA_LF, SIZE, ... */
enum state {
    IN_HEAD,
    AT_BODY, /* the head has been reported */
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* at the start of a line, after the last chunk */
    TRAILER_LINE,
    TRAILER_LF,
    LAST_LF,
    PLAIN, /* a body of known length, or one that ends with the connection */
    AT_END,
};

#define CHUNK_DIGITS_MAX 15 /* leading zeros included */

static enum fw_http_step broken(struct fw_http *http, enum fw_fault fault)
{
    http->fault = fault;
    return FW_HTTP_BROKEN;
}

/* ---- the head ---- */

static enum fw_http_step head_done(struct fw_http *http, const char *bytes, size_t size)
{
    bool is_well_formed = fw_head_parse(bytes, size, &http->head);
    fw_buffer_free(&http->kept);
    if (!is_well_formed || http->head.status == 101)
        return broken(http, FW_FAULT_HEAD);
    if (http->head.status < 200)
        return FW_HTTP_MORE; /* interim: the real one follows */
    http->state = AT_BODY;
    return FW_HTTP_HEAD;
}

static enum fw_http_step keep_head(struct fw_http *http, const char **at, const char *end)
{
    if (http->kept.size + (size_t)(end - *at) > FW_HEAD_MAX)
        return broken(http, FW_FAULT_HEAD);
    int status = fw_buffer_append(&http->kept, *at, (size_t)(end - *at));
    *at = end;
    return status == FW_OK ? FW_HTTP_MORE : FW_HTTP_NOMEM;
}

/* Whether there is an LF without a CR in front of it: whoever sends that will never send the end that we wait for. */
static bool has_bare_lf(const char *bytes, size_t size)
{
    const char *lf = memchr(bytes, '\n', size);
    return lf != NULL && (lf == bytes || lf[-1] != '\r');
}

static enum fw_http_step next_head(struct fw_http *http, const char **at, const char *end)
{
    size_t before = http->kept.size, limit = FW_HEAD_MAX - before;
    size_t take = (size_t)(end - *at) < limit ? (size_t)(end - *at) : limit;
    if (before == 0) { /* whole, as a rule */
        const char *start = *at;
        const char *stop = memmem(start, take, "\r\n\r\n", 4);
        if (stop != NULL) {
            *at = stop + 4;
            return head_done(http, start, (size_t)(stop + 4 - start));
        }
        return has_bare_lf(start, take) ? broken(http, FW_FAULT_HEAD) : keep_head(http, at, end);
    }
    int status = fw_buffer_append(&http->kept, *at, take);
    if (status != FW_OK)
        return FW_HTTP_NOMEM;
    size_t from = before >= 3 ? before - 3 : 0;
    const char *stop = memmem(http->kept.at + from, http->kept.size - from, "\r\n\r\n", 4);
    if (stop == NULL) {
        bool is_hopeless = take != (size_t)(end - *at) || has_bare_lf(http->kept.at, http->kept.size);
        *at = end;
        return is_hopeless ? broken(http, FW_FAULT_HEAD) : FW_HTTP_MORE;
    }
    size_t size = (size_t)(stop + 4 - http->kept.at);
    *at += size - before;
    return head_done(http, http->kept.at, size);
}

/* ---- the body ---- */

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void begin_body(struct fw_http *http)
{
    bool has_none = http->head.status == 204 || http->head.status == 304;
    if (http->head.body == FW_BODY_CHUNKED && !has_none) {
        http->state = SIZE;
        return;
    }
    http->left = http->head.body == FW_BODY_LENGTH ? http->head.length : UINT64_MAX;
    http->state = has_none || http->left == 0 ? AT_END : PLAIN;
}

static enum fw_http_step take_body(struct fw_http *http, const char **at, const char *end, struct fw_text *piece)
{
    size_t size = (size_t)(end - *at);
    if (size > http->left)
        size = (size_t)http->left;
    *piece = (struct fw_text){*at, size};
    *at += size;
    if (http->left != UINT64_MAX)
        http->left -= size;
    if (http->left == 0)
        http->state = http->state == DATA ? DATA_CR : AT_END;
    return FW_HTTP_BODY;
}

/* Returns whether `byte` of the line with a chunk's size may stand there. */
static bool size_byte(struct fw_http *http, char byte)
{
    int digit = hex_value(byte);
    if (digit >= 0) {
        http->left = http->left << 4 | (uint64_t)digit;
        return ++http->digits <= CHUNK_DIGITS_MAX;
    }
    http->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return http->digits != 0 && (byte == '\r' || byte == ';');
}

/* Takes one byte of framing. Returns whether it was right. */
static bool framing_byte(struct fw_http *http, char byte)
{
    switch (http->state) {
    case SIZE:
        return size_byte(http, byte);
    case EXTENSION:
        if (byte == '\r')
            http->state = SIZE_LF;
        return byte == '\r' || byte == '\t' || (unsigned char)byte >= ' ';
    case SIZE_LF:
        http->state = http->left != 0 ? DATA : TRAILER;
        http->digits = 0;
        return byte == '\n';
    case DATA_CR:
        http->state = DATA_LF;
        return byte == '\r';
    case DATA_LF:
        http->state = SIZE;
        return byte == '\n';
    case TRAILER:
        http->state = byte == '\r' ? LAST_LF : TRAILER_LINE;
        return byte == '\r' || (unsigned char)byte > ' ';
    case TRAILER_LINE:
        if (byte == '\r')
            http->state = TRAILER_LF;
        return byte == '\r' || byte == '\t' || (unsigned char)byte >= ' ';
    case TRAILER_LF:
        http->state = TRAILER;
        return byte == '\n';
    case LAST_LF:
        http->state = AT_END;
        return byte == '\n';
    default:
        return false;
    }
}

enum fw_http_step fw_http_next(struct fw_http *http, const char **at, const char *end, struct fw_text *piece)
{
    if (http->state == AT_BODY)
        begin_body(http);
    while (http->state != AT_END) {
        if (*at == end)
            return FW_HTTP_MORE;
        if (http->state == IN_HEAD) {
            enum fw_http_step step = next_head(http, at, end);
            if (step != FW_HTTP_MORE)
                return step;
        } else if (http->state == DATA || http->state == PLAIN) {
            return take_body(http, at, end, piece);
        } else if (!framing_byte(http, *(*at)++)) {
            return broken(http, FW_FAULT_CHUNK);
        }
    }
    return FW_HTTP_END;
}

bool fw_http_may_close(const struct fw_http *http)
{
    return http->state == AT_END || (http->state == PLAIN && http->left == UINT64_MAX);
}

void fw_http_reset(struct fw_http *http)
{
    fw_buffer_free(&http->kept);
    *http = (struct fw_http){0};
}
