"""Step time of every objective in our loop over a bare forward-backward-optimiser loop.

Run it by hand: `python tests/benchmarks/training.py [--device cuda] [--size small|paper]
[--precision bf16|fp32] [--compile] [--channels-last] [--no-graph] [--steps N] [--rounds N]
[--alone] [NAME...]`. Ours is `fit` itself: patches cut, turned and changed in intensity, losses
checked and logged, all but validation and saving; with `--alone` nothing else is measured. The bare
loop has the same networks, losses and optimisers on one batch that stays, and starts kernel by
kernel. Both take turns; the medians are compared. On one thread of a CPU its own time is measured,
so that other programs do not matter; on a GPU the wall clock. `hours` is the method's whole
schedule of that objective at the measured rate, with 185 training crops; it means something with
`--size paper`.
"""

import argparse
import gc
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli import config, resolving
from vsuda_cli.networks.patch_projector import draw_positions
from vsuda_cli.training import run as runs
from vsuda_cli.training.cut import Cut
from vsuda_cli.training.cutseg import CutSeg
from vsuda_cli.training.cyclegan import CycleGan
from vsuda_cli.training.data import Item, keep_near
from vsuda_cli.training.device import choose_algorithms, choose_device, peak_memory_gib
from vsuda_cli.training.engine import Objective, fit
from vsuda_cli.training.journal import Row
from vsuda_cli.training.mean_teacher import MeanTeacher
from vsuda_cli.training.patch_nce import mean_patch_nce
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.sampling import Batches, PatchSampler
from vsuda_cli.training.segmentation import Segmentation
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.training.translation import as_slices, translate_stack

CROPS = 185
Bare = Callable[[], None]
Batch = dict[str, Tensor]


class Clock:
    """Seconds for which the device was busy with us."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time()


class Steps:
    """A watcher that notes when each step ended."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.times = clock, [0.0]

    def begin(self, total_steps: int, done_steps: int) -> None:
        self.times = [self.clock.now()]

    def step(self, text: str) -> None:
        self.times.append(self.clock.now())

    def epoch(self, row: Row) -> None:
        pass

    def durations(self) -> list[float]:
        # The first step of a round has cold caches, on both sides.
        return [b - a for a, b in zip(self.times[1:], self.times[2:], strict=False)]


def main() -> None:
    """Print a row for each objective."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--no-graph", action="store_true", help="our steps kernel by kernel too")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without the bare loop")
    words = parser.parse_args()
    torch.set_num_threads(1)
    device = choose_device(words.device)
    choose_algorithms(device)
    how = {
        "mixed_precision": words.precision == "bf16",
        "compile_blocks": words.compile,
        "channels_last": words.channels_last,
        "cuda_graph": not words.no_graph,
    }
    print(f"{device}, size {words.size}, {how}")
    print("objective       ours ms   bare ms  ours/bare  steps/s  peak GiB   hours")
    for name in words.names or NAMES:
        ours, bare, settings = measure(
            name, words.size, how, device, words.steps, words.rounds, words.alone
        )
        rate = 1 / ours
        hours = settings.epochs * (settings.steps_per_epoch or CROPS) / rate / 3600
        print(
            f"{name:14} {1000 * ours:8.1f}  {1000 * bare:8.1f}  {ours / bare:9.3f}  {rate:7.2f}"
            f"  {peak_memory_gib(device):8.2f}  {hours:6.1f}",
            flush=True,
        )


def measure(
    name: str,
    size: str,
    how: dict[str, bool],
    device: torch.device,
    steps: int,
    rounds: int,
    alone: bool,
) -> tuple[float, float, config.Training]:
    """Return the seconds a step of ours, of the bare loop (NaN if not run), and the settings."""
    if device.type == "cuda":
        # What the objective before left in cycles holds memory, and its graphs.
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
    settings, objective, batches, bare = NAMES[name](size, how, device)
    clock = Clock(device)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            watcher = Steps(clock)
            run = runs.Run(Path(folder) / str(number))
            one_epoch = replace(settings, epochs=1, steps_per_epoch=steps + 1)
            runs.start(run, one_epoch, {"command": "benchmark"}, force=False)
            metric = ("none", True)
            fit(
                run,
                objective,
                batches,
                one_epoch,
                validate=dict,
                metadata={},
                metric=metric,
                watcher=watcher,
            )
            ours += watcher.durations()
            if alone:
                continue
            bare()
            for _ in range(steps):
                begin = clock.now()
                bare()
                theirs.append(clock.now() - begin)
    return median(ours), median(theirs) if theirs else math.nan, settings


# ---- what is trained on


def items(count: int, preset: str, labelled: bool, device: torch.device) -> list[Item]:
    """Return crops of the size of an ear's region, at the preset's spacing."""
    size = (190, 190, 40) if preset == "paper" else (90, 90, 40)
    source = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        label = torch.zeros(size, dtype=torch.uint8)
        label[30:50, 30:50, 10:20], label[60:66, 40:46, 15:18] = 1, 2
        image = torch.rand((1, *size), generator=source)
        made.append(Item(f"c{number}_R", image, label if labelled else None))
    return keep_near(made, device)


def settled(kind: type[config.Training], size: str, how: dict[str, bool], **own: object):
    """Return a preset's settings."""
    return resolving.resolve(kind, preset=size, values={**how, **own})


