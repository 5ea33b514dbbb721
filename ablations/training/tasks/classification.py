"""Image classification: a MetaFormer, cross entropy, and top-1 and top-5 accuracy."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from ablations.config.schema import RunConfig
from ablations.config.seeding import derive_seed
from ablations.training.tasks.base import Task
from poolformer.metaformer import MetaFormer


def create_accuracy(classes: int) -> MetricCollection:
    """The metrics ``top1`` and ``top5`` (fewer than five if there are fewer classes)."""
    # Our labels and logits are valid; validating them takes as long as counting the hits.
    options: dict[str, Any] = {"average": "micro", "validate_args": False}
    return MetricCollection(
        {f"top{k}": MulticlassAccuracy(classes, top_k=min(k, classes), **options) for k in (1, 5)},
        compute_groups=False,  # torchmetrics would merge metrics with equal first batches
    )


def percent(accuracy: MetricCollection) -> dict[str, float]:
    """The value of each metric in percent; more digits would be noise of float32."""
    return {name: round(100 * value.item(), 4) for name, value in accuracy.compute().items()}


class Classification(Task):
    """Classifies images; its loss has exploded at 100 times that of a uniform guess."""

    def __init__(self, config: RunConfig) -> None:
        data, classes = config.data, config.model.num_classes
        super().__init__(config, max_loss=100 * math.log(max(2, classes)))
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = MetaFormer(config.model).to(memory_format=torch.channels_last)
        self.model = model
        if config.system.compile:
            model.compile()
        smoothing = config.optim.label_smoothing
        self.mixup: Mixup | None = None
        self.loss: nn.Module = nn.CrossEntropyLoss(label_smoothing=smoothing)
        if data.mixing:
            self.loss = SoftTargetCrossEntropy()
            self.mixup = Mixup(
                mixup_alpha=data.mixup,
                cutmix_alpha=data.cutmix,
                prob=data.mixup_prob,
                switch_prob=data.mixup_switch_prob,
                label_smoothing=smoothing,
                num_classes=classes,
            )
        self.accuracy = create_accuracy(classes)
        self.val_loss, self.seen, self.predicted = torch.zeros(()), 0, list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.mixup:
            images, labels = self.mixup(images, labels)
        return self.record_loss(self.loss(self(images), labels), batch_idx)

    def on_validation_epoch_start(self) -> None:
        self.accuracy.reset()
        self.val_loss, self.seen = torch.zeros((), device=self.device), 0
        self.predicted.clear()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(images).float()
        self.val_loss += nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.seen += len(labels)
        self.accuracy.update(logits, labels)
        # Of equal logits, argmax and topk choose as the metrics do.
        largest = logits.topk(min(5, logits.shape[1]), dim=1).indices
        top5 = (largest == labels[:, None]).any(dim=1)
        self.predicted.append(torch.stack([logits.argmax(dim=1), top5, labels]).int())

    def on_validation_epoch_end(self) -> None:
        val_loss, seen, train_loss = self.sum_over_ranks(self.val_loss, self.seen, self.train_loss)
        self.epoch_loss = train_loss / self.trainer.world_size
        # A loss that exploded in the last step, or on a GPU between two checks, shows only here.
        self.check_loss(val_loss / seen)
        self.check_loss(self.epoch_loss / max(1, int(self.trainer.num_training_batches)))
        accuracies = {f"val/{name}": value for name, value in percent(self.accuracy).items()}
        self.predictions = self.gather_in_order(torch.cat(self.predicted, dim=1))
        self.validation_metrics = {**accuracies, "val/loss": val_loss / seen}
