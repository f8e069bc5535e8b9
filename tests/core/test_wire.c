/* fw_wire_*: the exact bytes, and not one byte read or written beside the given ones. */
#define _GNU_SOURCE

#include "core/wire.h"

#include "arena.h"
#include "check.h"
#include "core/status.h"
#include "decode.h"

static struct fw_text text(const char *literal)
{
    return (struct fw_text){literal, strlen(literal)};
}

static void check_wire(const struct fw_event *event, const char *expected, size_t expected_size)
{
    size_t size = 0;
    CHECK_EQ(fw_wire_measure(event, &size), FW_OK);
    CHECK_EQ(size, expected_size);
    char *wire = malloc(size);
    CHECK(fw_wire_write(event, wire) == wire + size);
    CHECK(memcmp(wire, expected, size) == 0);
    decode(event, wire, size);
    free(wire);
}

static void every_combination_of_fields(void)
{
    for (unsigned set = 0; set < 32; set++) {
        struct fw_event event = {.retry = set & 8 ? 1500 : FW_NO_RETRY};
        if (set & 1)
            event.comment = text("note\nmore");
        if (set & 2)
            event.event = text("message");
        if (set & 4)
            event.id = text("7");
        if (set & 16)
            event.data = text("{\"a\":1}\n: x");
        char expected[128];
        int size = snprintf(expected, sizeof expected, "%s%s%s%s%s\n", set & 1 ? ": note\n: more\n" : "",
                            set & 2 ? "event: message\n" : "", set & 4 ? "id: 7\n" : "", set & 8 ? "retry: 1500\n" : "",
                            set & 16 ? "data: {\"a\":1}\ndata: : x\n" : "");
        check_wire(&event, expected, (size_t)size);
    }
}

static void empty_texts_are_values(void)
{
    struct fw_event event = {text(""), text(""), text(""), text(""), FW_NO_RETRY};
    const char *expected = ": \nevent: \nid: \ndata: \n\n";
    check_wire(&event, expected, strlen(expected));
}

/* No terminators: VT, FF, FS, NEL, LS, PS. */
#define OTHERS "a\v\f\x1c-\xc2\x85-\xe2\x80\xa8-\xe2\x80\xa9"
#define WHOLE(literal) literal, sizeof literal - 1

