"""The winner, ready to ship."""

from wetakd.export.shipped_student import ShippedStudent, load_student

__all__ = ["ShippedStudent", "load_student"]
