/* fw_id_*: what is written is read back, and of what strangers send nothing else is, byte by byte. */
#define _GNU_SOURCE

#include "core/id.h"

#include "arena.h"
#include "check.h"
#include "core/status.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char epoch[] = "mzxw6ytboi2ds";

enum {
    AT_POSITION = FW_EPOCH_DIGITS + 1
};

static int parse(const char *at, size_t size, struct fw_id *id)
{
    return fw_id_parse((struct fw_text){at, size}, id);
}

static void check_round_trip_of(struct fw_position position, size_t digits)
{
    char text[FW_ID_SIZE_MAX + 2], again[FW_ID_SIZE_MAX];
    size_t size = FW_ID_SIZE_OF(digits);
    memset(text, '!', sizeof text);
    fw_id_write(text + 1, epoch, position, digits);
    CHECK(text[0] == '!' && text[size + 1] == '!');
    struct fw_id id;
    CHECK_EQ(parse(text + 1, size, &id), FW_OK);
    CHECK(memcmp(id.epoch, epoch, FW_EPOCH_DIGITS) == 0 && id.digits == digits);
    CHECK(id.position.high == position.high && id.position.low == position.low);
    fw_id_write(again, id.epoch, id.position, digits);
    CHECK(memcmp(again, text + 1, size) == 0);
    struct fw_position alone;
    CHECK_EQ(fw_position_parse(text + 1 + AT_POSITION, digits, &alone), FW_OK);
    CHECK(alone.high == position.high && alone.low == position.low);
}

static void check_round_trip(uint64_t number)
{
    check_round_trip_of((struct fw_position){0, number}, FW_POSITION_DIGITS);
    check_round_trip_of((struct fw_position){number, ~number}, FW_POSITION_DIGITS_MAX);
    check_round_trip_of((struct fw_position){0, number}, FW_POSITION_DIGITS_MAX);
}

static void an_epoch_is_drawn_anew_each_time(void)
{
    enum {
        DRAWS = 2000
    };
    static char drawn[DRAWS][FW_EPOCH_DIGITS];
    uint32_t seen[FW_EPOCH_DIGITS] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        CHECK_EQ(fw_id_draw(drawn[i]), FW_OK);
        for (size_t n = 0; n < i; n++)
            CHECK(memcmp(drawn[i], drawn[n], FW_EPOCH_DIGITS) != 0);
        for (size_t digit = 0; digit < FW_EPOCH_DIGITS; digit++) {
            const char *letter = memchr(alphabet, drawn[i][digit], 32);
            CHECK(letter != NULL);
            seen[digit] |= (uint32_t)1 << (letter - alphabet);
        }
    }
    /* 64 bits are twelve digits and a half: no place is constant, and each letter is somewhere in 2,000 of them. */
    CHECK_EQ(seen[0], 0xffff);
    for (size_t digit = 1; digit < FW_EPOCH_DIGITS; digit++)
        CHECK_EQ(seen[digit], 0xffffffff);
}

