"""What a run tells about its epochs: metrics.jsonl, and TensorBoard where that is installed."""

import importlib.util
import json
from typing import TYPE_CHECKING

from vsuda_cli.io import atomic
from vsuda_cli.training.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = dict[str, float]


class Journal:
    """The rows of the epochs so far; every new one is written at once.

    metrics.jsonl is replaced as a whole, so that it never has half a line, and it holds nothing
    that depends on the clock: a run that was killed and resumed ends with the same bytes.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._board: SummaryWriter | None = None
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Write one epoch's row."""
        self.rows.append(row)
        lines = "".join(json.dumps(one) + "\n" for one in self.rows)
        atomic.write_text(self._run.metrics, lines)
        if importlib.util.find_spec("tensorboard") is not None:
            self._show(row)

    def _show(self, row: Row) -> None:
        from torch.utils.tensorboard import SummaryWriter

        epoch = int(row["epoch"])
        if self._board is None:
            # What a killed run showed of epochs that are done again is hidden.
            self._board = SummaryWriter(str(self._run.tensorboard), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, epoch)
        self._board.flush()

    def close(self) -> None:
        """Close what is open."""
        if self._board is not None:
            self._board.close()
            self._board = None
