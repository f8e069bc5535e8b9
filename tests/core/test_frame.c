/* fw_frame_*: chunk framing, sizes and references. Many threads on one frame: test_threads.c. */
#define _GNU_SOURCE

#include "core/frame.h"

#include "check.h"
#include "core/status.h"
#include "decode.h"

#include <sys/mman.h>

static void check_framing(const struct fw_frame *frame, size_t size)
{
    struct fw_text text = fw_frame_text(frame), chunk = fw_frame_chunk(frame);
    char header[16];
    size_t header_size = (size_t)snprintf(header, sizeof header, "%zx\r\n", size);
    CHECK_EQ(text.size, size);
    CHECK_EQ(chunk.size, header_size + size + 2);
    CHECK(memcmp(chunk.at, header, header_size) == 0);
    CHECK(text.at == chunk.at + header_size);
    CHECK(memcmp(text.at + size, "\r\n", 2) == 0);
}

static const size_t sizes[] = {1,    2,    9,     10,    15,      16,      17,      255,     256,
                               4095, 4096, 65535, 65536, 1048575, 1048576, 1048577, 16777216};

static void chunk_framing_at_every_width(void)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct fw_frame *frame = fw_frame_new(sizes[i]);
        memset((char *)fw_frame_text(frame).at, 'x', sizes[i]); /* the room is real, and the framing stands outside */
        check_framing(frame, sizes[i]);
        fw_frame_unref(frame);
    }
    struct fw_frame *empty = fw_frame_new(0);
    CHECK_EQ(fw_frame_text(empty).size, 0);
    CHECK_EQ(fw_frame_chunk(empty).size, 0); /* "0 CR LF CR LF" would end the body */
    fw_frame_unref(empty);
}

static void an_event_is_formatted_into_its_frame(void)
{
    enum {
        AROUND = sizeof "data: \n\n" - 1
    };
    char *data = malloc(16777216);
    memset(data, 'd', 16777216);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] < AROUND)
            continue;
        struct fw_event event = {.data = {data, sizes[i] - AROUND}, .retry = FW_NO_RETRY};
        struct fw_frame *frame = NULL;
        CHECK_EQ(fw_frame_format(&event, 0, &frame), FW_OK);
        check_framing(frame, sizes[i]);
        const char *at = fw_frame_text(frame).at;
        CHECK(memcmp(at, "data: ", 6) == 0 && memcmp(at + 6, data, sizes[i] - AROUND) == 0);
        CHECK(memcmp(at + sizes[i] - 2, "\n\n", 2) == 0);
        fw_frame_unref(frame);
    }
    free(data);

    struct fw_event nothing = {.retry = FW_NO_RETRY};
    struct fw_frame *frame = NULL;
    CHECK_EQ(fw_frame_format(&nothing, 0, &frame), FW_OK);
    struct fw_text chunk = fw_frame_chunk(frame);
    CHECK(chunk.size == 6 && memcmp(chunk.at, "1\r\n\n\r\n", 6) == 0);
    fw_frame_unref(frame);
}

static void a_refused_event_makes_no_frame(void)
{
    struct fw_event bad_event = {.event = {"a\nb", 3}, .retry = FW_NO_RETRY};
    struct fw_event bad_id = {.id = {"a\0b", 3}, .retry = FW_NO_RETRY};
    struct fw_event good = {.data = {"x", 1}, .retry = FW_NO_RETRY};
    struct fw_frame *frame = NULL;
    CHECK_EQ(fw_frame_format(&bad_event, 0, &frame), FW_EEVENT);
    CHECK_EQ(fw_frame_format(&bad_id, 0, &frame), FW_EID);
    fw_alloc_fail_after(0);
    CHECK_EQ(fw_frame_format(&good, 0, &frame), FW_ENOMEM);
    CHECK(frame == NULL);
}

enum {
    ID_LINE = sizeof "id: \n" - 1 + FW_ID_SIZE
};

static const char epoch[] = "mzxw6ytboi2ds";

/* Writes an id where `frame` has room for one, as a hub does. */
static struct fw_text give_id(struct fw_frame *frame, uint64_t position)
{
    char *at = frame->bytes + FW_FRAME_HEAD + frame->id_at;
    fw_id_write(at, epoch, (struct fw_position){0, position}, FW_POSITION_DIGITS);
    return (struct fw_text){at, FW_ID_SIZE};
}

/* Whatever else the event has: the id is one field more, and the framing holds before and after it is written. */
static void an_event_has_room_for_its_id(void)
{
    static const struct fw_text names[] = {{NULL, 0}, {"", 0}, {"m", 1}, {"a rather long name of an event", 30}};
    static const struct fw_text texts[] = {{NULL, 0}, {"", 0}, {"x", 1}, {"a\r\nb\n", 5}, {"id: 7\nid: 8", 11}};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            for (int64_t retry = FW_NO_RETRY; retry < 2000; retry += 1500) {
                struct fw_event event = {.event = names[n], .data = texts[t], .retry = retry};
                struct fw_frame *frame = NULL, *without = NULL;
                CHECK_EQ(fw_frame_format(&event, FW_ID_SIZE, &frame), FW_OK);
                CHECK_EQ(fw_frame_format(&event, 0, &without), FW_OK);
                CHECK_EQ(without->id_at, 0);
                check_framing(frame, without->size + ID_LINE);
                size_t line = names[n].at != NULL ? strlen("event: \n") + names[n].size : 0;
                CHECK_EQ(frame->id_at, line + strlen("id: "));

                event.id = give_id(frame, UINT64_MAX);
                CHECK(memcmp(event.id.at, "mzxw6ytboi2ds-p777777777777", FW_ID_SIZE) == 0);
                check_framing(frame, without->size + ID_LINE);
                decode(&event, fw_frame_text(frame).at, frame->size);
                fw_frame_unref(frame);
                fw_frame_unref(without);
            }
}

