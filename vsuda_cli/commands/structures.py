"""Names of the structures that labels stand for, as `--classes` gives them."""

from vsuda_cli.config import CLASSES
from vsuda_cli.errors import VsudaError


def parse_classes(text: str | None, option: str = "--classes") -> tuple[str, ...]:
    """Return the names of labels 1, 2, ...; the challenge's when `text` is None.

    Raises VsudaError for empty or repeated names.
    """
    if text is None:
        return CLASSES
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise VsudaError(f"{option} {text}", "is no list of different names", "write VS,cochlea")
    return names
