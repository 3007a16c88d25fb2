"""The cluster of the integration tests, for slow tests that need no other."""

from tests.integration.conftest import ray_cluster

__all__ = ["ray_cluster"]
