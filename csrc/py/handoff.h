/* The hand-off: how a stream finds, through its request's scope and whatever frameworks and middleware lie between, the
 * connection that its bytes go to.
 *
 *   server ─ Wrapper ─> application(scope, receive, Sender)
 *                       scope["extensions"]["fastware.sse"] = Handoff ─ ─ ─> Sender ──> the server's send()
 *
 * An ordinary request pays for three small objects and one more call for each message. The Handoff does not own its
 * Sender: the server's send() owns the scope, and they would be a cycle for each request. */
#ifndef FW_PY_HANDOFF_H
#define FW_PY_HANDOFF_H

#include "py/state.h"

extern PyType_Spec handoff_spec;
extern PyType_Spec sender_spec;
extern PyType_Spec wrapper_spec;

#endif
