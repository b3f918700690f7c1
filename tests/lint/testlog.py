#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""meson's testlog.json as lines "ok|fail|skip<TAB>suite:name<TAB>reason" for tests/run."""
import json
import sys

for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    test = json.loads(line)
    result = {"OK": "ok", "EXPECTEDFAIL": "ok", "SKIP": "skip"}.get(test["result"], "fail")
    output = (test.get("stdout") or "") + (test.get("stderr") or "")
    lines = [text for text in output.splitlines() if text.strip()]
    wanted = [text for text in lines if "skip" in text.lower()] or lines
    reason = wanted[-1].strip() if result == "skip" and wanted else ""
    print(result, test["name"].replace(" ", ""), reason, sep="\t")
