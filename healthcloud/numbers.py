"""Numbers that people and clients write."""


def number_of(text: str) -> int | None:
    """Return what at most nine digits say; None for anything else.

    Of more digits Python refuses to make a number, and columns hold none; `²` is a digit, too.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
