#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The programming socket says what its version says: beside DP_API_VERSION stands a sum of all else that the header declares
(structs, tables, numbers; not comments, layout or texts), so that nobody changes one without a look at the other.
"""
import hashlib
import re
import sys

HEADER = "dataplane/api/dataplane_api.h"
VERSION = re.compile(r"#define DP_API_VERSION +(\d+)u(?: +/\* of ([0-9a-f]{8}):)?.*\n")


def declared(text):
    """What matters: without comments, texts and the version; white space only where it parts words."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", VERSION.sub("\n", text), flags=re.S)
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text).replace("\\\n", " ")
    return re.sub(r"\s*([^\w\s])\s*", r"\1", " ".join(text.split()))


def main():
    with open(HEADER, encoding="utf-8") as header:
        text = header.read()
    version, noted = VERSION.search(text).groups()
    found = hashlib.sha256(declared(text).encode()).hexdigest()[:8]
    if noted == found:
        return 0
    print(f"{HEADER}: not what version {version} was ({noted}); count DP_API_VERSION up, unless it was counted up since\n"
          f"what runs elsewhere, and write: #define DP_API_VERSION Nu /* of {found}: tests/lint/api.py */")
    return 1


sys.exit(main())
