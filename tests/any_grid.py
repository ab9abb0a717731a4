"""Any rigid voxel grid, for tests of geometry."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation


@st.composite
def rigid_affines(draw):
    """RAS, LPS, permuted, oblique, anisotropic, off centre: 4x4, voxel index to RAS mm."""
    axes = np.eye(3)[list(draw(st.permutations(range(3))))]
    signs = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    angles = draw(st.tuples(*[st.floats(-40, 40)] * 3))
    spacing = np.array(draw(st.tuples(*[st.floats(0.3, 4)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes @ signs
    affine[:3, :3] *= spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    return affine
