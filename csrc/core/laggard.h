/* Those clients of a fan-out that are not in step with its group, and how a client changes its state. Private to it. */
#ifndef FW_CORE_LAGGARD_H
#define FW_CORE_LAGGARD_H

#include "core/fanout_state.h"

#include <sys/types.h>

/* Returns the first client of `list`, NULL if it is empty. */
struct fw_direct *fw_laggard_first(const struct fw_link *list);

/* Puts `client` at the end of `list` (NULL: nowhere), out of the list, the epoll and the counts that it was in. */
void fw_laggard_move(struct fw_fanout *fanout, struct fw_direct *client, enum fw_direct_state state,
                     struct fw_link *list);

/* All who are ahead of the group become due. */
void fw_laggard_call(struct fw_fanout *fanout);

/* Gives `client`, which is no member of the group any more, a note. */
void fw_laggard_note(struct fw_fanout *fanout, struct fw_direct *client, enum fw_note note);

/* `client` waits in the epoll from now on; if that cannot be, it gets a note. */
void fw_laggard_lag(struct fw_fanout *fanout, struct fw_direct *client, double now);

/* `client` has been sent all that it owns. Returns whether its reader goes on by itself, at most *most events at once; if
 * not, it has become a member, or it is ahead. */
bool fw_laggard_gather(struct fw_fanout *fanout, struct fw_direct *client, size_t *most);

/* Counts what `client` is handed on. */
void fw_laggard_count(struct fw_direct *client, uint64_t events, uint64_t bytes);

/* Sends without blocking. Returns how many bytes the socket took, or -1 if it is gone. */
ssize_t fw_laggard_push(const struct fw_direct *client, const char *at, size_t size);

/* Serves a client that is due or lagging: one send of at most 64 KiB. Returns how many bytes the socket took. */
size_t fw_laggard_step(struct fw_fanout *fanout, struct fw_direct *client, double now);

#endif
