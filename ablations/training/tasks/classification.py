"""Image classification: a MetaFormer, its loss, optimizer and schedule as a LightningModule."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from ablations.config.schema import RunConfig
from ablations.config.seeding import derive_seed
from poolformer.metaformer import MetaFormer

# How often a GPU is asked whether the loss is still finite: every time would wait for every step.
CHECK_EVERY = 50
FUSED = ["adamw", "adam", "sgd"]


class Classification(pl.LightningModule):
    """Trains and validates one RunConfig.

    A loss that is not finite, or above 100 times that of a uniform guess, is a divergence, in
    training or in validation: training stops there, the model is validated as it is (logits that
    are not numbers count as the first class), and ``diverged`` says so. Where several processes
    train one run, each computes the mean loss of its share, the shares being of one size; what is
    judged and told is that of all, so that they stop together.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.run = config
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = MetaFormer(config.model).to(memory_format=torch.channels_last)
        self.model: nn.Module = model
        if config.system.compile:
            model.compile()
        data, classes = config.data, config.model.num_classes
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
        self.explosion = 100 * math.log(max(2, classes))
        self.diverged = False
        self.train_loss = torch.zeros(())
        # Labels and logits are ours: to look for odd ones takes as long as to count the right ones.
        counts: dict[str, Any] = {"average": "micro", "validate_args": False}
        self.top1 = MulticlassAccuracy(classes, top_k=1, **counts)
        self.top5 = MulticlassAccuracy(classes, top_k=min(5, classes), **counts)
        self.val_loss, self.seen = torch.zeros(()), 0
        self.epoch_loss, self.told = 0.0, dict[str, float]()  # of the last pass, over all processes

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook that it calls, fifty times a step; a module looks at each value.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.model(pictures.contiguous(memory_format=torch.channels_last))
        return logits

    # Training

    def on_train_epoch_start(self) -> None:
        # Drop path and mixup draw from the global generators: an epoch starts them anew.
        own = [self.global_rank] if self.global_rank else []  # other pictures, other draws
        seed = derive_seed(self.run.seed, "training", self.current_epoch, *own)
        pl.seed_everything(seed % 2**32, verbose=False)
        self.train_loss = torch.zeros((), device=self.device)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        pictures, labels = batch
        if self.mixup:
            pictures, labels = self.mixup(pictures, labels)
        loss: Tensor = self.loss(self(pictures), labels)
        self.train_loss += loss.detach()
        if self.device.type == "cpu" or batch_idx % CHECK_EVERY == 0:
            (mean,) = self._over_all(loss.detach())
            self._sound(mean / self.trainer.world_size)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Nothing where the loss says that the run is over: the weights stay as they are.

        Lightning's own way to leave out a step, no loss at all, is for one process only.
        """
        if not self.diverged:
            super().backward(loss, *args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        def closure() -> Any:
            loss = optimizer_closure()
            return None if self.diverged else loss  # None: there is no gradient to unscale

        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def _over_all(self, *values: Tensor | float) -> list[float]:
        """Sums over all processes, in one exchange."""
        if self.trainer.world_size == 1:
            return [float(value) for value in values]
        given = [torch.as_tensor(value, device=self.device).double() for value in values]
        sums = torch.stack(given)
        torch.distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def _sound(self, loss: float) -> bool:
        """Whether a loss is one to go on with; if not, training ends."""
        if math.isfinite(loss) and loss <= self.explosion:
            return True
        self.diverged = self.trainer.should_stop = True
        return False

    def configure_optimizers(self) -> Any:
        optim = self.run.optim
        known = get_optimizer_info(optim.optimizer)
        options: dict[str, Any] = {"eps": optim.eps} if known.has_eps else {}
        if known.has_betas:
            options["betas"] = optim.betas
        # One kernel for all weights: a tenth off a small model's step on a CPU. Lightning refuses
        # to clip gradients together with it under mixed precision.
        clipped_mixed = optim.grad_clip is not None and self.trainer.precision != "32-true"
        if optim.optimizer in FUSED and not clipped_mixed:
            options["fused"] = True
        optimizer = create_optimizer_v2(
            self.model,
            opt=optim.optimizer,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            **options,
        )
        steps = int(self.trainer.estimated_stepping_batches) // optim.total_epochs
        scheduler, _ = create_scheduler_v2(
            optimizer,
            num_epochs=optim.epochs,
            warmup_epochs=optim.warmup_epochs,
            warmup_lr=optim.warmup_lr,
            min_lr=optim.min_lr,
            cooldown_epochs=optim.cooldown_epochs,
            step_on_epochs=optim.schedule_unit == "epoch",
            updates_per_epoch=steps,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": optim.schedule_unit},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # timm's schedules are functions of the epoch or step that comes next, not of a history.
        if self.run.optim.schedule_unit == "epoch":
            scheduler.step(self.current_epoch + 1)
        else:
            scheduler.step_update(self.global_step)

    # Validation

    def on_validation_epoch_start(self) -> None:
        self.top1.reset()
        self.top5.reset()
        self.val_loss, self.seen = torch.zeros((), device=self.device), 0

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pictures, labels = batch
        logits = self(pictures).float()
        self.val_loss += nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.seen += len(labels)
        self.top1.update(logits, labels)
        self.top5.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        # The last step of an epoch shows only here, and on a GPU so do those between two checks.
        steps = max(1, int(self.trainer.num_training_batches))
        val_loss, seen, train_loss = self._over_all(self.val_loss, self.seen, self.train_loss)
        self.epoch_loss = train_loss / self.trainer.world_size
        self._sound(val_loss / seen)
        self._sound(self.epoch_loss / steps)
        self.told = {
            "val/top1": round(100 * self.top1.compute().item(), 4),  # beyond it: float32's noise
            "val/top5": round(100 * self.top5.compute().item(), 4),
            "val/loss": val_loss / seen,
        }

    def measured(self) -> dict[str, float]:
        """``val/top1`` and ``val/top5`` in percent and the mean ``val/loss`` of the last pass."""
        return dict(self.told)
