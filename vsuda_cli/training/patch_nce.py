"""The patch-wise contrastive loss of CUT (Park et al. 2020, equation 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each patch of the output at its place in the input.

    queries, keys: (B, P, width) unit vectors of the same P positions. The positive of a query is
    the key at its own position, the negatives are the other keys of the same image; images of the
    batch never meet. No gradient flows into the keys.
    """
    logits = torch.bmm(queries.float(), keys.detach().float().transpose(1, 2)) / temperature
    own = torch.arange(queries.shape[1], device=queries.device).expand(queries.shape[0], -1)
    return functional.cross_entropy(logits.flatten(0, 1), own.flatten())


def mean_patch_nce(queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean of `patch_nce` over feature maps."""
    losses = [patch_nce(q, k, temperature) for q, k in zip(queries, keys, strict=True)]
    return torch.stack(losses).mean()