static void lines_are_split_as_a_browser_splits(void)
{
    static const struct {
        const char *text;
        size_t size;
        const char *lines; /* '|' stands between them */
    } cases[] = {
        {WHOLE(""), ""},
        {WHOLE("a"), "a"},
        {WHOLE("a\nb"), "a|b"},
        {WHOLE("a\rb"), "a|b"},
        {WHOLE("a\r\nb"), "a|b"},
        {WHOLE("a\n\rb"), "a||b"},
        {WHOLE("\n"), "|"},
        {WHOLE("\r"), "|"},
        {WHOLE("\r\n"), "|"},
        {WHOLE("\n\r"), "||"},
        {WHOLE("\r\r"), "||"},
        {WHOLE("\n\n"), "||"},
        {WHOLE("\r\n\r\n"), "||"},
        {WHOLE("\r\r\n\n"), "|||"},
        {WHOLE("\r\n\n\r\r\n"), "||||"},
        {WHOLE("a\r"), "a|"},
        {WHOLE("a\n"), "a|"},
        {WHOLE("a\r\n"), "a|"},
        {WHOLE("\na\r\nb\rc\n\nd\r"), "|a|b|c||d|"},
        {"a\r\nb", 2, "a|"},   /* the LF is not part of the text */
        {"\r\n\r\n", 3, "||"}, /* nor the last one here */
        {WHOLE(" a\n  b "), " a|  b "},
        {WHOLE("data: x\revent: y\nid: z"), "data: x|event: y|id: z"},
        {WHOLE(OTHERS), OTHERS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int as_comment = 0; as_comment < 2; as_comment++) {
            const char *prefix = as_comment ? ": " : "data: ";
            char expected[256], *to = expected + sprintf(expected, "%s", prefix);
            for (const char *at = cases[i].lines; *at != '\0'; at++)
                to += *at == '|' ? sprintf(to, "\n%s", prefix) : sprintf(to, "%c", *at);
            to += sprintf(to, "\n\n");
            struct fw_event event = {.retry = FW_NO_RETRY};
            *(as_comment ? &event.comment : &event.data) = (struct fw_text){cases[i].text, cases[i].size};
            check_wire(&event, expected, (size_t)(to - expected));
        }
}

static void nul_is_text_in_data_and_comment(void)
{
    struct fw_event event = {.data = {"a\0b\n\0", 5}, .comment = {"\0", 1}, .retry = FW_NO_RETRY};
    static const char expected[] = ": \0\ndata: a\0b\ndata: \0\n\n";
    check_wire(&event, expected, sizeof expected - 1);
}

static void many_lines(void)
{
    enum {
        LINES = 100000
    };
    char *data = malloc(2 * LINES), *expected = malloc(8 * (LINES + 1) + 1), *to = expected;
    for (size_t i = 0; i < LINES; i++) {
        memcpy(data + 2 * i, i % 3 != 0 ? "x\n" : "x\r", 2);
        memcpy(to, "data: x\n", 8);
        to += 8;
    }
    memcpy(to, "data: \n\n", 8);
    struct fw_event event = {.data = {data, 2 * LINES}, .retry = FW_NO_RETRY};
    check_wire(&event, expected, 8 * (LINES + 1));
    free(data);
    free(expected);
}

static void names_with_a_terminator_or_nul_are_refused(void)
{
    for (size_t size = 0; size <= 40; size++)
        for (size_t at = 0; at < (size == 0 ? 1 : size); at++)
            for (int byte = 0; byte < 256; byte++) {
                if (size == 0 && byte != 0)
                    break;
                char *name = malloc(size);
                memset(name, 'n', size);
                if (size != 0)
                    name[at] = (char)byte;
                int is_bad = size != 0 && (byte == '\r' || byte == '\n' || byte == '\0');
                struct fw_text given = {name, size};
                struct fw_event as_event = {.event = given, .retry = FW_NO_RETRY};
                struct fw_event as_id = {.id = given, .retry = FW_NO_RETRY};
                size_t measured = 0;
                CHECK_EQ(fw_wire_one_line(given), !is_bad);
                CHECK_EQ(fw_wire_measure(&as_event, &measured), is_bad ? FW_EEVENT : FW_OK);
                CHECK_EQ(fw_wire_measure(&as_id, &measured), is_bad ? FW_EID : FW_OK);
                free(name);
            }
}

static void retry_in_all_lengths(void)
{
    int64_t values[64], power = 1;
    size_t count = 0;
    for (values[count++] = 0; power <= INT64_MAX / 10; power *= 10) {
        values[count++] = power;
        values[count++] = power * 10 - 1;
    }
    values[count++] = power;
    values[count++] = INT64_MAX - 1;
    values[count++] = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        struct fw_event event = {.retry = values[i]};
        char expected[64];
        int size = snprintf(expected, sizeof expected, "retry: %lld\n\n", (long long)values[i]);
        check_wire(&event, expected, (size_t)size);
    }
}

static size_t random_size(uint64_t *state, size_t most)
{
    static const size_t bounds[] = {3, 9, 40, 40, 40, 300};
    uint64_t kind = random_below(state, 400);
    return random_below(state, (kind == 0 ? most : bounds[kind % 6]) + 1);
}

/* A text that ends at the arena's end or begins at its start, of bytes that matter to a formatter. */
static struct fw_text random_text(uint64_t *state, struct arena arena, int one_line)
{
    static const char letters[] = "\n\n\r\r\n\0: aaaaaaaaz\x0b\x0c\x85\xa8\xe2\x80\xff\t";
    size_t skip = one_line ? 6 : 0, size = random_size(state, arena.size);
    char *at = random_below(state, 2) ? arena.at : arena.at + arena.size - size;
    uint64_t terminators = random_below(state, 4); /* in some texts they are frequent, in some there are none */
    for (size_t i = 0; i < size; i++) {
        size_t from = skip != 0 || terminators == 0 ? 6 : 0;
        if (from == 0 && terminators == 1 && random_below(state, 8) != 0)
            from = 6;
        at[i] = letters[from + random_below(state, sizeof letters - 1 - from)];
    }
    return (struct fw_text){at, size};
}

/* The same bytes as fw_wire_write in the simplest way there is: line ends made equal first, then character by
 * character. */
