/* Subscription: one client as Python holds it. It owns one reader and releases it exactly once: by close(), or when it
 * is collected, whichever comes first. */
#ifndef FW_PY_SUBSCRIPTION_H
#define FW_PY_SUBSCRIPTION_H

#include "py/state.h"

extern PyType_Spec subscription_spec;

#endif
