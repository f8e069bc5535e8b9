#include "load/fault.h"

const char *fw_fault_name(enum fw_fault fault)
{
    static const char *const names[FW_FAULTS] = {
        [FW_FAULT_FIELD] = "unknown field",
        [FW_FAULT_RETRY] = "retry not a number",
        [FW_FAULT_ID] = "NUL in an id",
        [FW_FAULT_UTF8] = "invalid UTF-8",
        [FW_FAULT_UNFINISHED] = "response ended inside an event",
        [FW_FAULT_LARGE] = "event too large",
        [FW_FAULT_CHUNK] = "chunked coding broken",
        [FW_FAULT_AFTER] = "bytes after the end of the response",
        [FW_FAULT_HEAD] = "malformed response head",
    };
    return names[fault];
}

const char *fw_failure_name(enum fw_failure failure)
{
    static const char *const names[FW_FAILURES] = {
        [FW_FAILURE_CONNECT] = "no connection",
        [FW_FAILURE_CLOSED] = "closed before the answer",
        [FW_FAILURE_HEAD] = "malformed response head",
        [FW_FAILURE_STATUS] = "status not 200",
        [FW_FAILURE_TYPE] = "not a plain text/event-stream",
    };
    return names[failure];
}
