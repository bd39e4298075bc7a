"""What `make peers` runs: the test suites of the peers, with lazyguard in the peers' place."""