static size_t naive_lines(char *to, const char *prefix, struct fw_text text)
{
    char *start = to;
    if (text.at == NULL)
        return 0;
    to += sprintf(to, "%s", prefix);
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '\n' && i > 0 && text.at[i - 1] == '\r')
            continue;
        if (text.at[i] == '\n' || text.at[i] == '\r')
            to += sprintf(to, "\n%s", prefix);
        else
            *to++ = text.at[i];
    }
    *to++ = '\n';
    return (size_t)(to - start);
}

static size_t naive_wire(const struct fw_event *event, char *to)
{
    char *start = to;
    to += naive_lines(to, ": ", event->comment);
    to += naive_lines(to, "event: ", event->event);
    to += naive_lines(to, "id: ", event->id);
    if (event->retry >= 0)
        to += sprintf(to, "retry: %lld\n", (long long)event->retry);
    to += naive_lines(to, "data: ", event->data);
    *to++ = '\n';
    return (size_t)(to - start);
}

static uint64_t state;

static void random_texts_between_guard_pages(void)
{
    enum {
        ROUNDS = 300000,
        CANARY = 0x5a
    };
    struct arena inputs[4];
    for (size_t i = 0; i < 4; i++)
        inputs[i] = new_arena(2);
    struct arena output = new_arena(64);
    char *expected = malloc(output.size);
    for (int round = 0; round < ROUNDS; round++) {
        struct fw_event event = {.retry = FW_NO_RETRY};
        uint64_t set = random_below(&state, 32);
        if (set & 1)
            event.event = random_text(&state, inputs[0], 1);
        if (set & 2)
            event.id = random_text(&state, inputs[1], 1);
        if (set & 4)
            event.data = random_text(&state, inputs[2], 0);
        if (set & 8)
            event.comment = random_text(&state, inputs[3], 0);
        if (set & 16)
            event.retry = (int64_t)(random_next(&state) >> (1 + random_below(&state, 63)));

        size_t size = 0, expected_size = naive_wire(&event, expected);
        CHECK_EQ(fw_wire_measure(&event, &size), FW_OK);
        CHECK_EQ(size, expected_size);
        char *wire = output.at + output.size - size; /* a byte too many faults */
        for (int i = 1; i <= 64; i++)
            wire[-i] = CANARY;
        CHECK(fw_wire_write(&event, wire) == wire + size);
        for (int i = 1; i <= 64; i++)
            CHECK_EQ(wire[-i], CANARY);
        CHECK(memcmp(wire, expected, size) == 0);
        decode(&event, wire, size);

        if (round % 8 == 0) { /* and a byte in front of the buffer faults */
            CHECK(fw_wire_write(&event, output.at) == output.at + size);
            CHECK(memcmp(output.at, expected, size) == 0);
        }
    }
    free(expected);
    free_arena(output);
    for (size_t i = 0; i < 4; i++)
        free_arena(inputs[i]);
}

/* Every text of up to six of the bytes that matter: whatever can happen at a boundary happens here. */
static void all_short_texts_between_guard_pages(void)
{
    static const char letters[] = "\r\na:";
    struct arena arena = new_arena(1);
    char expected[128], wire[128];
    for (size_t size = 0, number = 1; size <= 6; size++, number *= 4)
        for (size_t code = 0; code < number; code++)
            for (int at_end = 0; at_end < 2; at_end++) {
                char *at = at_end ? arena.at + arena.size - size : arena.at;
                for (size_t i = 0; i < size; i++)
                    at[i] = letters[code >> (2 * i) & 3];
                struct fw_event event = {.data = {at, size}, .retry = FW_NO_RETRY};
                size_t measured = 0, expected_size = naive_wire(&event, expected);
                CHECK_EQ(fw_wire_measure(&event, &measured), FW_OK);
                CHECK_EQ(measured, expected_size);
                CHECK(fw_wire_write(&event, wire) == wire + measured);
                CHECK(memcmp(wire, expected, measured) == 0);
                decode(&event, wire, measured);
            }
    free_arena(arena);
}

int main(void)
{
    state = SEED();
    RUN(every_combination_of_fields);
    RUN(empty_texts_are_values);
    RUN(lines_are_split_as_a_browser_splits);
    RUN(nul_is_text_in_data_and_comment);
    RUN(many_lines);
    RUN(names_with_a_terminator_or_nul_are_refused);
    RUN(retry_in_all_lengths);
    RUN(all_short_texts_between_guard_pages);
    RUN(random_texts_between_guard_pages);
    return 0;
}
