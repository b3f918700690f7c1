/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"
#include "complete.h"
#include "context.h"

/*
 * The line is split at blanks here, because COMP_WORDS splits at = and : as well; for the same reason what
 * bash holds to be done already is taken off the candidates again.
 */
static const char bash_script[] =
    "# bash completion of weft: weft itself says what fits\n"
    "_weft()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words word done candidate\n"
    "    read -ra words <<< \"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
    "    word=${words[${#words[@]}-1]}\n"
    "    done=\n"
    "    [[ $word == *[=:]* && $COMP_WORDBREAKS == *=* ]] && done=${word%\"${word##*[=:]}\"}\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r candidate; do\n"
    "        if [[ $candidate == " COMPLETE_FILES " ]]; then\n"
    "            compopt -o filenames 2> /dev/null\n"
    "            while IFS= read -r candidate; do\n"
    "                COMPREPLY+=(\"$candidate\")\n"
    "            done < <(compgen -f -- \"${word#\"$done\"}\")\n"
    "        else\n"
    "            COMPREPLY+=(\"${candidate#\"$done\"}\")\n"
    "        fi\n"
    "    done < <(\"${words[0]}\" " COMPLETE_COMMAND " \"${words[@]:1}\" 2> /dev/null)\n"
    "}\n"
    "complete -F _weft weft\n";

int cmd_completion(struct cli_context *context)
{
    fputs(bash_script, context->out);
    return WEFT_OK;
}
