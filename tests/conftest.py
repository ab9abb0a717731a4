"""All tests run on one thread: small arrays, and results that do not depend on the machine."""

import torch

torch.set_num_threads(1)
