"""The registry of data sources: everything that is known of a data set before it is read.

A new data set is one entry here, or a call of ``register_data_source`` or
``ablations.data.register_arrays`` in a plugin. Nothing else lists data sets.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ablations.errors import ConfigError
from poolformer.config import unknown_name

# (root, training) -> ablations.data.ImageDataset. The root is None where none is configured;
# without training only the validation images are needed.
Loader = Callable[[str | None, bool], Any]


@dataclass(frozen=True)
class DataSource:
    """A data set that ``data.name`` can name.

    Args:
        name: The value of ``data.name``: letters, digits and underscores.
        channels: Channels of an image: 1 (grey) or 3 (RGB).
        num_classes: The number of classes; None where the files decide.
        load: Reads the images: a function, or its ``"module:function"``, imported on first use.
        is_available: Gives something true if ``load`` finds the files below a root without a
            download; a function or its ``"module:function"``. By default they are available, once
            a root is given that is needed.
        image_side: The side of all images in pixels; None where they differ.
        images: The numbers of training and validation images; None where the files decide.
        in_memory: Whether ``load`` returns arrays (for any pipeline) or paths of image files (for
            pipeline timm only).
        reads_root: Whether ``load`` reads files below ``data.root``.
        needs_root: Whether ``data.root`` must be set.
        fingerprint: Identifies the images, where it is known at registration. It becomes part of
            ``data.name``, and with it of the run ids.
    """

    name: str
    channels: int
    num_classes: int | None
    load: str | Loader
    is_available: str | Callable[[str | None], object] | None = None
    image_side: int | None = None
    images: tuple[int, int] | None = None
    in_memory: bool = True
    reads_root: bool = True
    needs_root: bool = False
    fingerprint: str = ""

    @property
    def config_name(self) -> str:
        """What a resolved config has as ``data.name``: ``mini``, or ``squares@1a2b3c...``."""
        return f"{self.name}@{self.fingerprint}" if self.fingerprint else self.name

    def loader(self) -> Loader:
        """The function that reads the images."""
        loader: Loader = _imported(self.load)
        return loader

    def finds_images(self, root: str | None) -> bool:
        """Whether the images can be read without a download; the files may still be broken."""
        if self.is_available is None:
            return root is not None or not self.needs_root
        return bool(_imported(self.is_available)(root))


def _imported(function: str | Callable[..., Any]) -> Any:
    return pkgutil.resolve_name(function) if isinstance(function, str) else function


# Image counts. Fashion-MNIST: Xiao et al., arXiv 1708.07747. CIFAR: Krizhevsky, Learning Multiple
# Layers of Features from Tiny Images (2009). Imagenette, version 2: github.com/fastai/imagenette.
_BUILT_IN = [
    DataSource(
        "mini",
        channels=1,
        num_classes=10,
        load="ablations.data.mini:load_mini",
        image_side=28,
        images=(8_000, 2_000),
        reads_root=False,
    ),
    DataSource(
        "fashion",
        channels=1,
        num_classes=10,
        load="ablations.data.fashion:load_fashion",
        is_available="ablations.data.fashion:find_fashion_files",
        image_side=28,
        images=(60_000, 10_000),
    ),
    *(
        DataSource(
            f"cifar{classes}",
            channels=3,
            num_classes=classes,
            load=f"ablations.data.cifar:load_cifar{classes}",
            is_available=f"ablations.data.cifar:has_cifar{classes}",
            image_side=32,
            images=(50_000, 10_000),
        )
        for classes in (10, 100)
    ),
    DataSource(
        "imagenette",
        channels=3,
        num_classes=10,
        load="ablations.data.imagenette:load_imagenette",
        is_available="ablations.data.imagenette:find_imagenette",
        images=(9_469, 3_925),
        in_memory=False,
    ),
    DataSource(
        "folder",
        channels=3,
        num_classes=None,
        load="ablations.data.folder:load_folder",
        in_memory=False,
        needs_root=True,
    ),
]
DATA_SOURCES = {source.name: source for source in _BUILT_IN}
REGISTERED_BY: dict[str, str] = {}  # name of a registered source -> the module that registered it


def register_data_source(source: DataSource, module: str = "") -> None:
    """Make a data set available as ``data.name``; to be called at the import of a plugin.

    Args:
        source: The data set. A module may register a name again, with other images for example.
        module: The module that registers it, so that ``system.plugins`` may name it; by default
            that of ``source.load``.

    Raises:
        ConfigError: The name is taken, or is not made of letters, digits and underscores.
    """
    if not source.name.isidentifier():
        raise ConfigError(
            f"data source {source.name!r}: use letters, digits and underscores, no digit first"
        )
    module = module or getattr(source.loader(), "__module__", "")
    if source.name in DATA_SOURCES and REGISTERED_BY.get(source.name) != module:
        raise ConfigError(f"a data source {source.name!r} exists already: choose another name")
    DATA_SOURCES[source.name], REGISTERED_BY[source.name] = source, module


def find_data_source(config_name: str) -> DataSource:
    """The data source that a ``data.name`` names, with or without the fingerprint of its images.

    Raises:
        ConfigError: There is no such source, or it has other images now.
    """
    name, _, fingerprint = config_name.partition("@")
    source = DATA_SOURCES.get(name)
    if source is None:
        raise ConfigError(unknown_name("data.name", name, DATA_SOURCES))
    if fingerprint and fingerprint != source.fingerprint:
        raise ConfigError(
            f"data.name {config_name}: the images of {name} have fingerprint "
            f"{source.fingerprint or 'unknown'} now: use data.name {name} to train on them"
        )
    return source
