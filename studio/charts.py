"""Small charts as SVG geometry, computed here so that a page needs no script to show them."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 100.0
HEIGHT = 30.0
PAD = 3.0


@dataclass(frozen=True, slots=True)
class Spark:
    """A line over a box of 100 × 30: `points` for the line, `area` for the ground under it."""

    points: str
    area: str
    last_x: float
    last_y: float
    range_y: float | None
    range_height: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a bar chart over a box of 100 × 30."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int
    bad_y: float
    bad_height: float


def spark(
    values: Sequence[float], *, low: float | None = None, high: float | None = None
) -> Spark | None:
    """Return the line through `values`, oldest first, with the reference range; None below two."""
    if len(values) < 2:
        return None
    known = [*values, *(bound for bound in (low, high) if bound is not None)]
    least, most = min(known), max(known)
    spread = (most - least) or 1.0

    def height_of(value: float) -> float:
        return round(HEIGHT - PAD - (value - least) / spread * (HEIGHT - 2 * PAD), 2)

    step = (WIDTH - 2 * PAD) / (len(values) - 1)
    spots = [(round(PAD + index * step, 2), height_of(v)) for index, v in enumerate(values)]
    line = " ".join(f"{x},{y}" for x, y in spots)
    top = height_of(high if high is not None else most)
    bottom = height_of(low if low is not None else least)
    ranged = low is not None or high is not None
    return Spark(
        points=line,
        area=f"{spots[0][0]},{HEIGHT} {line} {spots[-1][0]},{HEIGHT}",
        last_x=spots[-1][0],
        last_y=spots[-1][1],
        range_y=top if ranged else None,
        range_height=max(bottom - top, 0.5) if ranged else None,
    )


def bars(rows: Sequence[tuple[str, int, int]]) -> list[Bar]:
    """Return one bar for each `(label, total, failed)`; the failed part stands at the foot."""
    if not rows:
        return []
    most = max(total for _, total, _ in rows) or 1
    slot = WIDTH / len(rows)
    result = []
    for index, (label, total, failed) in enumerate(rows):
        height = round(total / most * (HEIGHT - 1), 2)
        bad = round(failed / most * (HEIGHT - 1), 2)
        result.append(
            Bar(
                x=round(index * slot + slot * 0.14, 2),
                y=round(HEIGHT - height, 2),
                width=round(slot * 0.72, 2),
                height=height,
                label=label,
                value=total,
                bad_y=round(HEIGHT - bad, 2),
                bad_height=bad,
            )
        )
    return result
