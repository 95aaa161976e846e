/* Screens calls by number: who calls and who is called, against prefixes, of which the longest decides.

   The configuration is a JSON array of rules, `from|to PREFIX allow|refuse|discard|divert [UPSTREAM]`:
       ["from +4479 divert voicemail", "to +4990 refuse", "to +49900 allow"]
   What is diverted learns nothing of it: neither who answered, nor why nobody did. */
#include <stdlib.h>
#include <string.h>

#include "rewriter.h"

#define RULES_MAX 10000
#define DIVERTED "screening.diverted"

typedef struct {
    const char *at;
    size_t length;
} slice_t;

#define LITERAL(text) ((slice_t){(text), sizeof(text) - 1})

typedef enum { FROM, TO } party_t;
typedef enum { ALLOW, REFUSE, DISCARD, DIVERT } verdict_t;

typedef struct {
    party_t party;
    slice_t prefix;
    verdict_t verdict;
    slice_t upstream;
} rule_t;

static const slice_t PARTIES[] = {LITERAL("from"), LITERAL("to")};
static const slice_t VERDICTS[] = {LITERAL("allow"), LITERAL("refuse"), LITERAL("discard"), LITERAL("divert")};

/* An instance serves many messages; these are all that it keeps. They point into the configuration. */
static rule_t rules[RULES_MAX];
static size_t rule_count;

static bool is_equal(slice_t a, slice_t b) { return a.length == b.length && memcmp(a.at, b.at, a.length) == 0; }

static bool has_prefix(slice_t text, slice_t prefix) {
    return text.length >= prefix.length && memcmp(text.at, prefix.at, prefix.length) == 0;
}

static slice_t slice(const rewriter_string_t *text) { return (slice_t){(const char *)text->ptr, text->len}; }

static rewriter_string_t borrowed(slice_t text) { return (rewriter_string_t){(uint8_t *)text.at, text.length}; }

/* Whoever gets it frees it. */
static rewriter_string_t joined(const slice_t *parts, size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; i++) length += parts[i].length;
    rewriter_string_t text = {malloc(length), 0};
    if (text.ptr == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        memcpy(text.ptr + text.len, parts[i].at, parts[i].length);
        text.len += parts[i].length;
    }
    return text;
}

#define JOINED(...) joined((slice_t[]){__VA_ARGS__}, sizeof((slice_t[]){__VA_ARGS__}) / sizeof(slice_t))

/* The number, or the name, that a URI is about: `+4930` of sip:+4930;ext=1@example.com. */
static slice_t user_of(slice_t uri) {
    const char *end = uri.at + uri.length;
    const char *colon = memchr(uri.at, ':', uri.length);
    const char *at = colon == NULL ? end : colon + 1;
    size_t length = 0;
    while (at + length < end && at[length] != '@' && at[length] != ';') length++;
    return (slice_t){at, length};
}

static slice_t next_word(slice_t *text) {
    slice_t word = {text->at, 0};
    while (word.length < text->length && word.at[word.length] != ' ') word.length++;
    size_t taken = word.length < text->length ? word.length + 1 : word.length;
    *text = (slice_t){text->at + taken, text->length - taken};
    return word;
}

/* The index of a word among others, or -1. */
static int find(slice_t word, const slice_t *words, int count) {
    for (int i = 0; i < count; i++)
        if (is_equal(word, words[i])) return i;
    return -1;
}

static bool is_upstream(slice_t name) {
    rewriter_list_string_t upstreams;
    bool found = false;
    hookswitch_policy_target_upstreams(&upstreams);
    for (size_t i = 0; i < upstreams.len; i++) found = found || is_equal(slice(&upstreams.ptr[i]), name);
    rewriter_list_string_free(&upstreams);
    return found;
}

/* NULL, or what is wrong. */
static const char *read_rule(slice_t text, rule_t *rule) {
    int party = find(next_word(&text), PARTIES, 2);
    rule->prefix = next_word(&text);
    int verdict = find(next_word(&text), VERDICTS, 4);
    rule->upstream = next_word(&text);
    if (party < 0) return "it begins with neither from nor to";
    if (rule->prefix.length == 0) return "there is no prefix";
    if (verdict < 0) return "its verdict is none of allow, refuse, discard and divert";
    if (verdict == DIVERT && !is_upstream(rule->upstream)) return "divert needs the name of an upstream";
    if (verdict != DIVERT && rule->upstream.length > 0) return "only divert has an upstream";
    if (text.length > 0) return "it goes on after its end";
    rule->party = party;
    rule->verdict = verdict;
    return NULL;
}

static void skip_blanks(slice_t *json) {
    while (json->length > 0 && strchr(" \t\r\n", *json->at) != NULL) {
        json->at++;
        json->length--;
    }
}

static bool skip(slice_t *json, char expected) {
    skip_blanks(json);
    if (json->length == 0 || *json->at != expected) return false;
    json->at++;
    json->length--;
    return true;
}

/* A JSON string without escapes: no rule needs one. */
static bool next_string(slice_t *json, slice_t *text) {
    if (!skip(json, '"')) return false;
    const char *end = memchr(json->at, '"', json->length);
    if (end == NULL || memchr(json->at, '\\', end - json->at) != NULL) return false;
    *text = (slice_t){json->at, end - json->at};
    json->length -= text->length + 1;
    json->at = end + 1;
    return true;
}

static bool refuse(rewriter_string_t *err, slice_t rule, const char *reason) {
    *err = JOINED(LITERAL("rule \""), rule, LITERAL("\": "), ((slice_t){reason, strlen(reason)}));
    return false;
}

