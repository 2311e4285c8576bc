"""Quantities as text for log lines and errors."""


def format_megabytes(num_bytes: int) -> str:
    """A size, such as `12.3 MB` (10⁶ bytes)."""
    return f"{num_bytes / 1e6:,.1f} MB"


def format_duration(seconds: float) -> str:
    """A duration, such as `40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86400:,.1f} days"


def format_flops(flops_per_second: float) -> str:
    """A rate of arithmetic, such as `380 GFLOP/s`."""
    if flops_per_second >= 1e13:
        return f"{flops_per_second / 1e12:,.0f} TFLOP/s"
    return f"{flops_per_second / 1e9:,.0f} GFLOP/s"
