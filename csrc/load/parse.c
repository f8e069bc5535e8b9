#include "load/parse.h"

#include "core/status.h"

#include <string.h>

#define BOM_DONE 4

static const char *find(const char *at, const char *end, int byte)
{
    const char *found = at == end ? NULL : memchr(at, byte, (size_t)(end - at));
    return found != NULL ? found : end;
}

/* ---- fields ---- */

static void field_clear(struct fw_field *field)
{
    fw_buffer_clear(&field->own);
    field->text = (struct fw_text){NULL, 0};
}

/* Lets the field own what it points at. */
static int field_keep(struct fw_field *field)
{
    if (field->text.at == NULL || field->text.at == field->own.at)
        return FW_OK;
    if (field->text.size == 0) {
        field->text.at = ""; /* present, without memory */
        field->own.size = 0;
        return FW_OK;
    }
    field->own.size = 0;
    int status = fw_buffer_append(&field->own, field->text.at, field->text.size);
    if (status == FW_OK)
        field->text = (struct fw_text){field->own.at, field->own.size};
    return status;
}

static int field_set(struct fw_field *field, struct fw_text value, bool is_input)
{
    field->own.size = 0;
    field->text = value;
    return is_input ? FW_OK : field_keep(field);
}

/* Adds a line of data. The line feed of the standard is in front of all lines but the first, instead of behind each. */
static int add_data(struct fw_parse *parse, struct fw_text value, bool is_input)
{
    struct fw_field *data = &parse->data;
    if (!parse->has_data) {
        parse->has_data = true;
        return field_set(data, value, is_input);
    }
    int status = field_keep(data);
    if (status == FW_OK)
        status = fw_buffer_append(&data->own, "\n", 1);
    if (status == FW_OK)
        status = fw_buffer_append(&data->own, value.at, value.size);
    data->text = (struct fw_text){data->own.at, data->own.size};
    return status;
}

static int set_id(struct fw_parse *parse, struct fw_text value, bool is_input, const struct fw_parse_sink *sink)
{
    if (find(value.at, value.at + value.size, '\0') != value.at + value.size) {
        sink->fault(sink->context, FW_FAULT_ID);
        return FW_OK;
    }
    parse->has_id = true;
    return field_set(&parse->id, value, is_input);
}

static void set_retry(struct fw_parse *parse, struct fw_text value, const struct fw_parse_sink *sink)
{
    int64_t retry = 0;
    bool is_number = value.size != 0;
    for (size_t i = 0; i < value.size; i++) {
        is_number = is_number && value.at[i] >= '0' && value.at[i] <= '9';
        if (is_number && (__builtin_mul_overflow(retry, 10, &retry) ||
                          __builtin_add_overflow(retry, (int64_t)(value.at[i] - '0'), &retry)))
            retry = INT64_MAX / 10 * 10; /* stays so however many digits follow */
    }
    if (is_number) {
        parse->retry = retry;
        parse->has_retry = true;
    } else {
        sink->fault(sink->context, FW_FAULT_RETRY);
    }
}

/* ---- lines ---- */

/* The end of a block. Without data nothing is dispatched, but the id counts. */
static void end_block(struct fw_parse *parse, const struct fw_parse_sink *sink)
{
    if (parse->has_id) {
        struct fw_field before = parse->last_id;
        parse->last_id = parse->id;
        parse->id = before; /* for its memory */
        parse->id.text = (struct fw_text){NULL, 0};
        parse->has_id = false;
    }
    if (parse->has_data) {
        struct fw_parsed event = {parse->type.text, parse->data.text, parse->last_id.text};
        sink->event(sink->context, &event);
        field_clear(&parse->data);
    }
    field_clear(&parse->type);
    parse->has_data = parse->in_block = false;
}

/* Returns whether `line` is a field of this name, and its value without one leading space. */
static bool is_field(struct fw_text line, const char *name, size_t size, struct fw_text *value)
{
    if (line.size < size || memcmp(line.at, name, size) != 0)
        return false;
    *value = (struct fw_text){line.at + size, 0};
    if (line.size == size)
        return true; /* no colon: an empty value */
    if (line.at[size] != ':')
        return false;
    size_t skip = size + 1 + (line.size > size + 1 && line.at[size + 1] == ' ');
    *value = (struct fw_text){line.at + skip, line.size - skip};
    return true;
}

#define IS_FIELD(line, literal, value) is_field(line, literal, sizeof(literal) - 1, value)

