"""Benchmarks: ratios in one run, interleaved, behind a check that both sides compute the same."""
