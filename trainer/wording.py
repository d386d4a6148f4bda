"""Wording: figures -> the few characters that a person needs. Pure; shared by page and card."""

from trainer.stats import Share

__all__ = [
    "NOT_MEASURED",
    "bytes_text",
    "count_text",
    "interval_text",
    "ms_text",
    "p_text",
    "percent_text",
    "share_text",
]

NOT_MEASURED = "not measured"


def share_text(share: Share | None) -> str:
    """89.3 % (85.9-92.0), n = 402."""
    if share is None:
        return NOT_MEASURED
    return f"{100 * share.accuracy:.1f} % ({interval_text(share)}), n = {share.pictures}"


def interval_text(share: Share) -> str:
    """85.9-92.0, the 95 % interval in per cent."""
    return f"{100 * share.low:.1f}\N{EN DASH}{100 * share.high:.1f}"


def bytes_text(size: int | None) -> str:
    """0.329 MB, three digits; a megabyte is a million bytes, as in the brief."""
    if size is None:
        return NOT_MEASURED
    return f"{_digits(size / 1e6)} MB" if size >= 10_000 else f"{size:,} bytes"


def ms_text(value: float | None) -> str:
    """2.42, three digits."""
    return "" if value is None else _digits(value)


def count_text(value: float) -> str:
    """82.1 million."""
    return f"{_digits(value / 1e6)} million"


def percent_text(value: float | None, digits: int = 1) -> str:
    """89.3 %; nothing for None."""
    return "" if value is None else f"{100 * value:.{digits}f} %"


def p_text(p: float) -> str:
    """A chance, to the digits that matter."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _digits(value: float) -> str:
    """Three digits, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
