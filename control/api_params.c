/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of requests, checked against what the table of methods says of them. */
#include <string.h>
#include <stdio.h>
#include "api_call.h"

static bool type_is(json_t *value, const char *type)
{
    switch (*type) {
    case 's':
        return json_is_string(value);
    case 'i':
        return json_is_integer(value);
    case 'b':
        return json_is_boolean(value);
    default:
        return json_is_object(value);
    }
}

bool api_params_check(struct api_call *call, const char *params)
{
    char copy[256], *rest = copy;
    const char *key;
    json_t *value, *known = json_object();
    snprintf(copy, sizeof(copy), "%s", params);
    for (char *word; call->outcome.code == WEFT_OK && (word = strsep(&rest, " "));) {
        char *type = strchr(word, ':');
        if (!type)
            continue;
        *type++ = '\0';
        json_object_set_new(known, word, json_true());
        value = json_object_get(call->params, word);
        if (!value && !strchr(type, '?'))
            outcome_fail(&call->outcome, WEFT_USAGE, "parameter %s is missing", word);
        else if (value && !type_is(value, type))
            outcome_fail(&call->outcome, WEFT_USAGE, "parameter %s must be a %.*s", word,
                         (int)strcspn(type, "?"), type);
    }
    json_object_foreach (call->params, key, value) {
        if (call->outcome.code == WEFT_OK && !json_object_get(known, key))
            outcome_fail(&call->outcome, WEFT_USAGE, "there is no parameter \"%.60s\" here", key);
    }
    json_decref(known);
    return call->outcome.code == WEFT_OK;
}

const char *api_string(const struct api_call *call, const char *name)
{
    return json_string_value(json_object_get(call->params, name));
}

int64_t api_integer(const struct api_call *call, const char *name, int64_t fallback)
{
    json_t *value = json_object_get(call->params, name);
    return value ? json_integer_value(value) : fallback;
}

bool api_bool(const struct api_call *call, const char *name)
{
    return json_is_true(json_object_get(call->params, name));
}
