"""What a user is told when something is wrong: where, what, and what to do about it."""

import unicodedata

# The category of spaces that end no line; `isprintable` knows the ASCII one alone.
SPACE = "Zs"


class VsudaError(Exception):
    """An error that a user can act on; shown as one line, without a traceback.

    Raised for a single case inside a batch it ends that case (exit code 1); raised anywhere else
    it ends the command before anything is written (exit code 2).
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where = printable(where)
        self.problem = problem
        self.remedy = remedy
        super().__init__(self.where, problem, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.remedy}"

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Worker processes send their errors back by pickling them.
        return type(self), (self.where, self.problem, self.remedy)


class InterruptedRunError(Exception):
    """A signal asked for the end; all that must be kept has been saved (exit code 130)."""


def printable(name: object) -> str:
    """Return a name as one line: newlines and other control characters are escaped."""
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == SPACE else _escaped(c) for c in str(name)
    )


def counted(number: int, thing: str) -> str:
    """Return `1 case`, and of other numbers `2 cases`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def file_of(error: OSError, otherwise: str) -> str:
    """Return the file that an error is about: of one to be renamed, what it was to become."""
    return str(error.filename2 or error.filename or otherwise)
