/* Single calls of a hub, each with what must have come of it. */
#ifndef STEPS_H
#define STEPS_H

#include "sample.h"

static inline struct fw_hub *open_hub_with(struct fw_limits limits, struct fw_history history)
{
    struct fw_hub *hub = sample_hub();
    CHECK(hub != NULL);
    CHECK_EQ(fw_hub_set_limits(hub, limits, history), FW_OK);
    return hub;
}

static inline struct fw_hub *open_hub(uint64_t events, uint64_t bytes)
{
    return open_hub_with((struct fw_limits){events, bytes}, (struct fw_history){0});
}

/* Publishes the event with the number of its sequence and a text of `size` bytes (0: the least). */
static inline struct fw_published publish_sample(struct fw_hub *hub, size_t size, bool with_id)
{
    uint64_t sequence = fw_hub_counts(hub).head;
    struct fw_frame *frame = with_id ? sample_frame_with_id(sequence, size) : sample_frame(sequence, size);
    struct fw_published published;
    CHECK_EQ(fw_hub_publish(hub, frame, &published), FW_OK);
    CHECK_EQ(published.sequence, sequence);
    fw_frame_unref(frame);
    fw_hub_check(hub);
    return published;
}

static inline struct fw_published publish(struct fw_hub *hub, size_t size)
{
    return publish_sample(hub, size, false);
}

static inline struct fw_published publish_with_id(struct fw_hub *hub, size_t size)
{
    return publish_sample(hub, size, true);
}

static inline void publish_many(struct fw_hub *hub, size_t count, size_t size)
{
    while (count-- > 0)
        publish(hub, size);
}

static inline void publish_many_with_id(struct fw_hub *hub, size_t count, size_t size)
{
    while (count-- > 0)
        publish_with_id(hub, size);
}

/* The id of the place where `reader` stands. */
static inline struct fw_id id_of(struct fw_hub *hub, const struct fw_reader *reader)
{
    char text[FW_ID_SIZE_MAX];
    struct fw_id id;
    CHECK_EQ(fw_hub_id(hub, reader, text), FW_ID_SIZE);
    CHECK_EQ(fw_id_parse((struct fw_text){text, FW_ID_SIZE}, &id), FW_OK);
    CHECK_EQ(id.digits, FW_POSITION_DIGITS);
    CHECK(id.position.high == 0 && id.position.low == reader->sequence);
    return id;
}

/* One read takes exactly the events [first, last). Those that were published with an id carry that of the place behind
 * them. */
static inline void check_read(struct fw_hub *hub, struct fw_reader *reader, size_t max_events, uint64_t first,
                              uint64_t last)
{
    static struct fw_batch batch;
    CHECK(fw_hub_ready(hub, reader));
    CHECK_EQ(fw_hub_read(hub, reader, max_events, 0, &batch), FW_OK);
    CHECK_EQ(batch.first, first);
    CHECK_EQ(batch.last, last);
    CHECK_EQ(batch.count, last - first);
    CHECK_EQ(reader->sequence, last);
    struct fw_id here = id_of(hub, reader);
    for (size_t i = 0; i < batch.count; i++) {
        CHECK_EQ(sample_number(batch.frames[i]), first + i);
        if (batch.frames[i]->id_at == 0)
            continue;
        struct fw_id id = sample_id(batch.frames[i]);
        CHECK(id.position.low == first + i + 1 && memcmp(id.epoch, here.epoch, FW_EPOCH_DIGITS) == 0);
    }
    fw_batch_release(&batch);
    CHECK_EQ(batch.count, 0);
    fw_hub_check(hub);
}

static inline void check_status(struct fw_hub *hub, struct fw_reader *reader, int status)
{
    static struct fw_batch batch;
    uint64_t sequence = reader->sequence;
    batch.count = 7;
    CHECK_EQ(fw_hub_ready(hub, reader), status == FW_EEND);
    CHECK_EQ(fw_hub_read(hub, reader, FW_BATCH_FRAMES, 0, &batch), status);
    CHECK_EQ(batch.count, 0); /* so that a release is harmless */
    CHECK_EQ(reader->sequence, sequence);
    fw_hub_check(hub);
}

static inline void check_counts(struct fw_hub *hub, uint64_t clients, uint64_t frames)
{
    struct fw_hub_counts counts = fw_hub_counts(hub);
    CHECK_EQ(counts.clients, clients);
    CHECK_EQ(counts.frames, frames);
    fw_hub_check(hub);
}

#endif
