/* fw_frame_*: chunk framing, sizes and references. Many threads on one frame: test_threads.c. */
#define _GNU_SOURCE

#include "core/frame.h"

#include "check.h"
#include "core/status.h"

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
        CHECK_EQ(fw_frame_format(&event, false, &frame), FW_OK);
        check_framing(frame, sizes[i]);
        const char *at = fw_frame_text(frame).at;
        CHECK(memcmp(at, "data: ", 6) == 0 && memcmp(at + 6, data, sizes[i] - AROUND) == 0);
        CHECK(memcmp(at + sizes[i] - 2, "\n\n", 2) == 0);
        fw_frame_unref(frame);
    }
    free(data);

    struct fw_event nothing = {.retry = FW_NO_RETRY};
    struct fw_frame *frame = NULL;
    CHECK_EQ(fw_frame_format(&nothing, false, &frame), FW_OK);
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
    CHECK_EQ(fw_frame_format(&bad_event, false, &frame), FW_EEVENT);
    CHECK_EQ(fw_frame_format(&bad_id, false, &frame), FW_EID);
    fw_alloc_fail_after(0);
    CHECK_EQ(fw_frame_format(&good, false, &frame), FW_ENOMEM);
    CHECK(frame == NULL);
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

/* Two gigabytes of zeros, which are legal data, cost nothing as long as nobody writes them. */
static void a_frame_is_at_most_frame_max(void)
{
    enum {
        AROUND = sizeof "data: \n\n" - 1
    };
    char *zeros = mmap(NULL, FW_FRAME_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(zeros != MAP_FAILED);
    struct fw_event event = {.data = {zeros, FW_FRAME_MAX - AROUND}, .retry = FW_NO_RETRY};
    struct fw_frame *frame = NULL;
    fw_alloc_fail_after(0);
    CHECK_EQ(fw_frame_format(&event, false, &frame), FW_ENOMEM); /* fits: it asked for the memory */
    fw_alloc_fail_after(0);
    event.data.size++;
    CHECK_EQ(fw_frame_format(&event, false, &frame), FW_ESIZE);
    CHECK(fw_alloc(1) == NULL); /* it did not ask: the failure is still there */
    CHECK(frame == NULL);
    munmap(zeros, FW_FRAME_MAX);
}

int main(void)
{
    RUN(chunk_framing_at_every_width);
    RUN(an_event_is_formatted_into_its_frame);
    RUN(a_refused_event_makes_no_frame);
    RUN(the_last_reference_frees);
    RUN(a_frame_is_at_most_frame_max);
    return 0;
}
