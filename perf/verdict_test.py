#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What perf/compare says of two builds, given the ratios of their pairs."""
import importlib.machinery
import importlib.util
import os

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare")
loader = importlib.machinery.SourceFileLoader("compare", path)
compare = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
loader.exec_module(compare)

for ratios, word in (
        ([0.9] * 6, "slower"), ([1.1] * 6, "faster"), ([0.9] * 8 + [1.1], "slower"), ([1.1] * 9 + [0.5], "faster"),
        ([0.9] * 5, "same"),  # five pairs are never enough
        ([0.9] * 6 + [1.1] * 2, "same"), ([0.5, 1.1] * 4, "same"), ([1.0] * 8, "same"),
        ([0.995] * 20, "same"),  # certain, and of no weight
        ([1.2] * 5 + [0.99] * 5, "same")):
    assert compare.verdict(ratios)[0] == word, (ratios, word, compare.verdict(ratios))
assert compare.sign_test([]) == 1 and abs(compare.sign_test([2] * 6) - 2 / 64) < 1e-12
