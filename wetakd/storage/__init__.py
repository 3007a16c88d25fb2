"""What outlives a process: addresses, atomic commits and leases on any path or URI."""
