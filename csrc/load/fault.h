/* What can be wrong with a stream's bytes, and why a connect can fail; each is counted by kind. */
#ifndef FW_LOAD_FAULT_H
#define FW_LOAD_FAULT_H

/* A browser passes over the first five in silence. Here they are errors: they are what broken framing looks like. */
enum fw_fault {
    FW_FAULT_FIELD,      /* a line that is neither a field of the standard nor a comment */
    FW_FAULT_RETRY,      /* a retry that is not all ASCII digits */
    FW_FAULT_ID,         /* NUL in an id */
    FW_FAULT_UTF8,       /* bytes that are not UTF-8 */
    FW_FAULT_UNFINISHED, /* the response ended, in good order, inside an event */
    FW_FAULT_LARGE,      /* an event of more than FW_BUFFER_MAX; ends the connection, as do those below */
    FW_FAULT_CHUNK,      /* not the chunked coding */
    FW_FAULT_AFTER,      /* bytes after the end of the response */
    FW_FAULT_HEAD,       /* not a response head of HTTP/1, or one with two minds about its body's length */
    FW_FAULTS,
};

enum fw_failure {
    FW_FAILURE_CONNECT, /* no TCP connection */
    FW_FAILURE_CLOSED,  /* closed or reset before the response head was complete */
    FW_FAILURE_HEAD,    /* the response head was malformed (a fault as well) */
    FW_FAILURE_STATUS,  /* a status other than 200 */
    FW_FAILURE_TYPE,    /* not text/event-stream, or with a content coding */
    FW_FAILURES,
};

/* Return a few words for people, static. */
const char *fw_fault_name(enum fw_fault fault);
const char *fw_failure_name(enum fw_failure failure);

#endif
