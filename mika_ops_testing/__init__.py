"""Builders, fakes and servers that the tests and the benchmarks share; ``conformance`` is public, for hosts."""
