/* The hub's check of itself, for tests and debug builds. */
#ifndef FW_CORE_HUB_CHECK_H
#define FW_CORE_HUB_CHECK_H

#include "core/hub.h"

#ifdef FW_DEBUG
/* Walks log, readers and counts, and aborts where they disagree. */
void fw_hub_check(struct fw_hub *hub);
#else
static inline void fw_hub_check(struct fw_hub *hub)
{
    (void)hub;
}
#endif

#endif