static void a_text_is_wrapped_as_it_stands(void)
{
    char *raw = malloc(16777216), line[64];
    memset(raw, 'r', 16777216);
    memcpy(raw, "\r\n\0", 3); /* nothing in it is looked at */
    int line_size = snprintf(line, sizeof line, "id: mzxw6ytboi2ds-aaaaaaaaaaabc\n");
    CHECK_EQ(line_size, ID_LINE);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int with_id = 0; with_id < 2; with_id++) {
            size_t before = with_id ? ID_LINE : 0;
            struct fw_frame *frame = NULL;
            CHECK_EQ(fw_frame_wrap((struct fw_text){raw, sizes[i]}, with_id ? FW_ID_SIZE : 0, &frame), FW_OK);
            CHECK_EQ(frame->id_at, with_id ? strlen("id: ") : 0);
            check_framing(frame, before + sizes[i]);
            if (with_id)
                give_id(frame, 34);
            check_framing(frame, before + sizes[i]);
            const char *at = fw_frame_text(frame).at;
            CHECK(memcmp(at, line, before) == 0 && memcmp(at + before, raw, sizes[i]) == 0);
            fw_frame_unref(frame);
        }
    free(raw);
}

/* It would be an event of its own. */
static void an_empty_text_has_no_id(void)
{
    for (int with_id = 0; with_id < 2; with_id++) {
        struct fw_frame *frame = NULL;
        CHECK_EQ(fw_frame_wrap((struct fw_text){NULL, 0}, with_id ? FW_ID_SIZE : 0, &frame), FW_OK);
        CHECK(frame->id_at == 0 && fw_frame_text(frame).size == 0 && fw_frame_chunk(frame).size == 0);
        fw_frame_unref(frame);
    }
}

static void the_last_reference_frees(void)
{
    size_t before = fw_alloc_live();
    struct fw_frame *frame = fw_frame_new(100);
    CHECK(fw_alloc_live() - before >= sizeof *frame + FW_FRAME_HEAD + 100 + 2);
    fw_frame_ref(frame);
    fw_frame_ref(frame);
    fw_frame_unref(frame);
    fw_frame_unref(frame);
    CHECK(fw_alloc_live() > before);
    fw_frame_unref(frame);
    CHECK_EQ(fw_alloc_live(), before);
}

/* Fits if it asks for the memory. */
static void check_fits(int status, bool fits)
{
    CHECK_EQ(status, fits ? FW_ENOMEM : FW_ESIZE);
    void *block = fw_alloc(1);
    CHECK((block != NULL) == fits); /* if it did not ask, the failure is still there */
    fw_free(block, 1);
}

/* Two gigabytes of zeros, which are legal data, cost nothing as long as nobody writes them. */
static void a_frame_is_at_most_frame_max(void)
{
    enum {
        AROUND = sizeof "data: \n\n" - 1
    };
    char *zeros = mmap(NULL, FW_FRAME_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(zeros != MAP_FAILED);
    struct fw_frame *frame = NULL;
    for (int with_id = 0; with_id < 2; with_id++)
        for (size_t excess = 0; excess < 2; excess++) {
            size_t most = FW_FRAME_MAX + excess - (with_id ? ID_LINE : 0);
            struct fw_event event = {.data = {zeros, most - AROUND}, .retry = FW_NO_RETRY};
            fw_alloc_fail_after(0);
            check_fits(fw_frame_format(&event, with_id ? FW_ID_SIZE : 0, &frame), excess == 0);
            fw_alloc_fail_after(0);
            check_fits(fw_frame_wrap((struct fw_text){zeros, most}, with_id ? FW_ID_SIZE : 0, &frame), excess == 0);
            fw_alloc_fail_after(0);
            check_fits(fw_frame_wrap((struct fw_text){zeros, SIZE_MAX}, with_id ? FW_ID_SIZE : 0, &frame), false);
        }
    CHECK(frame == NULL);
    munmap(zeros, FW_FRAME_MAX);
}

int main(void)
{
    RUN(chunk_framing_at_every_width);
    RUN(an_event_is_formatted_into_its_frame);
    RUN(a_refused_event_makes_no_frame);
    RUN(an_event_has_room_for_its_id);
    RUN(a_text_is_wrapped_as_it_stands);
    RUN(an_empty_text_has_no_id);
    RUN(the_last_reference_frees);
    RUN(a_frame_is_at_most_frame_max);
    return 0;
}
