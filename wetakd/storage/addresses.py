"""Where results are stored: the folder of each kind, by key."""

from __future__ import annotations


def network_address(key: str) -> str:
    """Where the network `key` lies on storage."""
    return f"networks/{key}"


def student_address(key: str) -> str:
    """Where the student `key` lies on storage."""
    return f"students/{key}"
