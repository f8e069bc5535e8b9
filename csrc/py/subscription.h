/* Subscription: one client as Python holds it. It owns one reader and releases it exactly once: by close(), or when it
 * is collected, whichever comes first. */
#ifndef FW_PY_SUBSCRIPTION_H
#define FW_PY_SUBSCRIPTION_H

#include "py/bridge.h"

extern PyType_Spec subscription_spec;

/* Returns a new Subscription that has not joined. `owner` is kept alive, and with it `bridges`, a part of it. */
PyObject *subscription_new(fw_state *state, PyObject *owner, BridgeList *bridges);

#endif
