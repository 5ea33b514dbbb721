"""Seeds that depend on what they are for and on nothing that happened before.

An epoch's randomness follows from (seed, epoch) alone, so a run that was killed and resumed sees
what one that was not would have seen, and variants of one seed see the same pictures in the same
order. Streams keep the data apart from the model: a variant that draws more (drop path, say) does
not shift its neighbour's pictures.
"""

from __future__ import annotations

import numpy as np

STREAMS = ["weights", "order", "augmentation", "training"]


def derive_seed(seed: int, stream: str, *counters: int) -> int:
    """A 63-bit seed for one stream at one place, such as ``derive(0, "order", epoch)``."""
    words = np.random.SeedSequence([seed, STREAMS.index(stream), *counters]).generate_state(2)
    return (int(words[0]) << 31) ^ int(words[1])