static int take_line(struct fw_parse *parse, struct fw_text line, bool is_input, const struct fw_parse_sink *sink)
{
    struct fw_text value;
    if (line.size == 0) {
        end_block(parse, sink);
        return FW_OK;
    }
    if (line.at[0] == ':')
        return FW_OK;
    parse->in_block = true;
    if (IS_FIELD(line, "data", &value))
        return add_data(parse, value, is_input);
    if (IS_FIELD(line, "event", &value))
        return field_set(&parse->type, value, is_input);
    if (IS_FIELD(line, "id", &value))
        return set_id(parse, value, is_input, sink);
    if (IS_FIELD(line, "retry", &value))
        set_retry(parse, value, sink);
    else
        sink->fault(sink->context, FW_FAULT_FIELD);
    return FW_OK;
}

/* Completes the line whose head was kept. */
static int take_kept_line(struct fw_parse *parse, const char *at, const char *stop, const struct fw_parse_sink *sink)
{
    int status = fw_buffer_append(&parse->line, at, (size_t)(stop - at));
    if (status == FW_OK)
        status = take_line(parse, (struct fw_text){parse->line.at, parse->line.size}, false, sink);
    fw_buffer_clear(&parse->line);
    return status;
}

/* Drops one byte order mark at the very start, in however many pieces it comes. Returns where the text goes on. */
static const char *skip_bom(struct fw_parse *parse, const char *at, const char *end, int *status)
{
    static const char bom[] = "\xef\xbb\xbf";
    while (parse->bom < 3 && at != end && *at == bom[parse->bom]) {
        parse->bom++;
        at++;
    }
    if (parse->bom == 3)
        parse->bom = BOM_DONE;
    else if (parse->bom < 3 && at != end) { /* none: what looked like it begins the first line */
        *status = fw_buffer_append(&parse->line, bom, parse->bom);
        parse->bom = BOM_DONE;
    }
    return at;
}

static int keep_fields(struct fw_parse *parse)
{
    struct fw_field *fields[] = {&parse->type, &parse->data, &parse->id, &parse->last_id};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int status = field_keep(fields[i]);
        if (status != FW_OK)
            return status;
    }
    return FW_OK;
}

int fw_parse_feed(struct fw_parse *parse, const char *bytes, size_t size, const struct fw_parse_sink *sink)
{
    const char *at = bytes, *end = bytes + size;
    int status = FW_OK;
    for (size_t malformed = fw_utf8_feed(&parse->utf8, bytes, size); malformed != 0; malformed--)
        sink->fault(sink->context, FW_FAULT_UTF8);
    if (parse->bom != BOM_DONE)
        at = skip_bom(parse, at, end, &status);
    const char *cr = find(at, end, '\r'); /* the next one: each byte is searched once for each terminator */
    while (status == FW_OK && at != end) {
        if (parse->after_cr) {
            parse->after_cr = false;
            if (*at == '\n') {
                at++;
                continue;
            }
        }
        const char *stop = find(at, cr, '\n'); /* the first LF before the next CR, else that CR, else the end */
        if (stop == end) {
            status = fw_buffer_append(&parse->line, at, (size_t)(end - at));
            break;
        }
        if (stop == cr) {
            parse->after_cr = true;
            cr = find(stop + 1, end, '\r');
        }
        if (parse->line.size != 0)
            status = take_kept_line(parse, at, stop, sink);
        else
            status = take_line(parse, (struct fw_text){at, (size_t)(stop - at)}, true, sink);
        at = stop + 1;
    }
    /* On an error too: nothing may point into an input that is gone. */
    int kept = keep_fields(parse);
    return status != FW_OK ? status : kept;
}

bool fw_parse_unfinished(const struct fw_parse *parse)
{
    return parse->in_block || parse->line.size != 0 || (parse->bom != 0 && parse->bom != BOM_DONE);
}

void fw_parse_restart(struct fw_parse *parse)
{
    fw_buffer_clear(&parse->line);
    field_clear(&parse->type);
    field_clear(&parse->data);
    field_clear(&parse->id);
    parse->utf8 = (struct fw_utf8){0};
    parse->bom = 0;
    parse->has_id = parse->has_data = parse->in_block = parse->after_cr = false;
}

void fw_parse_free(struct fw_parse *parse)
{
    fw_buffer_free(&parse->line);
    fw_buffer_free(&parse->type.own);
    fw_buffer_free(&parse->data.own);
    fw_buffer_free(&parse->id.own);
    fw_buffer_free(&parse->last_id.own);
    *parse = (struct fw_parse){0};
}
