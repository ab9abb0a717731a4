"""Patches drawn from cases, cut, turned and scaled in batches on the training device."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.config import Augmentation
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training import ranks
from vsuda_cli.training.data import Item

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """Where a patch lies: in which item, around which voxel, turned about z and scaled how."""

    item: int
    centre: tuple[float, ...]
    angle_radians: float = 0.0
    zoom: float = 1.0


class PatchSampler:
    """Draws patches from items, every item once before any comes again.

    Several processes draw the places of all their patches alike, and each cuts its own: together
    they see what one process with as large a batch sees.
    """

    def __init__(
        self,
        items: list[Item],
        patch_size: Size,
        batch_size: int,
        augmentation: Augmentation | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.items = items
        self.device = device
        self._patch_size = patch_size
        self._batch_size = batch_size
        self._augmentation = augmentation
        # Places are drawn on the CPU: no transfer back from the device to learn an index.
        self._generator = torch.Generator().manual_seed(seed)
        self._order: list[int] = []
        self._foreground = [_foreground_voxels(item.label) for item in items]

    def draw(self) -> tuple[Tensor, Tensor | None]:
        """Return images (B, 1, X, Y, Z) and labels (B, X, Y, Z), None if the items have none.

        Patches one voxel thick are slices: they come as (B, 1, X, Y) and (B, X, Y).
        """
        places = [self._place() for _ in range(self._batch_size * ranks.count())]
        places = places[ranks.own() * self._batch_size :][: self._batch_size]
        images = self._patches([self.items[place.item].image for place in places], places)
        labels = [self.items[place.item].label for place in places]
        maps = [label[None] for label in labels if label is not None]
        # Classes are small whole numbers, which floats hold exactly.
        label_batch = self._patches(maps, places)[:, 0].to(torch.uint8) if maps else None
        if self._patch_size[2] > 1:
            return images, label_batch
        return images[..., 0], None if label_batch is None else label_batch[..., 0]

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the order and the generator's state."""
        return {"order": list(self._order), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._order = list(state["order"])
        self._generator.set_state(state["generator"])

    def _place(self) -> Place:
        if not self._order:
            self._order = torch.randperm(len(self.items), generator=self._generator).tolist()
        index = self._order.pop()
        shape = self.items[index].image.shape
        centre = self._centre(index, (shape[1], shape[2], shape[3]))
        ranges = self._augmentation
        if ranges is None:
            return Place(index, centre)
        turn, stretch = (torch.rand(2, generator=self._generator) * 2 - 1).tolist()
        angle = math.radians(ranges.rotation_degrees) * turn
        return Place(index, centre, angle, 1 + ranges.scale * stretch)

    def _centre(self, index: int, size: Size) -> tuple[float, ...]:
        chance, *place = torch.rand(5, generator=self._generator).tolist()
        voxels = self._foreground[index]
        ranges = self._augmentation
        if voxels is not None and ranges is not None and chance < ranges.foreground:
            # The class is drawn first, so that a small cochlea is seen as often as a large tumour.
            of_class = voxels[int(place[0] * len(voxels))]
            centre = of_class[int(place[1] * len(of_class))].tolist()
            shift = torch.rand(3, generator=self._generator) - 0.5
            extent = torch.tensor(self._patch_size) * ranges.foreground_spread
            centre = (torch.tensor(centre) + (shift * extent).round()).tolist()
        else:
            centre = [place[i] * (n - 1) for i, n in enumerate(size)]
        return tuple(
            _inside(c, p, n) for c, p, n in zip(centre, self._patch_size, size, strict=True)
        )

    def _patches(self, volumes: list[Tensor], places: list[Place]) -> Tensor:
        """Return the patches (B, 1, X, Y, Z) of volumes (1, X, Y, Z) at their places."""
        near = [volume.to(self.device, non_blocking=True) for volume in volumes]
        if self._augmentation is None:
            starts = [corner(place.centre, self._patch_size) for place in places]
            return torch.stack(
                [cut(one, at, self._patch_size) for one, at in zip(near, starts, strict=True)]
            )
        box = box_size(self._patch_size, self._augmentation)
        starts = [corner(tuple(map(math.floor, place.centre)), box) for place in places]
        boxes = torch.stack([cut(one, at, box) for one, at in zip(near, starts, strict=True)])
        rows = [
            (
                *(c - s for c, s in zip(place.centre, start, strict=True)),
                place.angle_radians,
                place.zoom,
            )
            for place, start in zip(places, starts, strict=True)
        ]
        grids = patch_grids(torch.tensor(rows).to(self.device), self._patch_size, box)
        # Nearest neighbour for labels, which come as whole numbers.
        mode = "bilinear" if boxes.is_floating_point() else "nearest"
        return functional.grid_sample(boxes.float(), grids, mode=mode, align_corners=True)


class Batches:
    """Named patch samplers drawn from together: `labelled` gives `labelled`, `labelled_label`."""

    def __init__(self, samplers: dict[str, PatchSampler]) -> None:
        self._samplers = samplers
        self.device = next(iter(samplers.values())).device

    def draw(self) -> dict[str, Tensor]:
        """Return one training batch."""
        batch = {}
        for name, sampler in self._samplers.items():
            image, label = sampler.draw()
            batch[name] = image
            if label is not None:
                batch[f"{name}_label"] = label
        return batch

    def cases(self) -> int:
        """Return the number of cases of the largest sampler: one epoch's steps."""
        return max(len(sampler.items) for sampler in self._samplers.values())

    def case_ids(self) -> list[str]:
        """Return the case ids of all samplers' items, sorted."""
        return sorted({item.case for one in self._samplers.values() for item in one.items})

    def state_dict(self) -> dict[str, Any]:
        """Return every sampler's state."""
        return {name: sampler.state_dict() for name, sampler in self._samplers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name, sampler in self._samplers.items():
            sampler.load_state_dict(state[name])


def box_size(patch_size: Size, ranges: Augmentation) -> Size:
    """Return the voxels (odd numbers) that a patch may reach, however it is turned and scaled."""
    x, y, z = ((n - 1) / 2 for n in patch_size)
    sine = math.sin(math.radians(min(ranges.rotation_degrees, 90.0)))
    largest = 1 + ranges.scale
    reach = (largest * (x + sine * y), largest * (y + sine * x), z)
    width, depth, height = (2 * (math.ceil(n) + 1) + 1 for n in reach)
    return width, depth, height


def patch_grids(places: Tensor, patch_size: Size, box: Size) -> Tensor:
    """Return sampling grids (B, X, Y, Z, 3) for `grid_sample(align_corners=True)` on boxes.

    places: (B, 5) with the centre (x, y, z) in voxels of the box, the turn about the z axis in
    radians and the zoom. The in-plane spacing is the same along x and y, so a turn in voxels is one
    in mm; slices are neither turned nor scaled.
    """
    axes = [torch.arange(n, device=places.device) - (n - 1) / 2 for n in patch_size]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    centre, angle, zoom = places[:, :3], places[:, 3], places[:, 4]
    cos, sin = ((zoom * f(angle)).view(-1, 1, 1, 1) for f in (torch.cos, torch.sin))
    turned = torch.stack(
        (cos * x - sin * y, sin * x + cos * y, z.expand(len(places), -1, -1, -1)), -1
    )
    voxels = turned + centre.view(-1, 1, 1, 1, 3)
    extent = torch.tensor([n - 1 for n in box], device=places.device)
    # grid_sample wants the last array axis first, from -1 to 1.
    return (voxels / extent * 2 - 1).flip(-1)


def corner(centre: tuple[float, ...], size: Size) -> tuple[int, ...]:
    """Return the first voxel of a block of a size around a centre; it may lie outside."""
    return tuple(round(c - (n - 1) / 2) for c, n in zip(centre, size, strict=True))


def cut(volume: Tensor, start: tuple[int, ...], size: Size) -> Tensor:
    """Cut a block from (C, X, Y, Z), with zeros where it reaches over the border."""
    padding: list[int] = []
    slices = [slice(None)]
    for first, width, extent in zip(start, size, volume.shape[1:], strict=True):
        low = min(max(first, 0), extent)
        high = max(min(first + width, extent), low)
        before = min(max(-first, 0), width)
        slices.append(slice(low, high))
        padding = [before, width - before - (high - low), *padding]
    block = volume[tuple(slices)]
    return functional.pad(block, padding) if any(padding) else block


def _inside(centre: float, patch: int, size: int) -> float:
    """Move a patch's centre so that it lies inside; a patch larger than the volume is centred.

    The result is on the voxel grid: without a turn the patch is cut, not interpolated.
    """
    if patch >= size:
        start = -((patch - size) // 2)
    else:
        start = min(max(round(centre - (patch - 1) / 2), 0), size - patch)
    return start + (patch - 1) / 2


def _foreground_voxels(label: Tensor | None) -> list[Tensor] | None:
    """Return for each class that occurs the voxels (N, 3) it has, on the CPU."""
    if label is None:
        return None
    present = [int(value) for value in label.unique().tolist() if value not in (0, IGNORED)]
    voxels = [(label == value).nonzero().cpu() for value in present]
    return voxels or None
