/* One HTTP/1 response as it arrives, cut anywhere: its head, then the bytes of its body without their framing. */
#ifndef FW_LOAD_HTTP_H
#define FW_LOAD_HTTP_H

#include "core/wire.h"
#include "load/buffer.h"
#include "load/fault.h"
#include "load/head.h"

#define FW_HEAD_MAX 16384u

enum fw_http_step {
    FW_HTTP_MORE,   /* the input is used up */
    FW_HTTP_HEAD,   /* `head` has been read; interim responses (1xx) are passed over */
    FW_HTTP_BODY,   /* `piece` has the next bytes of the body, a slice of the input, not empty */
    FW_HTTP_END,    /* the body is complete; the input may hold more bytes, which is a fault of the server */
    FW_HTTP_BROKEN, /* `fault` says how; the connection is of no use */
    FW_HTTP_NOMEM,
};

/* All zero is a response of which nothing has come. */
struct fw_http {
    struct fw_buffer kept; /* the first part of the head */
    uint64_t left;         /* bytes of body or chunk to come */
    struct fw_head head;
    uint8_t state;  /* private to http.c */
    uint8_t digits; /* of the chunk size so far */
    enum fw_fault fault;
};

/* Takes the next step over [*at, end), and moves *at. To be called until it returns MORE, END or an error. */
enum fw_http_step fw_http_next(struct fw_http *http, const char **at, const char *end, struct fw_text *piece);

/* Returns whether the response may end here, where the server has closed the connection. */
bool fw_http_may_close(const struct fw_http *http);

/* Frees what it owns; it is all zero again. */
void fw_http_reset(struct fw_http *http);

#endif
