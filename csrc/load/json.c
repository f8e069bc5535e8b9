#include "load/json.h"

#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* Returns what follows the string that begins at `at`, or `end` if it does not end. */
static const char *skip_string(const char *at, const char *end)
{
    for (const char *quote = at + 1; quote < end; quote++) {
        quote = memchr(quote, '"', (size_t)(end - quote));
        if (quote == NULL)
            break;
        const char *before = quote;
        while (before[-1] == '\\') /* stops at the opening quote at the latest */
            before--;
        if ((quote - before) % 2 == 0)
            return quote + 1;
    }
    return end;
}

/* If `name` is one of the names and a colon follows, stores its value. Returns whether it did. */
static bool match(struct fw_text name, const char *end, const struct fw_text names[2], struct fw_text values[2])
{
    for (int i = 0; i < 2; i++) {
        if (values[i].at != NULL || names[i].size != name.size || memcmp(names[i].at, name.at, name.size) != 0)
            continue;
        const char *colon = skip_space(name.at + name.size, end);
        if (colon == end || *colon != ':')
            return false; /* a value that looks like it */
        const char *value = skip_space(colon + 1, end);
        values[i] = (struct fw_text){value, (size_t)(end - value)};
        return true;
    }
    return false;
}

void fw_json_find(struct fw_text text, const struct fw_text names[2], struct fw_text values[2])
{
    const char *end = text.at + text.size, *at = skip_space(text.at, end);
    int wanted = (names[0].at != NULL) + (names[1].at != NULL), depth = 0;
    values[0] = values[1] = (struct fw_text){NULL, 0};
    if (at == end || *at != '{')
        return;
    while (at != end && wanted != 0) {
        switch (*at) {
        case '{':
        case '[':
            depth++;
            at++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return;
            at++;
            break;
        case '"': {
            const char *stop = skip_string(at, end);
            if (depth == 1 && match((struct fw_text){at, (size_t)(stop - at)}, end, names, values))
                wanted--;
            at = stop;
            break;
        }
        default:
            at++;
        }
    }
}

static bool is_end(const char *at, const char *end)
{
    return at == end || *at == ',' || *at == '}' || skip_space(at, at + 1) != at;
}

/* Reads digits; returns the first byte that is none. *number saturates. */
static const char *read_digits(const char *at, const char *end, uint64_t *number)
{
    for (*number = 0; at != end && *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number))
            *number = UINT64_MAX / 10 * 10; /* stays so however many digits follow */
    return at;
}

bool fw_json_whole(struct fw_text text, uint64_t *number)
{
    const char *end = text.at + text.size, *stop = read_digits(text.at, end, number);
    return stop != text.at && is_end(stop, end);
}

/* How many ns the unit of a time has that is `number` units after 1970. */
static uint64_t unit_of(uint64_t number)
{
    return number < UINT64_C(100000000000)         ? 1000000000
           : number < UINT64_C(100000000000000)    ? 1000000
           : number < UINT64_C(100000000000000000) ? 1000
                                                   : 1;
}

/* A number with an exponent, which nobody should write for a time: by the library, slowly. */
static bool odd_time(struct fw_text text, uint64_t *ns)
{
    char copy[40], *stop;
    size_t size = text.size < sizeof copy - 1 ? text.size : sizeof copy - 1;
    memcpy(copy, text.at, size);
    copy[size] = '\0';
    double number = strtod(copy, &stop);
    if (stop == copy || !is_end(stop, copy + size) || !(number >= 0 && number < 1e19))
        return false;
    number *= (double)unit_of((uint64_t)number);
    if (number >= 1e19)
        return false;
    *ns = (uint64_t)number;
    return true;
}

bool fw_json_time(struct fw_text text, uint64_t *ns)
{
    const char *end = text.at + text.size;
    uint64_t whole, fraction = 0;
    const char *stop = read_digits(text.at, end, &whole);
    if (stop == text.at)
        return false;
    uint64_t unit = unit_of(whole), scale = unit;
    if (stop != end && *stop == '.') {
        for (stop++; stop != end && *stop >= '0' && *stop <= '9'; stop++) {
            scale /= 10; /* digits below 1 ns count for nothing */
            fraction += scale * (uint64_t)(*stop - '0');
        }
    }
    if (stop != end && (*stop == 'e' || *stop == 'E'))
        return odd_time(text, ns);
    return is_end(stop, end) && !__builtin_mul_overflow(whole, unit, ns) && !__builtin_add_overflow(*ns, fraction, ns);
}
