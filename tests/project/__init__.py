"""Tests of what is not in one module: documentation, packaging, container and cluster files, benchmarks, and the rules
that all modules follow."""