def adam(network: torch.nn.Module, rate: float = 2e-4) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))


def half_batch(sampler: PatchSampler) -> tuple[Tensor, Tensor]:
    images, labels = sampler.draw()
    return images, labels if labels is not None else torch.empty(0)


def dice_ce(network, images: Tensor, labels: Tensor) -> Tensor:
    """The segmentation and attention losses written out."""
    logits, maps = network.forward_with_attention(images)
    logits = logits.float()
    wanted = functional.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1)[:, 1:].float()
    found = logits.softmax(dim=1)[:, 1:]
    axes = (0, 2, 3, 4)
    dice = (2 * (found * wanted).sum(axes) + 1e-5) / (found.sum(axes) + wanted.sum(axes) + 1e-5)
    loss = 1 - dice.mean() + functional.cross_entropy(logits, labels.long())
    targets = network.attention_targets((labels > 0)[:, None].float())
    for a, b in zip(maps, targets, strict=True):
        a = a.float()
        loss = loss + (1 - (2 * (a * b).sum() + 1e-5) / (a.sum() + b.sum() + 1e-5)) / len(maps)
    return loss


# ---- the objectives, each with its bare loop


def segmentation(size: str, how: dict[str, bool], device: torch.device):
    settings = settled(config.SegmentationSettings, size, how)
    objective = Segmentation(settings, device)
    sampler = PatchSampler(
        items(6, size, True, device),
        settings.patch_size,
        settings.batch_size,
        settings.augmentation,
        0,
        device,
    )
    network = objective.network
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=1e-4)
    images, labels = half_batch(sampler)

    def bare() -> None:
        network.train()
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, settings.mixed_precision):
            loss = dice_ce(network, images, labels)
        loss.backward()
        optimiser.step()

    return settings, objective, Batches({"labelled": sampler}), bare


def mean_teacher(size: str, how: dict[str, bool], device: torch.device):
    settings = settled(config.MeanTeacherSettings, size, how)
    objective = MeanTeacher(settings, device)
    shape = (settings.patch_size, settings.batch_size, settings.augmentation)
    labelled = PatchSampler(items(6, size, True, device), *shape, 0, device)
    unlabelled = PatchSampler(items(6, size, False, device), *shape, 1, device)
    network, teacher = objective.network, objective.teacher
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=1e-4)
    images, labels = half_batch(labelled)
    real = unlabelled.draw()[0]

    def bare() -> None:
        network.train()
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, settings.mixed_precision):
            loss = dice_ce(network, images, labels)
            student = network(real).float().softmax(dim=1)
            with torch.no_grad():
                wanted = teacher(real).float().softmax(dim=1)
        (loss + (student - wanted).square().mean()).backward()
        optimiser.step()
        with torch.no_grad():
            for mean, value in zip(teacher.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 0.01)

    batches = Batches({"labelled": labelled, "unlabelled": unlabelled})
    return settings, objective, batches, bare


def slices_of(settings: config.TranslationSettings, size: str, device: torch.device) -> Batches:
    shape = (settings.patch_size, settings.batch_size, None)
    crops = items(6, size, False, device)
    return Batches(
        {
            "source": PatchSampler(crops, *shape, 0, device),
            "target": PatchSampler(crops, *shape, 1, device),
        }
    )


def real_or_fake(judge, real: Tensor, fake: Tensor) -> Tensor:
    return ((judge(real).float() - 1).square().mean() + judge(fake).float().square().mean()) / 2


def cyclegan(dims: int):
    def build(size: str, how: dict[str, bool], device: torch.device):
        settings = settled(config.TranslationSettings, size, how, method="cyclegan", dims=dims)
        objective = CycleGan(settings, device)
        batches = slices_of(settings, size, device)
        there, back = objective.to_target, objective.to_source
        judges = torch.nn.ModuleList([objective.judge_target, objective.judge_source])
        of_generators = adam(torch.nn.ModuleList([there, back]))
        of_judges = adam(judges)
        batch = batches.draw()
        a, b = batch["source"], batch["target"]

        def bare() -> None:
            of_generators.zero_grad(set_to_none=True)
            with autocast(device, settings.mixed_precision):
                fake_b, fake_a = there(a), back(b)
                judges.requires_grad_(False)
                loss = (judges[0](fake_b).float() - 1).square().mean()
                loss = loss + (judges[1](fake_a).float() - 1).square().mean()
                judges.requires_grad_(True)
                for found, wanted, weight in (
                    (back(fake_b), a, 20),
                    (there(fake_a), b, 20),
                    (there(b), b, 10),
                    (back(a), a, 10),
                ):
                    loss = loss + weight * functional.l1_loss(found.float(), wanted)
            loss.backward()
            of_generators.step()
            of_judges.zero_grad(set_to_none=True)
            with autocast(device, settings.mixed_precision):
                loss = real_or_fake(judges[0], b, fake_b.detach())
                loss = loss + real_or_fake(judges[1], a, fake_a.detach())
            loss.backward()
            of_judges.step()

        return settings, objective, batches, bare

    return build


