#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tests that docs/nat.md names exist, in the tests that it names them of.

`suite`: `function`, `function`; `suite`: ... in the last column of a table; a function is one of
tests/unit/SUITE_test.c, and runs there. A suite alone is a unit test, a fuzz target or a smoke test; one with _xdp is
the same file run over AF_XDP.
"""
import os
import re
import sys

DOCUMENT = "docs/nat.md"


def source(suite):
    path = f"tests/unit/{suite}_test.c"
    return open(path, encoding="utf-8").read() if os.path.exists(path) else None


def suite_exists(suite):
    plain = suite.replace("_xdp", "")
    return source(suite) is not None or any(os.path.exists(path) for path in (
        f"tests/fuzz/{suite}.c", f"tests/smoke/{plain}.py", f"tests/smoke/{plain}_test.py", f"tests/smoke/{suite}.sh"))


def unknown(cell):
    """Names of a cell that are not there."""
    for part in cell.split(";"):
        names = re.findall(r"`(\w+)`", part)
        if not re.match(r"\s*`\w+`:", part):
            yield from (name for name in names if not suite_exists(name))
            continue
        text = source(names[0])
        if text is None:
            yield names[0]
            continue
        for name in names[1:]:
            if not re.search(rf"void {name}\(void \*\*", text) or not re.search(rf"\w\({name}\)", text):
                yield f"{names[0]}: {name}"


def main():
    status = 0
    for number, line in enumerate(open(DOCUMENT, encoding="utf-8"), 1):
        cells = line.strip().strip("|").split(" |")
        if not line.startswith("| ") or "`" not in cells[-1]:
            continue
        for name in unknown(cells[-1]):
            print(f"{DOCUMENT}:{number}: no test {name}")
            status = 1
    sys.exit(status)


main()
