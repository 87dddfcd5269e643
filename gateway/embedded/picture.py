"""A picture of latency against offered load, as SVG."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from gateway.embedded.latency import Point

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 40, 50
_LINES: Final[tuple[tuple[str, str, Callable[[Point], float]], ...]] = (
    ("p50", "#2b7a3d", lambda point: point.p50),
    ("p99", "#b36b00", lambda point: point.p99),
    ("p99.9", "#b3261e", lambda point: point.p999),
)
_STYLE: Final = "font: 13px sans-serif"


def latency(points: Sequence[Point], title: str) -> str:
    """Calls a second to the right, milliseconds upwards on a scale of powers of ten."""
    most = max(point.offered for point in points)
    top = math.ceil(math.log10(max(point.p999 for point in points)))

    def x(offered: float) -> float:
        return _LEFT + offered / most * (_WIDTH - _LEFT - _RIGHT)

    def y(milliseconds: float) -> float:
        share = math.log10(max(0.1, milliseconds) / 0.1) / (top + 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [*_grid(points, x, y, top), _text(_LEFT, 22, title)]
    for number, (name, colour, of) in enumerate(_LINES):
        places = " ".join(f"{x(one.offered):.1f},{y(of(one)):.1f}" for one in points)
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(_text(_LEFT + 14 + 60 * number, _TOP + 14, name, colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    ground = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _grid(
    points: Sequence[Point],
    x: Callable[[float], float],
    y: Callable[[float], float],
    top: int,
) -> list[str]:
    parts = []
    for power in range(-1, top + 1):
        height = y(10.0**power)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="#dddddd"/>'
        )
        parts.append(_text(8, height + 4, f"{10.0**power:g} ms"))
    for point in points:
        told = f"{point.offered:,.0f}"
        parts.append(_text(x(point.offered) - 14, _HEIGHT - _BOTTOM + 20, told))
    parts.append(_text(_WIDTH // 2 - 60, _HEIGHT - 8, "verify calls a second"))
    return parts


def _text(x: float, y: float, text: str, colour: str = "#333333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" style="{_STYLE}" fill="{colour}">{text}</text>'
    )