def bare_cut(cut: Cut, settings: config.TranslationSettings, device: torch.device):
    """Return one bare step of CUT on slices (a, b); `more` adds losses to the generator's."""
    generator, judge, sampler = cut.generator, cut.discriminator, cut.patch_sampler
    of_generator = adam(torch.nn.ModuleList([generator, sampler]))
    of_judge = adam(judge)
    layers, source = settings.nce_layers, torch.Generator().manual_seed(0)

    def contrast(output: Tensor, keys: list[Tensor]) -> Tensor:
        queries = generator.encode(output, layers)
        sizes = [key[0, 0].numel() for key in keys]
        drawn = draw_positions(sizes, settings.nce_patches, source)
        positions = [where.to(output.device) for where in drawn]
        with torch.no_grad():
            wanted = sampler(keys, positions)
        return mean_patch_nce(sampler(queries, positions), wanted, settings.nce_temperature)

    def step(a: Tensor, b: Tensor, more: Callable[[], Tensor] | None = None) -> None:
        with autocast(device, settings.mixed_precision):
            fake, keys = generator.forward_with_features(a, layers)
            same, own_keys = generator.forward_with_features(b, layers)
            of_judge.zero_grad(set_to_none=True)
            real_or_fake(judge, b, fake.detach()).backward()
            of_judge.step()
            judge.requires_grad_(False)
            loss = (judge(fake).float() - 1).square().mean()
            judge.requires_grad_(True)
            loss = loss + contrast(fake, [key.detach() for key in keys]) / 2
            loss = loss + contrast(same, [key.detach() for key in own_keys]) / 2
            of_generator.zero_grad(set_to_none=True)
            if more is not None:
                loss = loss + more()
        loss.backward()
        of_generator.step()

    return step


def cut(size: str, how: dict[str, bool], device: torch.device):
    settings = settled(config.TranslationSettings, size, how, method="cut")
    objective = Cut(settings, device)
    batches = slices_of(settings, size, device)
    step = bare_cut(objective, settings, device)
    batch = batches.draw()
    return settings, objective, batches, lambda: step(batch["source"], batch["target"])


def cutseg(size: str, how: dict[str, bool], device: torch.device):
    settings = settled(config.CutSegSettings, size, how)
    translation = settled(config.TranslationSettings, size, how, method="cut")
    teacher = build_unet(settings.unet, len(settings.classes) + 1).to(device)
    objective = CutSeg(settings, translation, teacher, device)
    shape = (settings.patch_size, settings.batch_size, settings.augmentation)
    labelled = PatchSampler(items(6, size, True, device), *shape, 0, device)
    unlabelled = PatchSampler(items(6, size, False, device), *shape, 1, device)
    network = objective.segmentation.network
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=1e-4)
    step = bare_cut(objective.cut, translation, device)
    source, labels = half_batch(labelled)
    target = unlabelled.draw()[0]
    count = settings.gan_slices * settings.batch_size
    a, b = as_slices(source)[:count], as_slices(target)[:count]

    def segmented() -> Tensor:
        pseudo = translate_stack(objective.cut.generator, source, settings.slice_chunk)
        loss = dice_ce(network, pseudo.float(), labels)
        own = network(target).float().softmax(dim=1)
        with torch.no_grad():
            wanted = teacher(target).float().softmax(dim=1)
        return loss + (own - wanted).abs().mean()

    def bare() -> None:
        network.train()
        optimiser.zero_grad(set_to_none=True)
        step(a, b, segmented)
        optimiser.step()

    return settings, objective, Batches({"source": labelled, "target": unlabelled}), bare


NAMES: dict[
    str,
    Callable[
        [str, dict[str, bool], torch.device], tuple[config.Training, Objective, Batches, Bare]
    ],
] = {
    "cyclegan-2d": cyclegan(2),
    "cyclegan-3d": cyclegan(3),
    "cut": cut,
    "segmentation": segmentation,
    "mean-teacher": mean_teacher,
    "cutseg": cutseg,
}

if __name__ == "__main__":
    main()
