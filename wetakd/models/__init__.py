"""Networks: architectures, building them by name, checks, cost and latency."""
