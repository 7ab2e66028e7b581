"""Numbers and tables as Markdown. What is undefined is shown as -."""

from __future__ import annotations

from collections.abc import Sequence

from scarnode.evaluation import statistics as st


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table and an empty line."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(header), *lines[1:], ""]


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Return a number, or - where undefined; no minus before zero."""
    if value is None:
        return "-"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as whole percent."""
    return "-" if value is None else f"{100 * value:.0f} %"


def share(found: st.Estimate, count: int, of: int) -> str:
    """Return a share of counts with its interval, percent."""
    if found.value is None or found.low is None or found.high is None:
        return f"- ({count}/{of})"
    low, high = (f"{100 * bound:.1f}" for bound in (found.low, found.high))
    return f"{100 * found.value:.1f} % ({count}/{of}; {low} to {high})"


def interval(found: st.Estimate, digits: int, sign: bool = False) -> str:
    """Return a number and its interval."""
    if found.value is None or found.low is None:
        return number(found.value, digits, sign)
    low, high = (number(bound, digits, sign) for bound in (found.low, found.high))
    return f"{number(found.value, digits, sign)} ({low} to {high})"


def mean_sd(spread: st.Spread, digits: int = 2) -> str:
    """Mean ± SD."""
    return "-" if spread.mean is None else f"{number(spread.mean, digits)} ± {number(spread.sd, digits)}"


def slope_and_r(agreement: st.Agreement) -> str:
    """Slope through the origin with its interval, and r in brackets, as the publication prints them.

    Of fewer than four patients the slope alone.
    """
    slope = agreement.origin.slope
    if agreement.n < 4:
        return number(slope.value, 2)
    return f"{interval(slope, 2)} [{number(agreement.pearson.value, 2)}]"


def p_value(test: st.Test) -> str:
    """Return p to three digits, or that it is below .001."""
    if test.p is None:
        return "p -"
    return "p < .001" if test.p < 0.001 else f"p = {test.p:.3f}".replace("0.", ".")


def outcome(test: st.Test, symbol: str) -> str:
    """Return a test's statistic, degrees of freedom and p."""
    if test.statistic is None:
        return f"{symbol} -"
    free = "" if test.degrees_of_freedom is None else f", df {test.degrees_of_freedom:.4g}"
    return f"{symbol} = {number(test.statistic, 2)}{free}, {p_value(test)}"
