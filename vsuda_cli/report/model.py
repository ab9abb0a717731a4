"""What a report shows, as plain data."""

from collections.abc import Mapping, Sequence
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
class Volumes:
    """What the viewer loads of a case: gzipped NIfTI files in base64, all on one grid.

    `reference` is empty where there is none. The viewer opens at `centre_mm` (RAS).
    """

    scan: str
    reference: str
    prediction: str
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Drawing:
    """The views of a case, and its structures' volumes in ml: the reference's, if there is one."""

    views: tuple[View, ...]
    volumes_ml: Mapping[str, float]
    volumes: Volumes | None = None


@dataclass(frozen=True)
class ReportCase:
    """One case: scores by column (`VS_Dice`; None where not defined), or why there are none.

    `group` is what the cases are grouped by, its site for one; empty without groups.
    """

    case: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    drawing: Drawing | None = None
    error: str = ""
    group: str = ""

    @property
    def failed(self) -> bool:
        """Whether the case could not be scored."""
        return bool(self.error)


@dataclass(frozen=True)
class Report:
    """A report's content.

    Cases' scores are looked up as `<structure>_<metric>`. `units` holds what follows a metric's
    name. With references the cases are shown worst first, otherwise by name. `foot` is shown as it
    is: command, versions, date. `viewer` is NiiVue's packed script, empty without a viewer.
    """

    title: str
    structures: Sequence[str]
    metrics: Sequence[str]
    cases: Sequence[ReportCase]
    foot: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    group_column: str = ""
    with_references: bool = True
    viewer: str = ""
