"""The parts of `benchmarks.kills`: platform, clients, receivers, killer, collector, checker."""
