/* The pure parts: order against a naive model, histogram, JSON members and numbers, the heap of reconnects. */
#include "check.h"
#include "load/due.h"
#include "load/histogram.h"
#include "load/json.h"
#include "load/order.h"

/* ---- order ---- */

static struct fw_disorder order_of(const uint64_t *numbers, size_t size)
{
    struct fw_order order = {0};
    struct fw_disorder counts = {0};
    for (size_t i = 0; i < size; i++)
        fw_order_take(&order, numbers[i], &counts);
    return counts;
}

#define CHECK_ORDER(lost_, duplicates_, late_, ...)                                                                    \
    do {                                                                                                               \
        const uint64_t numbers[] = {__VA_ARGS__};                                                                      \
        struct fw_disorder counts = order_of(numbers, sizeof numbers / sizeof *numbers);                               \
        CHECK_EQ(counts.lost, lost_);                                                                                  \
        CHECK_EQ(counts.duplicates, duplicates_);                                                                      \
        CHECK_EQ(counts.late, late_);                                                                                  \
    } while (0)

static void test_order(void)
{
    CHECK_ORDER(0, 0, 0, 5, 6, 7);
    CHECK_ORDER(0, 1, 0, 5, 6, 6, 7);
    CHECK_ORDER(2, 0, 0, 5, 8);
    CHECK_ORDER(0, 0, 1, 5, 7, 6, 8);
    CHECK_ORDER(0, 1, 1, 5, 7, 6, 6);
    CHECK_ORDER(0, 0, 1, 5, 4);      /* in front of the first: never passed over */
    CHECK_ORDER(63, 0, 0, 1, 65);    /* a step of 64 */
    CHECK_ORDER(62, 0, 1, 1, 65, 2); /* the oldest that is still in the window */
    CHECK_ORDER(64, 0, 1, 1, 66, 2); /* one further: lost, and not known to be a duplicate */
    CHECK_ORDER(64, 1, 0, 1, 66, 66);
    CHECK_ORDER(UINT64_MAX - 1, 1, 0, 0, UINT64_MAX, UINT64_MAX);
    uint64_t many[201];
    for (uint64_t i = 0; i < 200; i++)
        many[i] = i;
    many[200] = 3; /* far behind the window, but none was ever missing */
    CHECK_EQ(order_of(many, 201).duplicates, 1);
}

static void test_order_across_reconnects(void)
{
    struct fw_order order = {0};
    struct fw_disorder counts = {0};
    fw_order_take(&order, 10, &counts);
    fw_order_reconnect(&order, true);
    fw_order_take(&order, 10, &counts); /* the server owes 11 */
    CHECK_EQ(counts.duplicates, 1);
    fw_order_reconnect(&order, false);
    fw_order_take(&order, 1, &counts); /* it has begun anew */
    fw_order_take(&order, 2, &counts);
    CHECK_EQ(counts.duplicates, 1);
    fw_order_reconnect(&order, false);
    fw_order_take(&order, 5, &counts); /* what was sent in between is lost */
    CHECK_EQ(counts.lost, 2);
    fw_order_take(&order, 4, &counts); /* and the run goes on */
    CHECK_EQ(counts.lost, 1);
    CHECK_EQ(counts.late, 1);
}

/* Within the window the model knows all: a number was seen or not. */
static void test_order_like_a_model(void)
{
    uint64_t seed = SEED();
    for (int round = 0; round < 2000; round++) {
        bool seen[64] = {false};
        struct fw_order order = {0};
        struct fw_disorder counts = {0}, model = {0};
        uint64_t high = 0;
        for (int i = 0; i < 60; i++) {
            uint64_t number = i == 0 ? 0 : random_below(&seed, 63);
            if (seen[number])
                model.duplicates++;
            else if (number < high)
                model.late++;
            seen[number] = true;
            high = number > high ? number : high;
            fw_order_take(&order, number, &counts);
        }
        for (uint64_t number = 0; number < high; number++)
            model.lost += !seen[number];
        CHECK(memcmp(&counts, &model, sizeof model) == 0);
    }
}

/* ---- histogram ---- */

static void test_histogram(void)
{
    static struct fw_histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    CHECK_EQ(fw_histogram_quantile(&histogram, 0.5), 0);
    for (uint64_t value = 1; value <= 100000; value++)
        fw_histogram_add(&histogram, value);
    for (double share = 0.01; share < 1; share += 0.01) {
        double exact = share * 100000, found = (double)fw_histogram_quantile(&histogram, share);
        CHECK(found >= exact - 1 && found <= exact * (1 + 1.0 / FW_HISTOGRAM_SHARES) + 1);
    }
    CHECK_EQ(fw_histogram_quantile(&histogram, 1), 100000);
    fw_histogram_add(&histogram, UINT64_MAX);
    fw_histogram_add(&histogram, 0);
    CHECK(fw_histogram_quantile(&histogram, 1) == UINT64_MAX);
    CHECK_EQ(fw_histogram_quantile(&histogram, 0), 0);
}

