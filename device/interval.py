"""How far a counted share may be from the true one: Wilson's score interval.

    share, how many it was counted on -> wilson -> its 95 % interval

Pure; the bin's figures and the trainer's reports say the same of the same counts. Right for few and for shares near 0
and 1 too, where the textbook's interval is not (Wilson 1927; Newcombe 1998).
"""

import math
from typing import Final

__all__ = ["Z95", "wilson"]

Z95: Final = 1.959963984540054
"""The normal distribution's 97.5 % point: two-sided 95 %."""


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share, 0..1.

    Args:
        share: 0..1.
        n: how many independent ones it was counted on, above 0; no whole number where some are alike.
    """
    z2 = Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # Exactly to the end where the formula says so, rounding aside.
    return 0.0 if share == 0.0 else middle - half, 1.0 if share == 1.0 else middle + half
