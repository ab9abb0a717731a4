"""A step as a recorded graph: what it is given, when it is recorded anew, and on a GPU the same."""

import dataclasses
from typing import Any

import pytest
import torch
from tiny_networks import UNET
from torch import Tensor

from vsuda_cli.config import MeanTeacherSettings, SegmentationSettings, Training
from vsuda_cli.errors import VsudaError
from vsuda_cli.training.mean_teacher import MeanTeacher
from vsuda_cli.training.segmentation import Segmentation
from vsuda_cli.training.step_graph import WARM_UP, StepGraph

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def learn(batch: dict[str, Tensor], draws: dict[str, Tensor], factor: int) -> dict[str, Tensor]:
    return {"loss": factor * batch["image"].index_select(0, draws["place"])[0]}


def test_on_a_cpu_the_step_is_taken_as_it_is() -> None:
    step = StepGraph(learn, Training(), torch.device("cpu"))
    given = {"image": torch.arange(5.0)}
    assert [float(step(given, {"place": torch.tensor([n])}, 10)["loss"]) for n in range(5)] == [
        0,
        10,
        20,
        30,
        40,
    ]


def volumes(device: torch.device) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(1)
    image = torch.rand((2, 1, 16, 16, 8), generator=source)
    label = (image[:, 0] > 0.5).to(torch.uint8)
    given = {"labelled": image, "labelled_label": label, "unlabelled": 1 - image}
    return {name: value.to(device) for name, value in given.items()}


@needs_gpu
@pytest.mark.parametrize("kind", [SegmentationSettings, MeanTeacherSettings])
def test_on_a_gpu_a_graph_learns_what_kernel_by_kernel_learns(
    kind: type[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, found, recordings = torch.device("cuda"), [], []
    record = StepGraph._record

    def counted(self: StepGraph, *given: Any) -> Any:
        recordings.append(given)
        return record(self, *given)

    monkeypatch.setattr(StepGraph, "_record", counted)
    make = Segmentation if kind is SegmentationSettings else MeanTeacher
    for graph in (False, True):
        settings = kind(epochs=4, unet=UNET, cuda_graph=graph, mixed_precision=False)
        objective = make(settings, device)
        losses = []
        for epoch in range(3):
            objective.set_epoch(epoch)
            for _ in range(WARM_UP + 2):
                told = objective.update(volumes(device))
                losses.append([float(value) for value in told.values()])
        found.append(torch.tensor(losses))
    torch.testing.assert_close(found[1], found[0], rtol=1e-2, atol=1e-3)
    # Its learning rate and its weights change from epoch to epoch without another recording.
    assert len(recordings) == 1
    # They fall: the graph learns.
    assert found[1][-1].sum() < found[1][0].sum()


@needs_gpu
def test_on_a_gpu_draws_and_constants_reach_the_graph() -> None:
    device = torch.device("cuda")
    step = StepGraph(learn, Training(), device)
    given = {"image": torch.arange(8.0, device=device)}
    for factor in (10, 3):
        for place in range(8):
            told = step(given, {"place": torch.tensor([place])}, factor)
            assert float(told["loss"]) == factor * place


@needs_gpu
def test_on_a_gpu_what_cannot_be_recorded_says_how_to_go_on() -> None:
    def looks(batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": batch["image"] * float(batch["image"].sum())}

    device = torch.device("cuda")
    step = StepGraph(looks, Training(), device)
    given = {"image": torch.ones(2, device=device)}
    for _ in range(WARM_UP):
        step(given, {})
    with pytest.raises(VsudaError, match="cuda_graph=false"):
        step(given, {})
    still = StepGraph(looks, dataclasses.replace(Training(), cuda_graph=False), device)
    assert [float(still(given, {})["loss"].sum()) for _ in range(5)] == [4] * 5
