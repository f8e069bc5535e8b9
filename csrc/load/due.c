#include "load/due.h"

void fw_due_push(struct fw_due_heap *heap, struct fw_due due)
{
    size_t place = heap->size++;
    while (place != 0 && heap->at[(place - 1) / 2].time > due.time) {
        heap->at[place] = heap->at[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap->at[place] = due;
}

struct fw_due fw_due_pop(struct fw_due_heap *heap)
{
    struct fw_due first = heap->at[0], last = heap->at[--heap->size];
    size_t place = 0;
    for (size_t child = 1; child < heap->size; child = 2 * place + 1) {
        if (child + 1 < heap->size && heap->at[child + 1].time < heap->at[child].time)
            child++;
        if (last.time <= heap->at[child].time)
            break;
        heap->at[place] = heap->at[child];
        place = child;
    }
    heap->at[place] = last;
    return first;
}
