"""Steps that a CUDA graph can hold: on the device alone, and without a look at any value.

Without a GPU, torch's device `meta` tells: its tensors have no values, and those of others do not
mix with them.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from no_values import META, NothingFromTheHost
from tiny_networks import GENERATORS, UNET
from torch import Tensor, nn

from vsuda_cli import config, resolving
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.cut import Cut
from vsuda_cli.training.cutseg import CutSeg
from vsuda_cli.training.cyclegan import CycleGan
from vsuda_cli.training.guide import Guide
from vsuda_cli.training.mean_teacher import MeanTeacher
from vsuda_cli.training.segmentation import Segmentation
from vsuda_cli.training.segmenter import build_unet

CPU = torch.device("cpu")
# Whatever a step can be asked for.
VARIED: dict[str, Any] = {
    "mirror_share": 0.5,
    "curve_share": 0.5,
    "structure_share": 0.5,
    "structure_ranges": ((0.3, 0.7), (0.75, 1.0)),
    "structure_factors": ((0.5, 2.0), (0.5, 1.0)),
    "augmentation": config.Augmentation(blur=1.0),
}


def stack(seed: int) -> Tensor:
    return torch.rand((2, 1, 16, 16, 8), generator=torch.Generator().manual_seed(seed))


def label(known: int = 16) -> Tensor:
    drawn = torch.zeros((2, 16, 16, 8), dtype=torch.uint8)
    drawn[:, 2:8, 2:8], drawn[:, 10:14, 8:14] = 1, 2
    drawn[:, known:] = IGNORED
    return drawn


def translation(method: str, **own: Any) -> config.TranslationSettings:
    values = {**GENERATORS, "slice_chunk": 3, "method": method, **own}
    return resolving.resolve(config.TranslationSettings, preset="paper", values=values)


def segmenting(kind: type[config.Training], **own: Any) -> Any:
    return kind(epochs=4, unet=UNET, **own)


def slices(seed: int) -> Tensor:
    return stack(seed)[..., 0]


def cyclegan(dims: int, **own: Any) -> tuple[Any, dict[str, Tensor]]:
    settings = translation("cyclegan", dims=dims, **own)
    objective = CycleGan(settings, CPU)
    pair = stack if dims == 3 else slices
    batch = {"source": pair(0), "target": pair(1)}
    if dims == 2:
        objective.guide = Guide(build_unet(UNET, 3), settings, CPU)
        batch |= {"stack": stack(2), "stack_label": label()}
    return objective, batch


def cut(**own: Any) -> tuple[Any, dict[str, Tensor]]:
    return Cut(translation("cut", **own), CPU), {"source": slices(0), "target": slices(1)}


def segmentation(**own: Any) -> tuple[Any, dict[str, Tensor]]:
    objective = Segmentation(segmenting(config.SegmentationSettings, **VARIED, **own), CPU)
    return objective, {"labelled": stack(0), "labelled_label": label()}


def mean_teacher(**own: Any) -> tuple[Any, dict[str, Tensor]]:
    objective = MeanTeacher(segmenting(config.MeanTeacherSettings, **VARIED, **own), CPU)
    objective.lesions = [1]
    batch = {"labelled": stack(0), "labelled_label": label(), "unlabelled": stack(1)}
    grafted = {"grafted": stack(2), "grafted_label": label()}
    return objective, {**batch, **grafted, "pseudo": stack(3), "pseudo_label": label(known=8)}


def cutseg(**own: Any) -> tuple[Any, dict[str, Tensor]]:
    settings = segmenting(config.CutSegSettings, gan_slices=2, slice_chunk=3, **VARIED, **own)
    objective = CutSeg(settings, translation("cut"), build_unet(UNET, 3), CPU)
    objective.segmentation.lesions = [1]
    batch = {"source": stack(0), "source_label": label(), "target": stack(1)}
    grafted = {"grafted": stack(2), "grafted_label": label()}
    return objective, {**batch, "target_label": label(known=8), **grafted}


MAKERS: dict[str, Callable[..., tuple[Any, dict[str, Tensor]]]] = {
    "cyclegan-2d": lambda **own: cyclegan(2, **own),
    "cyclegan-3d": lambda **own: cyclegan(3, **own),
    "cut": cut,
    "fastcut": lambda **own: cut(flip_equivariance=True, nce_identity=False, **own),
    "segmentation": segmentation,
    "mean-teacher": mean_teacher,
    "cutseg": cutseg,
}


def moved(value: Any, seen: set[int]) -> Any:
    """Return a value whose tensors, networks' and others, have no values any more."""
    if isinstance(value, Tensor | nn.Module):
        return value.to(META)
    if isinstance(value, dict):
        return {name: moved(one, seen) for name, one in value.items()}
    if type(value).__module__.startswith("vsuda_cli.training") and id(value) not in seen:
        seen.add(id(value))
        for name, one in vars(value).items():
            value.__dict__[name] = moved(one, seen)
    return value


@pytest.mark.parametrize("own", [{}, {"accumulate": 2, "gradient_clip": 1.0}])
@pytest.mark.parametrize("name", MAKERS)
def test_a_step_stays_on_its_device_and_looks_at_no_value(
    name: str, own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else optimisers would go on with the parameters that there were before.
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)
    objective, batch = MAKERS[name](**own)
    learn, steps = objective._step._learn, []

    def on_meta(given: Any, draws: Any, *constants: Any) -> dict[str, Tensor]:
        given, draws = moved(given, set()), moved(draws, set())
        # The first step makes the optimisers' state, before anything is recorded.
        with NothingFromTheHost() if steps else nullcontext():
            losses = learn(given, draws, *constants)
        assert {loss.device for loss in losses.values()} == {META}
        steps.append(losses)
        return losses

    objective._step = on_meta
    objective.set_epoch(1)
    moved(objective, set())
    objective.update(batch)
    objective.update(batch)
    assert len(steps) == 2
