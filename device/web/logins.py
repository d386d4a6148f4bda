"""How often somebody may try to log in: a bucket for each address, and one for all.

    address, now -> Logins.wait_s -> 0, or the seconds to wait

The token cannot be guessed; what is saved here is the CPU that a wrong one costs. Memory is bounded whatever comes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["Logins"]

BURST: Final = 5
EACH_S: Final = 12.0
ALL_BURST: Final = 20
ALL_EACH_S: Final = 3.0
MOST_ADDRESSES: Final = 512


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


class Logins:
    """Counts tries."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(ALL_BURST, 0.0)

    def wait_s(self, address: str, now_s: float) -> float:
        """Count one try; 0 when it is allowed, else the seconds after which another one is.

        Args:
            address: of the client.
            now_s: monotonic seconds.
        """
        bucket = self._by_address.setdefault(address, _Bucket(BURST, now_s))
        self._by_address.move_to_end(address)
        if len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        for each, burst, period_s in ((bucket, BURST, EACH_S), (self._all, ALL_BURST, ALL_EACH_S)):
            each.left = min(float(burst), each.left + (now_s - each.at_s) / period_s)
            each.at_s = now_s
        if bucket.left < 1:
            return (1 - bucket.left) * EACH_S
        if self._all.left < 1:
            return (1 - self._all.left) * ALL_EACH_S
        bucket.left -= 1
        self._all.left -= 1
        return 0.0