/* What it returns in `err` the operator reads: the version before goes on. The JSON is kept, since the rules point into it. */
bool exports_hookswitch_policy_lifecycle_configure(rewriter_string_t *text, rewriter_string_t *err) {
    slice_t json = slice(text);
    if (!skip(&json, '[')) {
        rewriter_string_dup(err, "the configuration is no array of rules");
        return false;
    }
    bool more = !skip(&json, ']');
    while (more) {
        slice_t rule;
        if (!next_string(&json, &rule)) {
            rewriter_string_dup(err, "the configuration is an array of strings without escapes, and there is something else in it");
            return false;
        }
        if (rule_count == RULES_MAX) return refuse(err, rule, "there are more than 10000 rules");
        const char *wrong = read_rule(rule, &rules[rule_count]);
        if (wrong != NULL) return refuse(err, rule, wrong);
        rule_count++;
        more = !skip(&json, ']');
        if (more && !skip(&json, ',')) return refuse(err, rule, "neither , nor ] follows it");
    }
    return true;
}

static const rule_t *longest(slice_t caller, slice_t called) {
    const rule_t *found = NULL;
    for (size_t i = 0; i < rule_count; i++) {
        slice_t number = rules[i].party == FROM ? caller : called;
        bool is_longer = found == NULL || rules[i].prefix.length > found->prefix.length;
        if (is_longer && has_prefix(number, rules[i].prefix)) found = &rules[i];
    }
    return found;
}

static void report(const rule_t *rule, slice_t caller, slice_t called) {
    rewriter_string_t peer;
    hookswitch_policy_source_peer(&peer);
    rewriter_string_t line = JOINED(VERDICTS[rule->verdict], LITERAL(": "), caller, LITERAL(" calls "), called,
                                    LITERAL(" from "), slice(&peer));
    hookswitch_policy_log_write(HOOKSWITCH_POLICY_LOG_LEVEL_INFO, &line);
    rewriter_string_free(&line);
    rewriter_string_free(&peer);
}

static bool divert(slice_t upstream) {
    rewriter_string_t name = borrowed(upstream), key = borrowed(LITERAL(DIVERTED)), value = borrowed(LITERAL("yes"));
    hookswitch_policy_target_edit_error_t refused;
    uint32_t index;
    bool is_done = hookswitch_policy_target_add_upstream(&name, 0, &index, &refused) &&
                   hookswitch_policy_transaction_set_attribute(&key, &value, &refused);
    if (!is_done) hookswitch_policy_target_edit_error_free(&refused);
    return is_done;
}

bool exports_hookswitch_policy_request_hook_on_request(exports_hookswitch_policy_request_hook_summary_t *request,
                                                       exports_hookswitch_policy_request_hook_decision_t *decision,
                                                       exports_hookswitch_policy_request_hook_fault_t *fault) {
    slice_t caller = user_of(slice(&request->from_uri)), called = user_of(slice(&request->request_uri));
    const rule_t *rule = request->in_dialog ? NULL : longest(caller, called);
    bool is_done = true;
    memset(decision, 0, sizeof *decision);
    decision->tag = HOOKSWITCH_POLICY_TYPES_DECISION_NEXT;
    if (rule != NULL && rule->verdict != ALLOW) {
        report(rule, caller, called);
        switch (rule->verdict) {
        case ALLOW: break;
        case REFUSE:
            decision->tag = HOOKSWITCH_POLICY_TYPES_DECISION_REPLY;
            decision->val.reply.status = rule->party == FROM ? 607 : 403; /* 607 Unwanted: RFC 8197 */
            break;
        case DISCARD: decision->tag = HOOKSWITCH_POLICY_TYPES_DECISION_DISCARD; break;
        case DIVERT:
            decision->tag = HOOKSWITCH_POLICY_TYPES_DECISION_FORWARD;
            is_done = divert(rule->upstream);
            break;
        }
    }
    if (!is_done) {
        rewriter_string_dup(&fault->code, "divert");
        rewriter_string_dup(&fault->detail, "the host refused the target or the attribute: is `route` granted?");
    }
    exports_hookswitch_policy_request_hook_summary_free(request);
    return is_done;
}

static bool is_diverted(void) {
    rewriter_string_t key = borrowed(LITERAL(DIVERTED)), value;
    bool is_set = hookswitch_policy_transaction_attribute(&key, &value);
    if (is_set) rewriter_string_free(&value);
    return is_set;
}

bool exports_hookswitch_policy_response_hook_on_response(exports_hookswitch_policy_response_hook_summary_t *request, uint16_t status,
                                                         exports_hookswitch_policy_response_hook_response_decision_t *decision,
                                                         exports_hookswitch_policy_response_hook_fault_t *fault) {
    bool is_done = true;
    decision->tag = HOOKSWITCH_POLICY_TYPES_RESPONSE_DECISION_PASS;
    if (is_diverted()) {
        rewriter_string_t identity = borrowed(LITERAL("P-Asserted-Identity"));
        hookswitch_policy_message_edit_error_t refused;
        is_done = hookswitch_policy_message_remove_header(&identity, &refused);
        if (!is_done) {
            hookswitch_policy_message_edit_error_free(&refused);
            rewriter_string_dup(&fault->code, "edit");
            rewriter_string_dup(&fault->detail, "P-Asserted-Identity cannot be removed: is `edit` granted?");
        }
        if (status >= 400) {
            decision->tag = HOOKSWITCH_POLICY_TYPES_RESPONSE_DECISION_SET_STATUS;
            decision->val.set_status = 480;
        }
    }
    exports_hookswitch_policy_response_hook_summary_free(request);
    return is_done;
}
