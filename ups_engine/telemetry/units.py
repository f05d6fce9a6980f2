"""Sizes in words."""


def human_bytes(count: int) -> str:
    """A size in binary units with three figures: `1.50 GiB`."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 5)
    value = count / 1024**power
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {' KMGTP'[power]}iB"
