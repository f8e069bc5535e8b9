/* What a run counts, over all streams. Owned by one thread. */
#ifndef FW_LOAD_TALLY_H
#define FW_LOAD_TALLY_H

#include "load/fault.h"
#include "load/histogram.h"
#include "load/order.h"

#include <stdint.h>

struct fw_tally {
    uint64_t tried;       /* streams for which a connect was begun */
    uint64_t opened;      /* streams that were open at least once */
    uint64_t open;        /* now */
    uint64_t most_open;   /* at one time */
    uint64_t connects;    /* responses that were an event stream; resumes included */
    uint64_t disconnects; /* open streams that ended, however; not by us */
    uint64_t resumes;     /* connects that followed a disconnect and sent a last id */
    uint64_t failures[FW_FAILURES];
    uint64_t faults[FW_FAULTS];
    int bad_status;    /* the latest that was not 200; 0 for none */
    int connect_error; /* the latest errno of a connect; 0 for none */

    uint64_t bytes;    /* received, framing included */
    uint64_t events;   /* dispatched */
    uint64_t numbered; /* of them with a sequence number */
    struct fw_disorder disorder;
    struct fw_histogram latency; /* ns; of the events with a time stamp */
    uint64_t first_event;        /* when, in ns since 1970; 0 for never */
    uint64_t last_event;
};

#endif
