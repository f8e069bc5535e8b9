#include "core/hub_resume.h"

#include "core/place.h"

#include <assert.h>

enum fw_join fw_hub_resume(struct fw_hub *hub, struct fw_reader *reader, uint32_t weight, const struct fw_id *id)
{
    fw_hub_lock(hub);
    enum fw_join join = fw_place_judge_locked(hub, id);
    fw_place_register_locked(hub, reader, weight, join);
    fw_place_begin_locked(hub, reader, join, id);
    fw_hub_unlock(hub);
    return join;
}

/* Lets a reader that is aside begin after all; its place in the statistics moves with it. One that is to end does so
 * where it is. */
static void begin_locked(struct fw_hub *hub, struct fw_reader *reader, enum fw_join join, const struct fw_id *id)
{
    if (reader->end != FW_FOREVER || reader->aside == FW_JOIN_EVICTED)
        return;
    if (reader->counted && !hub->closed) {
        hub->joins[reader->aside] -= reader->weight;
        hub->joins[join] += reader->weight;
    }
    fw_place_begin_locked(hub, reader, join, id);
}

enum fw_join fw_hub_judge(struct fw_hub *hub, struct fw_reader *reader, const struct fw_id *id, bool is_covered)
{
    fw_hub_lock(hub);
    assert(reader->aside != 0);
    enum fw_join join = fw_place_judge_locked(hub, id);
    if (join == FW_JOIN_BEHIND && !is_covered)
        join = fw_position_is_above(id->position, hub->position) ? FW_JOIN_FUTURE : FW_JOIN_EVICTED;
    begin_locked(hub, reader, join, id);
    fw_hub_unlock(hub);
    return join;
}

bool fw_hub_arrive(struct fw_hub *hub, struct fw_reader *reader, struct fw_position *head)
{
    fw_hub_lock(hub);
    bool can = !fw_place_has_passed_locked(hub, reader) && !hub->closed && reader->end == FW_FOREVER;
    if (can) {
        begin_locked(hub, reader, FW_JOIN_RESUMED, &(struct fw_id){.position = hub->position});
        *head = hub->position;
    }
    fw_hub_unlock(hub);
    return can;
}

void fw_hub_strand(struct fw_hub *hub, struct fw_reader *reader)
{
    fw_hub_lock(hub);
    reader->aside = FW_JOIN_EVICTED;
    fw_hub_unlock(hub);
}

void fw_hub_settle(struct fw_hub *hub, struct fw_reader *reader)
{
    fw_hub_lock(hub);
    uint64_t oldest = fw_place_oldest_locked(hub);
    if (fw_place_has_passed_locked(hub, reader) && oldest <= reader->latest)
        fw_place_stand_locked(hub, reader, oldest);
    reader->latest = 0;
    fw_hub_unlock(hub);
}

size_t fw_hub_id(struct fw_hub *hub, const struct fw_reader *reader, char to[FW_ID_SIZE_MAX])
{
    struct fw_position position;
    fw_hub_lock(hub);
    bool is_here = reader->aside == 0 && fw_place_in_front_locked(hub, reader->sequence, &position);
    if (is_here)
        fw_id_write(to, hub->epoch, position, hub->digits);
    size_t size = is_here ? FW_ID_SIZE_OF((size_t)hub->digits) : 0;
    fw_hub_unlock(hub);
    return size;
}
