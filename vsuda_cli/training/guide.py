"""Translation that keeps structures in place: a segmenter's loss on the pseudo-images."""

import torch
from torch import Tensor

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.resnet_generator import ResnetGenerator
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.segmentation_loss import dice_and_cross_entropy
from vsuda_cli.training.translation import translate_stack


class Guide:
    """A frozen segmenter that must find the source's labels in what a generator makes of it.

    It should have seen many contrasts (a run with `curve_share` and `structure_share`): then it
    asks for nothing but a visible structure where the label is, whatever its grey.
    """

    def __init__(
        self, segmenter: UNet2d5, settings: TranslationSettings, device: torch.device
    ) -> None:
        self._segmenter = segmenter.requires_grad_(False).eval()
        self._settings = settings
        self._device = device

    def loss(self, generator: ResnetGenerator, stack: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted Dice and cross-entropy loss; its gradient reaches the generator.

        stack: source volumes (B, 1, X, Y, Z) in [0, 1]; labels: (B, X, Y, Z).
        """
        with autocast(self._device, self._settings.mixed_precision):
            pseudo = translate_stack(generator, stack, self._settings.slice_chunk)
            logits: Tensor = self._segmenter(pseudo)
        loss = dice_and_cross_entropy(logits.float(), labels.long())
        return self._settings.guide_weight * loss