static void an_id_looks_like_this(void)
{
    static const struct {
        uint64_t position;
        const char *text;
    } cases[] = {
        {0, "mzxw6ytboi2ds-aaaaaaaaaaaaa"},          {1, "mzxw6ytboi2ds-aaaaaaaaaaaab"},
        {25, "mzxw6ytboi2ds-aaaaaaaaaaaaz"},         {26, "mzxw6ytboi2ds-aaaaaaaaaaaa2"},
        {31, "mzxw6ytboi2ds-aaaaaaaaaaaa7"},         {32, "mzxw6ytboi2ds-aaaaaaaaaaaba"},
        {34, "mzxw6ytboi2ds-aaaaaaaaaaabc"},         {(uint64_t)1 << 60, "mzxw6ytboi2ds-baaaaaaaaaaaa"},
        {UINT64_MAX, "mzxw6ytboi2ds-p777777777777"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[FW_ID_SIZE];
        CHECK_EQ(strlen(cases[i].text), sizeof text);
        fw_id_write(text, epoch, (struct fw_position){0, cases[i].position}, FW_POSITION_DIGITS);
        CHECK(memcmp(text, cases[i].text, sizeof text) == 0);
    }
    char wide[FW_ID_SIZE_MAX];
    fw_id_write(wide, epoch, (struct fw_position){33, UINT64_MAX}, FW_POSITION_DIGITS_MAX);
    CHECK(memcmp(wide, "mzxw6ytboi2ds-aaaaaaaaaaabbp777777777777", sizeof wide) == 0);
}

static void what_is_written_is_read_back(void)
{
    uint64_t state = SEED();
    static const uint64_t edges[] = {0, 1, 31, 32, 33, 1023, 1024, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_round_trip(edges[i]);
    for (int bit = 0; bit < 64; bit++)
        check_round_trip((uint64_t)1 << bit);
    for (int i = 0; i < 100000; i++)
        check_round_trip(random_next(&state) >> random_below(&state, 64));
}

/* Every length, the text in memory of exactly its size: positions of other widths are well-formed, and not read. */
static void only_ids_of_possible_length_are_read(void)
{
    enum {
        LONGEST = AT_POSITION + FW_POSITION_DIGITS_MAX
    };
    CHECK_EQ(LONGEST, 40);
    for (size_t size = 0; size <= 3 * LONGEST; size++) {
        char *text = malloc(size);
        memset(text, 'b', size);
        if (size > FW_EPOCH_DIGITS)
            text[FW_EPOCH_DIGITS] = '-';
        struct fw_id id = {.position = {5, 5}};
        int status = parse(text, size, &id);
        CHECK_EQ(status, size > AT_POSITION && size <= LONGEST ? FW_OK : FW_EID);
        if (status == FW_OK) {
            bool is_read = size == FW_ID_SIZE || size == FW_ID_SIZE_MAX;
            CHECK_EQ(id.digits, size - AT_POSITION);
            CHECK(memcmp(id.epoch, text, FW_EPOCH_DIGITS) == 0);
            CHECK_EQ(id.position.low, is_read ? 0x1084210842108421 : UINT64_MAX);
            CHECK_EQ(id.position.high, size == FW_ID_SIZE ? 0 : is_read ? 0x1084210842108421 : UINT64_MAX);
        }
        free(text);
    }
    struct fw_id id;
    CHECK_EQ(parse(NULL, 0, &id), FW_EID);
}

/* By the first number, and where that is the same by the second. */
static void positions_have_an_order(void)
{
    static const struct fw_position ascending[] = {{0, 0}, {0, 1}, {0, UINT64_MAX}, {1, 0},
                                                   {1, 5}, {2, 1}, {UINT64_MAX, 0}};
    for (size_t i = 0; i < sizeof ascending / sizeof *ascending; i++)
        for (size_t n = 0; n < sizeof ascending / sizeof *ascending; n++)
            CHECK_EQ(fw_position_is_above(ascending[i], ascending[n]), i > n);
}

static void an_epoch_is_thirteen_digits(void)
{
    CHECK(fw_id_is_epoch((struct fw_text){epoch, FW_EPOCH_DIGITS}));
    CHECK(!fw_id_is_epoch((struct fw_text){epoch, FW_EPOCH_DIGITS - 1}));
    CHECK(!fw_id_is_epoch((struct fw_text){"mzxw6ytboi2d-", FW_EPOCH_DIGITS}));
    CHECK(!fw_id_is_epoch((struct fw_text){"mzxw6ytboi2dsa", FW_EPOCH_DIGITS + 1}));
}

/* Also NUL, CR, LF, upper case and everything that is not ASCII. */
static void every_other_byte_is_refused_at_every_place(void)
{
    static const size_t sizes[] = {AT_POSITION + 1, FW_ID_SIZE - 1, FW_ID_SIZE, FW_ID_SIZE + 1,
                                   AT_POSITION + FW_POSITION_DIGITS_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t at = 0; at < sizes[i]; at++)
            for (int byte = 0; byte < 256; byte++) {
                char text[64];
                memset(text, 'c', sizeof text);
                text[FW_EPOCH_DIGITS] = '-';
                text[at] = (char)byte;
                bool is_good = at == FW_EPOCH_DIGITS ? byte == '-' : memchr(alphabet, byte, 32) != NULL;
                struct fw_id id;
                CHECK_EQ(parse(text, sizes[i], &id), is_good ? FW_OK : FW_EID);
            }
}

/* Thirteen digits hold 65 bits. What has one too many was never written here: it is as far ahead as can be. */
static void a_position_beyond_64_bits_is_in_the_future(void)
{
    char text[FW_ID_SIZE];
    for (size_t first = 0; first < 32; first++)
        for (size_t last = 0; last < 32; last++) {
            memset(text, 'a', sizeof text);
            text[FW_EPOCH_DIGITS] = '-';
            text[AT_POSITION] = alphabet[first];
            text[FW_ID_SIZE - 1] = alphabet[last];
            struct fw_id id;
            CHECK_EQ(parse(text, sizeof text, &id), FW_OK);
            CHECK_EQ(id.position.low, first < 16 ? (uint64_t)first << 60 | last : UINT64_MAX);
            CHECK_EQ(id.position.high, 0);

            char wide[FW_ID_SIZE_MAX];
            for (size_t number = 0; number < 2; number++) { /* either of the two may be too much */
                memset(wide, 'a', sizeof wide);
                wide[FW_EPOCH_DIGITS] = '-';
                wide[AT_POSITION + number * FW_POSITION_DIGITS] = alphabet[first];
                wide[AT_POSITION + (number + 1) * FW_POSITION_DIGITS - 1] = alphabet[last];
                CHECK_EQ(parse(wide, sizeof wide, &id), FW_OK);
                uint64_t value = (uint64_t)first << 60 | last;
                CHECK_EQ(id.position.high, first >= 16 ? UINT64_MAX : number == 0 ? value : 0);
                CHECK_EQ(id.position.low, first >= 16 ? UINT64_MAX : number == 1 ? value : 0);
            }
        }
}

static void an_id_is_read_between_guard_pages(void)
{
    uint64_t state = SEED();
    struct arena arena = new_arena(1);
    uint64_t parsed = 0;
    for (int round = 0; round < 200000; round++) {
        size_t size = random_below(&state, 64);
        char *text = random_below(&state, 2) == 0 ? arena.at : arena.at + arena.size - size;
        for (size_t i = 0; i < size; i++)
            text[i] = i == FW_EPOCH_DIGITS ? '-' : alphabet[random_below(&state, 32)];
        if (size != 0 && random_below(&state, 2) == 0)
            text[random_below(&state, size)] = (char)random_next(&state);
        struct fw_id id;
        parsed += parse(text, size, &id) == FW_OK;
    }
    CHECK(parsed > 10000 && parsed < 190000);
    char *end = arena.at + arena.size;
    for (size_t size = 0; size <= FW_ID_SIZE; size++) { /* well-formed as far as it goes */
        memcpy(end - size, "mzxw6ytboi2ds-aaaaaaaaaaabc", size);
        struct fw_id id;
        CHECK_EQ(parse(end - size, size, &id), size > AT_POSITION ? FW_OK : FW_EID);
    }
    free_arena(arena);
}

int main(void)
{
    RUN(an_epoch_is_drawn_anew_each_time);
    RUN(an_id_looks_like_this);
    RUN(what_is_written_is_read_back);
    RUN(only_ids_of_possible_length_are_read);
    RUN(positions_have_an_order);
    RUN(an_epoch_is_thirteen_digits);
    RUN(every_other_byte_is_refused_at_every_place);
    RUN(a_position_beyond_64_bits_is_in_the_future);
    RUN(an_id_is_read_between_guard_pages);
    return 0;
}
