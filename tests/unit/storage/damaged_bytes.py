"""Bytes as a full disk or a failing one leaves them."""

from hypothesis import strategies as st


def damage(content: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert"])):
        case "cut":
            return content[:at]
        case "flip":
            return content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    return content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at:]
