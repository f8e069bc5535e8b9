#include "load/order.h"

static void begin(struct fw_order *order, uint64_t number)
{
    *order = (struct fw_order){.first = number, .high = number, .has_begun = true};
}

static void move_forward(struct fw_order *order, uint64_t step, struct fw_disorder *counts)
{
    counts->lost += step - 1;
    if (step < 64) {
        order->has_lost |= order->missing >> (64 - step) != 0;
        order->missing = order->missing << step | ((UINT64_C(1) << (step - 1)) - 1) << 1;
    } else {
        order->has_lost |= step > 64 || order->missing != 0;
        order->missing = UINT64_MAX - 1;
    }
    order->high += step;
}

static void take_old(struct fw_order *order, uint64_t number, struct fw_disorder *counts)
{
    uint64_t age = order->high - number;
    uint64_t bit = age < 64 ? UINT64_C(1) << age : 0;
    if ((order->missing & bit) != 0) {
        order->missing &= ~bit;
        counts->lost--;
        counts->late++;
    } else if (number < order->first || (bit == 0 && order->has_lost)) {
        counts->late++;
    } else {
        counts->duplicates++;
    }
}

void fw_order_take(struct fw_order *order, uint64_t number, struct fw_disorder *counts)
{
    if (!order->has_begun || (order->is_new_run && number <= order->high)) {
        begin(order, number);
        return;
    }
    order->is_new_run = false;
    if (number > order->high)
        move_forward(order, number - order->high, counts);
    else
        take_old(order, number, counts);
}

void fw_order_reconnect(struct fw_order *order, bool has_last_id)
{
    order->is_new_run = !has_last_id;
}
