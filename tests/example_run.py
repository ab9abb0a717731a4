"""The files of a made-up training run."""

import json
from pathlib import Path

from PIL import Image


def a_run(folder: Path, epochs: int) -> Path:
    """Write a run of so many epochs into a folder and return it."""
    (folder / "samples").mkdir(parents=True)
    rows = [
        {"epoch": n, "dice": 1 / n, "learning_rate": 0.1**n, "VS_Dice": 1 - 1 / n}
        for n in range(1, epochs + 1)
    ]
    for row in rows:
        Image.new("L", (4, 3), row["epoch"]).save(
            folder / "samples" / f"epoch-{row['epoch']:04d}.png"
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    provenance = {"command": "seg-train", "data": {"labelled": "abc"}, "arguments": ["<b>"]}
    (folder / "run.json").write_text(json.dumps(provenance))
    (folder / "config.toml").write_text(f"epochs = {epochs}\n[augmentation]\nnoise = 0.1\n")
    best = {"epoch": epochs, "metric": "VS_Dice", "value": 0.75}
    (folder / "best.json").write_text(json.dumps(best))
    return folder
