/* The head of an HTTP/1 response: what it says about the body, strictly. Pure. */
#ifndef FW_LOAD_HEAD_H
#define FW_LOAD_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fw_body {
    FW_BODY_CLOSE, /* ends with the connection */
    FW_BODY_LENGTH,
    FW_BODY_CHUNKED,
};

struct fw_head {
    int status; /* 100 to 999 */
    enum fw_body body;
    uint64_t length;      /* of the body, where FW_BODY_LENGTH */
    bool is_event_stream; /* the content type; parameters may follow */
    bool is_encoded;      /* a content coding other than identity */
};

/* Reads a whole head, its empty line included. Returns whether it is well-formed: CRLF and nothing else ends a line,
 * no folded lines, no space before a colon, and one statement about the body's length (chunked and a length, two
 * different lengths, or a coding that is not chunked are refused). */
bool fw_head_parse(const char *bytes, size_t size, struct fw_head *head);

#endif
