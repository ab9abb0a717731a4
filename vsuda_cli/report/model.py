"""What a report shows, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slice:
    """One slice: a grey picture and the outlines over it.

    Outlines are SVG path data in millimetres from the picture's upper left corner. `png` is
    base64, empty where no scan is shown; `place` tells where the slice lies, for a reader.
    """

    width_mm: float
    height_mm: float
    place: str
    png: str
    reference: str
    prediction: str


@dataclass(frozen=True)
class View:
    """A stack of parallel slices through one structure; the slice at `start` is shown first."""

    structure: str
    orientation: str
    slices: tuple[Slice, ...]
    start: int


@dataclass(frozen=True)
class Drawing:
    """The views of a case, and its structures' reference volumes in ml."""

    views: tuple[View, ...]
    reference_ml: Mapping[str, float]


@dataclass(frozen=True)
class ReportCase:
    """One case: scores by column (`VS_Dice`; None where not defined), or why there are none."""

    case: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    drawing: Drawing | None = None
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether the case could not be scored."""
        return bool(self.error)
