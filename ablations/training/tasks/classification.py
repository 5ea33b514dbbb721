"""Image classification: a MetaFormer, cross entropy, and top-1 and top-5 accuracy."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from ablations.config.schema import RunConfig
from ablations.config.seeding import derive_seed
from ablations.training.tasks.base import Task
from poolformer.metaformer import MetaFormer


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
        self.mixup = (
            Mixup(
                mixup_alpha=data.mixup,
                cutmix_alpha=data.cutmix,
                prob=data.mixup_prob,
                switch_prob=data.mixup_switch_prob,
                label_smoothing=smoothing,
                num_classes=classes,
            )
            if data.mixing
            else None
        )
        self.loss = (
            SoftTargetCrossEntropy()
            if self.mixup
            else nn.CrossEntropyLoss(label_smoothing=smoothing)
        )
        # Our labels and logits are valid; validating them takes as long as counting the hits.
        options: dict[str, Any] = {"average": "micro", "validate_args": False}
        self.top1 = MulticlassAccuracy(classes, top_k=1, **options)
        self.top5 = MulticlassAccuracy(classes, top_k=min(5, classes), **options)
        self.val_loss, self.seen = torch.zeros(()), 0

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
        self.top1.reset()
        self.top5.reset()
        self.val_loss, self.seen = torch.zeros((), device=self.device), 0

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(images).float()
        self.val_loss += nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.seen += len(labels)
        self.top1.update(logits, labels)
        self.top5.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        val_loss, seen, train_loss = self.sum_over_ranks(self.val_loss, self.seen, self.train_loss)
        self.epoch_loss = train_loss / self.trainer.world_size
        # A loss that exploded in the last step, or on a GPU between two checks, shows only here.
        self.check_loss(val_loss / seen)
        self.check_loss(self.epoch_loss / max(1, int(self.trainer.num_training_batches)))
        self.validation_metrics = {
            "val/top1": round(100 * self.top1.compute().item(), 4),  # percent; below: float32 noise
            "val/top5": round(100 * self.top5.compute().item(), 4),
            "val/loss": val_loss / seen,
        }
