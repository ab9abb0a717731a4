"""Predicting and translating by a cluster's workers: the bytes of one process."""

from pathlib import Path

from command_line import contents
from dask_site import site
from one_command import caller
from tiny_runs import save_images, segmenter_run, translator_run

from vsuda_cli.commands.predict import predict
from vsuda_cli.commands.translate_export import translate_export


def test_workers_load_the_runs_and_write_the_same_bytes(tmp_path: Path) -> None:
    images = tmp_path / "images"
    save_images(images, ["a_L", "b_R", "c_R"], (24, 20, 8), (0.9, 0.8, 1.6))
    segmenter_run(tmp_path / "run", epoch=4)
    translator_run(tmp_path / "translator", epoch=7)
    with site(workers=1) as started:
        cluster = ("--dask", started.scheduler_address)
        for command, run, more in (
            (predict, "run", ("--probabilities",)),
            (translate_export, "translator", ()),
        ):
            here, there = tmp_path / f"{run}-here", tmp_path / f"{run}-there"
            caller(command)(tmp_path / run, images, here, *more)
            result = caller(command)(tmp_path / run, images, there, *more, *cluster)
            assert result.exit_code == 0
            assert contents(there) == contents(here)
            assert sorted(result.stdout.split()) == sorted(map(str, there.iterdir()))
