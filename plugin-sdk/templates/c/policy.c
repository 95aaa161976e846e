/* Says on every request where it came from, and refuses callers without a name. */
#include <string.h>

#include "router.h"

bool exports_hookswitch_policy_lifecycle_configure(router_string_t *json, router_string_t *err) {
    (void)err; /* router_string_dup(err, "what is wrong, and the remedy"); return false; */
    router_string_free(json);
    return true;
}

static bool starts_with(const router_string_t *text, const char *prefix) {
    size_t length = strlen(prefix);
    return text->len >= length && memcmp(text->ptr, prefix, length) == 0;
}

bool exports_hookswitch_policy_request_hook_on_request(
    exports_hookswitch_policy_request_hook_summary_t *message,
    exports_hookswitch_policy_request_hook_decision_t *ret,
    exports_hookswitch_policy_request_hook_fault_t *err) {
    router_string_t name;
    hookswitch_policy_message_edit_error_t refused;
    bool good = true;

    router_string_set(&name, "X-Came-From");
    if (!hookswitch_policy_message_set_header(&name, &message->side, &refused)) {
        hookswitch_policy_message_edit_error_free(&refused);
        router_string_dup(&err->code, "edit");
        router_string_dup(&err->detail, "X-Came-From was refused");
        good = false;
    } else if (starts_with(&message->from_uri, "sip:anonymous@")) {
        memset(ret, 0, sizeof *ret);
        ret->tag = HOOKSWITCH_POLICY_TYPES_DECISION_REPLY;
        ret->val.reply.status = 433; /* Anonymity Disallowed, RFC 5079 */
    } else {
        ret->tag = HOOKSWITCH_POLICY_TYPES_DECISION_NEXT;
    }
    exports_hookswitch_policy_request_hook_summary_free(message);
    return good;
}
