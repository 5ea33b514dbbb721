"""Seeds that depend only on their purpose, not on what was drawn before.

The randomness of an epoch follows from (seed, epoch) alone. So a resumed run ends with the same
numbers as an uninterrupted one, and variants with the same seed see the same images in the same
order. Each stream has its own seed, so a model that draws more random numbers (for drop path, say)
does not change the order of the images.
"""

from __future__ import annotations

import numpy as np

STREAMS = ["weights", "order", "augmentation", "training"]


def derive_seed(seed: int, stream: str, *counters: int) -> int:
    """A 63-bit seed for one stream, such as ``derive_seed(0, "order", epoch)``."""
    words = np.random.SeedSequence([seed, STREAMS.index(stream), *counters]).generate_state(2)
    return (int(words[0]) << 31) ^ int(words[1])
