"""One transform out of many uncertain ones: where most of them agree."""

from collections.abc import Sequence

import numpy as np

from vsuda_cli.images.geometry import Affine, Points, transform


def consensus(transforms: Sequence[Affine], points: Points) -> tuple[Affine, float]:
    """Return the affine transform (4x4) that most of several agree on, and how far they lie apart.

    Each transform (4x4) maps the points (n, 3), at least four that span a volume. The result maps
    them as nearly as it can, by least squares, to the median of their images along each axis, which
    fewer than half of the transforms cannot carry off. The second value is the median, over the
    transforms, of the mean distance of their images from the result's, in the unit of the points.
    """
    images = np.stack([transform(one, points) for one in transforms])
    homogeneous = np.column_stack([points, np.ones(len(points))])
    rows, *_ = np.linalg.lstsq(homogeneous, np.median(images, axis=0), rcond=None)
    agreed = np.vstack([rows.T, (0.0, 0.0, 0.0, 1.0)])
    distances = np.linalg.norm(images - transform(agreed, points), axis=-1).mean(axis=1)
    return agreed, float(np.median(distances))
