"""From bad to good: seen on white and on black, and told apart by people with colour-blindness."""

from __future__ import annotations

BAD, MIDDLE, GOOD = "#2f7fc1", "#9b8f86", "#e0701a"


def gain_colour(share: float) -> tuple[float, float, float, float]:
    """Red, green, blue, alpha; from bad, 0, to good, 1."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("gain", [BAD, MIDDLE, GOOD])
    red, green, blue, alpha = colours(share)
    return float(red), float(green), float(blue), float(alpha)
