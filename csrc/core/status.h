/* The negative codes that functions of the core return; 0 and above mean success.
 * The binding maps each to one exception, in one place (py/state.c). */
#ifndef FW_CORE_STATUS_H
#define FW_CORE_STATUS_H

enum fw_status {
    FW_OK = 0,
    FW_ENOMEM = -1,  /* an allocation failed; nothing has changed */
    FW_ESIZE = -2,   /* the event would be larger than FW_FRAME_MAX */
    FW_EEVENT = -3,  /* CR, LF or NUL in an event name */
    FW_EID = -4,     /* CR, LF or NUL in an event id */
    FW_EAGAIN = -5,  /* nothing to read yet */
    FW_EEND = -6,    /* the reader has read all it will ever get */
    FW_EBUSY = -7,   /* the hub has readers, so its limits are fixed */
    FW_ERANDOM = -8, /* the system gives no random bytes */
    FW_ESYSTEM = -9, /* a system call failed; errno says why */
    FW_EORDER = -10, /* the event's position is not above that of the head */
};

#endif