static void test_every_value_is_in_its_bucket(void)
{
    static struct fw_histogram histogram;
    uint64_t seed = SEED();
    for (int round = 0; round < 3000; round++) {
        uint64_t value = random_next(&seed) >> random_below(&seed, 64);
        memset(&histogram, 0, sizeof histogram);
        fw_histogram_add(&histogram, value);
        fw_histogram_add(&histogram, UINT64_MAX); /* so that the end of the bucket shows */
        uint64_t found = fw_histogram_quantile(&histogram, 0.5);
        CHECK(found >= value && found - value <= value / FW_HISTOGRAM_SHARES);
    }
}

/* ---- JSON ---- */

/* Returns "seq value|ts value", each cut at the first comma or brace; "-" for none. From memory of its own. */
static const char *find(const char *text)
{
    static char found[80];
    const struct fw_text names[2] = {{"\"seq\"", 5}, {"\"ts\"", 4}};
    struct fw_text values[2];
    size_t size = strlen(text);
    char *copy = malloc(size);
    if (size != 0)
        memcpy(copy, text, size);
    fw_json_find((struct fw_text){copy, size}, names, values);
    int lengths[2];
    for (int i = 0; i < 2; i++) {
        if (values[i].at == NULL)
            values[i] = (struct fw_text){"-", 1};
        for (lengths[i] = 0; (size_t)lengths[i] < values[i].size && strchr(",}", values[i].at[lengths[i]]) == NULL;)
            lengths[i]++;
    }
    snprintf(found, sizeof found, "%.*s|%.*s", lengths[0], values[0].at, lengths[1], values[1].at);
    free(copy);
    return found;
}

static void test_json_members(void)
{
    static const char *const cases[][2] = {
        {"{\"seq\":1,\"ts\":2.5}", "1|2.5"},
        {" {\"ts\" : 2 ,\n\"seq\"\t:\r 1}", "1|2 "},
        {"{\"a\":{\"seq\":9},\"b\":[{\"ts\":9}],\"seq\":1}", "1|-"},
        {"{\"text\":\"\\\"seq\\\":5\",\"x\":\"\\\\\",\"seq\":1}", "1|-"},
        {"{\"a\":\"seq\",\"seq\":1}", "1|-"},
        {"{\"xseq\":1,\"seqx\":2}", "-|-"},
        {"{\"a\":1}{\"seq\":1}", "-|-"},
        {"[{\"seq\":1}]", "-|-"},
        {"\"seq\":1", "-|-"},
        {"", "-|-"},
        {"{", "-|-"},
        {"{\"", "-|-"},
        {"{\"seq\"", "-|-"},
        {"{\"seq\":", "|-"},
        {"{\"a\\", "-|-"},
        {"{\"seq\":1", "1|-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(find(cases[i][0]), cases[i][1]) != 0) {
            fprintf(stderr, "%s: %s\n", cases[i][0], find(cases[i][0]));
            abort();
        }
}

static bool whole(const char *text, uint64_t *number)
{
    return fw_json_whole((struct fw_text){text, strlen(text)}, number);
}

static bool time_of(const char *text, uint64_t *ns)
{
    return fw_json_time((struct fw_text){text, strlen(text)}, ns);
}

static void test_json_numbers(void)
{
    uint64_t number = 0;
    CHECK(whole("0", &number) && number == 0);
    CHECK(whole("12,\"a\"", &number) && number == 12);
    CHECK(whole("18446744073709551615}", &number) && number == UINT64_MAX);
    CHECK(!whole("", &number) && !whole("-1", &number) && !whole("1.5", &number) && !whole("\"1\"", &number));

    const uint64_t expected = UINT64_C(1700000000123456000);
    CHECK(time_of("1700000000.123456,", &number) && number == expected);
    CHECK(time_of("1700000000.1234560001234567890123}", &number) && number == expected);
    CHECK(time_of("1700000000123.456", &number) && number == expected);
    CHECK(time_of("1700000000123456", &number) && number == expected);
    CHECK(time_of("1700000000123456000}", &number) && number == expected);
    CHECK(time_of("1.7e9", &number) && number == UINT64_C(1700000000000000000));
    CHECK(!time_of("", &number) && !time_of("null", &number) && !time_of("\"1\"", &number));
    CHECK(!time_of("1.5.2", &number) && !time_of("1e", &number) && !time_of("-5", &number));
    CHECK(!time_of("1e999", &number) && !time_of("35e9", &number) && !time_of("99999999999", &number));
}

/* ---- the heap ---- */

static void test_due_comes_in_order(void)
{
    uint64_t seed = SEED();
    struct fw_due room[200];
    for (int round = 0; round < 200; round++) {
        struct fw_due_heap heap = {room, 0};
        size_t size = random_below(&seed, 200) + 1;
        for (uint32_t i = 0; i < size; i++)
            fw_due_push(&heap, (struct fw_due){random_below(&seed, 50), i});
        uint64_t last = 0, sum = 0;
        while (heap.size != 0) {
            struct fw_due due = fw_due_pop(&heap);
            CHECK(due.time >= last);
            last = due.time;
            sum += due.stream;
        }
        CHECK_EQ(sum, size * (size - 1) / 2);
    }
}

int main(void)
{
    RUN(test_order);
    RUN(test_order_across_reconnects);
    RUN(test_order_like_a_model);
    RUN(test_histogram);
    RUN(test_every_value_is_in_its_bucket);
    RUN(test_json_members);
    RUN(test_json_numbers);
    RUN(test_due_comes_in_order);
    return 0;
}
