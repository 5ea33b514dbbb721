"""Real pictures behind one interface: ``load(DataConfig) -> Pictures``, then batches of them."""

from __future__ import annotations

from functools import lru_cache

from ablations.config import DataConfig
from ablations.data.base import DataError, Pictures, Split

__all__ = ["DataError", "Pictures", "Split", "load"]


def load(data: DataConfig) -> Pictures:
    """The pictures that ``data`` names; read once a process.

    Raises:
        DataError: They are missing, broken, or fewer than a batch.
    """
    pictures = _load(data.name, data.root)
    if data.batch_size > len(pictures.train):
        raise DataError(
            f"data.batch_size {data.batch_size} is above the {len(pictures.train)} training "
            f"pictures of {data.name}"
        )
    return pictures


@lru_cache(maxsize=2)
def _load(name: str, root: str | None) -> Pictures:
    from ablations.data import cifar, fashion, folder, imagenette, mini

    if name == "mini":
        return mini.load()
    if name == "fashion":
        return fashion.load(root)
    if name in ("cifar10", "cifar100"):
        return cifar.load(name, root)
    where = DataConfig(name=name, root=root, pipeline="timm")
    return imagenette.load(where) if name == "imagenette" else folder.load(where)
