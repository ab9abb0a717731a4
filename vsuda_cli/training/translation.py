"""What CycleGAN and CUT share: networks from settings, schedule, whole volumes, validation."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vsuda_cli.config import TranslationSettings
from vsuda_cli.errors import VsudaError
from vsuda_cli.networks.contrast_curve import ContrastCurve
from vsuda_cli.networks.initialisation import initialise_normal
from vsuda_cli.networks.patch_discriminator import PatchDiscriminator, smallest_plane
from vsuda_cli.networks.resnet_generator import FIRST_BLOCK, ResnetGenerator
from vsuda_cli.training.data import Item
from vsuda_cli.training.precision import Network, autocast, made_fast
from vsuda_cli.training.translation_metric import sliced_wasserstein

VALIDATION_METRIC = ("validation_distance", False)
# Slices that a 2D generator translates at once.
SLICES_AT_ONCE = 8

TranslationNetwork = ResnetGenerator | ContrastCurve


def refuse_impossible(settings: TranslationSettings) -> None:
    """Raise VsudaError for patches and layers that these networks cannot have."""
    *plane, depth = settings.patch_size
    if (settings.dims == 2) != (depth == 1):
        raise VsudaError(
            f"patch_size = {list(settings.patch_size)}",
            f"is not of {settings.dims} dimensions",
            "give [X,Y,1] with --dims 2, more slices with --dims 3",
        )
    least = smallest_plane(settings.discriminator_layers)
    if settings.method != "curve" and min(plane) < least:
        raise VsudaError(
            f"patch_size = {list(settings.patch_size)}",
            "is smaller than what the discriminator judges",
            f"give at least [{least},{least},{depth}]",
        )
    if settings.method in ("cut", "fastcut"):
        layers, last = settings.nce_layers, FIRST_BLOCK + settings.residual_blocks - 1
        inside = all(0 <= layer <= last for layer in layers)
        if not layers or len(set(layers)) < len(layers) or not inside:
            raise VsudaError(
                f"nce_layers = {list(layers)}",
                f"are no different layers of the encoder, which are 0 to {last}",
                "give some of these",
            )


def build_generator(settings: TranslationSettings) -> ResnetGenerator:
    """Return a generator; CUT's and FastCUT's sample down and up without aliasing."""
    return ResnetGenerator(
        settings.dims,
        settings.base_channels,
        settings.residual_blocks,
        antialias=settings.method != "cyclegan",
    )


def build_translator(settings: TranslationSettings) -> TranslationNetwork:
    """Return what a run of these settings exports: a generator, or a curve."""
    if settings.method == "curve":
        return ContrastCurve(len(settings.structure_ranges))
    return build_generator(settings)


def build_discriminator(settings: TranslationSettings) -> PatchDiscriminator:
    """Return a discriminator of overlapping patches, anti-aliased as the generator is."""
    return PatchDiscriminator(
        settings.dims,
        settings.discriminator_channels,
        settings.discriminator_layers,
        antialias=settings.method != "cyclegan",
    )


def initialised(
    network: Network,
    generator: torch.Generator,
    device: torch.device,
    settings: TranslationSettings,
) -> Network:
    """Draw a network's initial weights from `generator` and bring it to the device."""
    initialise_normal(network, generator)
    return made_fast(network.to(device), settings)


def linear_rate(settings: TranslationSettings, epoch: int) -> float:
    """Return the learning rate of an epoch: constant, then linearly towards 0 (Zhu et al. 2017)."""
    past = epoch - (settings.epochs - settings.decay_epochs)
    share = 1.0 if past < 0 else 1 - (past + 1) / (settings.decay_epochs + 1)
    return settings.learning_rate * share


def side_by_side(network: torch.nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """Return a network's outputs for batches of one shape, in one pass.

    No image knows of the others, so they are those of several passes, to rounding, and of the
    kernels, which take a GPU longer to start than to run, there are fewer.
    """
    outputs: Tensor = network(torch.cat(batches))
    return outputs.chunk(len(batches))


def translate_volume(
    generator: TranslationNetwork, image: Tensor, device: torch.device, *, mixed: bool
) -> Tensor:
    """Return the translation (1, X, Y, Z) of an image (1, X, Y, Z); 2D networks go slice by slice.

    The generator has neither dropout nor running statistics, so its mode does not matter. `mixed`:
    as a run's `mixed_precision`, whose network is to calculate as it learnt.
    """
    with torch.no_grad(), autocast(device, mixed):
        return translate_stack(generator, image[None].to(device), SLICES_AT_ONCE)[0].float()


def as_slices(stack: Tensor) -> Tensor:
    """Return a stack (B, 1, X, Y, Z) as slices (B * Z, 1, X, Y)."""
    return stack.permute(0, 4, 1, 2, 3).flatten(0, 1)


def translate_stack(generator: TranslationNetwork, stack: Tensor, chunk: int) -> Tensor:
    """Translate a stack (B, 1, X, Y, Z), as a whole or, with a 2D network, slice by slice.

    While gradients are wanted, activations of `chunk` slices at once are recomputed in the backward
    pass instead of being kept, so that a whole region of interest fits in memory. A stack of one
    chunk keeps them: recomputing all at once would need as much.
    """
    if generator.dims == 3:
        volume: Tensor = generator(stack)
        return volume
    translated: list[Tensor] = []
    chunks = as_slices(stack).split(chunk)
    for slices in chunks:
        if torch.is_grad_enabled() and len(chunks) > 1:
            # No dropout: there is no random state to bring back.
            again = checkpoint(generator, slices, use_reentrant=False, preserve_rng_state=False)
            translated.append(again)
        else:
            translated.append(generator(slices))
    whole: Tensor = torch.cat(translated).unflatten(0, (len(stack), stack.shape[-1]))
    return whole.permute(0, 2, 3, 4, 1)


def validation_distance(
    generator: TranslationNetwork,
    source: list[Item],
    target: list[Item],
    device: torch.device,
    *,
    mixed: bool,
) -> dict[str, float]:
    """Return how far translated held-out sources are from held-out targets; smaller is better."""
    if not source or not target:
        return {}
    pseudo = [translate_volume(generator, item.image, device, mixed=mixed) for item in source]
    distance = sliced_wasserstein(pseudo, [item.image for item in target])
    return {VALIDATION_METRIC[0]: distance}
