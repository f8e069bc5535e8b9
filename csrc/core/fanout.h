/* Direct fan-out: writes the events of a hub to the sockets of its clients. One fan-out for each event loop. Linux.
 *
 *   group     the clients that have been sent everything so far, behind one position. A pass gives all of them one window:
 *             one buffer, one send() for each.
 *   laggards  those whose socket did not take all of it. Each has the rest of its window, perhaps a range that it is owed,
 *             and its reader, which is live in the log again; the private epoll tells when its socket takes more. One
 *             that has been sent everything up to the group's position joins the group again.
 *   waiting   those that were attached elsewhere in the log. They catch up like a laggard, without waiting for epoll.
 *
 * So a client costs one send() for each pass, however many events there were since the last one, and is pruned only where
 * it is slow (as everywhere) or the loop falls far behind (the group's own limits, hub.c).
 *
 * Every function is called by one thread at a time, in which no other function of the fan-out or of its clients runs; none
 * blocks. Other threads may use the hub meanwhile. Nothing here calls its owner back: what has happened to a client is a
 * note, to be asked for after each pass, ready and expire. */
#ifndef FW_CORE_FANOUT_H
#define FW_CORE_FANOUT_H

#include "core/direct.h"
#include "core/hub.h"

#ifdef FW_HAS_FANOUT

struct fw_fanout;

/* Returns a fan-out without clients in *made; it holds a reference to the hub. FW_OK, FW_ENOMEM, or FW_ESYSTEM with errno
 * set: no epoll descriptor is to be had. */
int fw_fanout_new(struct fw_hub *hub, struct fw_fanout **made);

/* Nobody may be attached. Rests that have not been released stay valid. */
void fw_fanout_free(struct fw_fanout *fanout);

/* In the child of a fork: closes the descriptor, which the parent shares. From then on no pass, ready or expire does
 * anything. Detach and free work, but a rest is the parent's to send. */
void fw_fanout_abandon(struct fw_fanout *fanout);

/* The descriptor that is readable when fw_fanout_ready has something to do. */
int fw_fanout_fd(const struct fw_fanout *fanout);

/* How many clients wait for their sockets. */
size_t fw_fanout_laggards(const struct fw_fanout *fanout);

/* When the last pass began, or the first client was attached to an empty fan-out: `now` of that call. */
double fw_fanout_sent(const struct fw_fanout *fanout);

/* Attaches `client`. What the reader has not read yet is sent first, wherever it stands (slot, history, range of the
 * pruned). The caller has a pass follow, as after a publish. fw_hub_finish is not for the readers of attached clients. */
void fw_fanout_attach(struct fw_fanout *fanout, struct fw_direct *client, struct fw_reader *reader, int fd,
                      bool chunked, double patience, double now);

/* Takes `client` out, whether it has a note or not. From then on its socket is not touched, and the reader is an ordinary
 * one again, behind the bytes of fw_direct_rest; the caller calls fw_direct_release once it has those. To be called before
 * the descriptor is closed. If there is no memory for the rest, the reader has ended instead. */
void fw_fanout_detach(struct fw_fanout *fanout, struct fw_direct *client);

enum fw_pass {
    FW_PASS_IDLE, /* nothing to do until the next publish, close, beat, attach or fw_fanout_ready */
    FW_PASS_MORE, /* call again in the next turn of the loop */
    FW_PASS_AGAIN /* the pass has ended and the head has moved on meanwhile, or memory was short: call again, best after a
                     gap in which more events gather */
};

/* One bounded slice: goes on with the pass that is running, or begins one if there is something to send. Makes at most
 * `clients` sends, and no more once they have sent `bytes` bytes; one of them is a window, so at most 64 KiB of text or one
 * event. */
enum fw_pass fw_fanout_pass(struct fw_fanout *fanout, size_t clients, size_t bytes, double now);

/* The same for laggards whose sockets take data again: at most 64 of them, one send of at most 64 KiB each. */
void fw_fanout_ready(struct fw_fanout *fanout, double now);

/* The next pass sends the group a heartbeat comment, unless there are events by then. Laggards need none. */
void fw_fanout_beat(struct fw_fanout *fanout);

/* Notes the laggards whose sockets took nothing for their patience, and take nothing now. Those that do take something are
 * filled up. Looks at no more than 64 of them, and gives them no more than about 4 MiB; returns whether there are others. */
bool fw_fanout_expire(struct fw_fanout *fanout, double now);

/* Pops a client that has a note, or NULL. The fan-out does nothing more for it; the owner detaches it. */
struct fw_direct *fw_fanout_note(struct fw_fanout *fanout);

/* Whether those who are not slow have used more than half of what they may fall behind: the group, or who waits longest to
 * be in it. */
bool fw_fanout_endangered(struct fw_fanout *fanout);

/* Whether some have been pruned who are not slow, and no pass has come to them since. */
bool fw_fanout_overflowed(struct fw_fanout *fanout);

#endif
#endif
