/* The base type of Broadcaster: construction, close, and what it tells of itself. */
#ifndef FW_PY_BROADCASTER_H
#define FW_PY_BROADCASTER_H

#include "py/state.h"

extern PyType_Spec broadcaster_spec;

#endif
