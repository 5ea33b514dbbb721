"""What all tasks share: seeds, the optimizer and its schedule, and when a run has diverged."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from ablations.config.schema import RunConfig
from ablations.config.seeding import derive_seed

# How often a GPU is asked whether the loss is finite; asking at every step would wait for each.
CHECK_EVERY = 50
FUSED = ["adamw", "adam", "sgd"]


class Task(pl.LightningModule):
    """Trains and validates one run.

    A loss that is not finite, or above ``max_loss``, is a divergence, in training or in validation:
    training stops, the model is validated as it is (logits that are not numbers count as the first
    class), and ``diverged`` is set. If several processes train the run, each computes the mean loss
    of its share, and the shares have one size. The mean over all processes decides, so that they
    stop together.

    Args:
        config: The run.
        max_loss: The largest loss to go on with.

    Attributes:
        model: The model, set by the subclass.
        diverged: Whether the run has diverged.
        epoch_loss: The training loss summed over the last epoch's steps.
        validation_metrics: The metrics of the last validation, over all processes.
        predictions: Its predictions in the order of the validation set, int32 (3, N): the class
            with the largest logit, whether the true class has one of the five largest, and the
            true class.
    """

    model: nn.Module

    def __init__(self, config: RunConfig, max_loss: float) -> None:
        super().__init__()
        self.run, self.max_loss = config, max_loss
        self.diverged = False
        self.train_loss = torch.zeros(())
        self.epoch_loss = 0.0
        self.validation_metrics: dict[str, float] = {}
        self.predictions = torch.zeros((3, 0), dtype=torch.int32)

    def on_train_epoch_start(self) -> None:
        # Drop path and mixup draw from the global generators: every epoch seeds them anew.
        rank = [self.global_rank] if self.global_rank else []  # other images, other draws
        seed = derive_seed(self.run.seed, "training", self.current_epoch, *rank)
        pl.seed_everything(seed % 2**32, verbose=False)
        self.train_loss = torch.zeros((), device=self.device)

    def record_loss(self, loss: Tensor, batch_idx: int) -> Tensor:
        """Add a step's loss to the epoch's, and stop training if it has exploded."""
        self.train_loss += loss.detach()
        if self.device.type == "cpu" or batch_idx % CHECK_EVERY == 0:
            (total,) = self.sum_over_ranks(loss.detach())
            self.check_loss(total / self.trainer.world_size)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Do nothing once the run has diverged, so that the weights stay as they are.

        Lightning's own way to skip a step, returning no loss, does not work with DDP.
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

    def sum_over_ranks(self, *values: Tensor | float) -> list[float]:
        """Sum each value over all processes, in one collective."""
        sums = torch.tensor([float(value) for value in values], dtype=torch.double)
        if self.trainer.world_size > 1:
            sums = sums.to(self.device)
            torch.distributed.all_reduce(sums)
        return sums.tolist()

    def gather_in_order(self, share: Tensor) -> Tensor:
        """Join the parts (M, B) of all processes to (M, N), in the order of the ranks."""
        if self.trainer.world_size > 1:
            share = torch.cat(gather_all_tensors(share), dim=1)
        return share.cpu()

    def check_loss(self, loss: float) -> None:
        """Stop training if a loss has exploded."""
        if not (math.isfinite(loss) and loss <= self.max_loss):
            self.diverged = self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        optim = self.run.optim
        # One kernel for all weights: a tenth off a small model's step on a CPU. Lightning refuses
        # to clip gradients together with it under mixed precision.
        clipped_mixed = optim.grad_clip is not None and self.trainer.precision != "32-true"
        fused = optim.optimizer in FUSED and not clipped_mixed
        options: dict[str, Any] = {"fused": True} if fused else {}
        optimizer = create_optimizer_v2(
            self.model,
            opt=optim.optimizer,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            eps=optim.eps,  # timm ignores these two where the optimizer has none
            betas=optim.betas,
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
        # timm's schedules are functions of the next epoch or step, not of a history.
        if self.run.optim.schedule_unit == "epoch":
            scheduler.step(self.current_epoch + 1)
        else:
            scheduler.step_update(self.global_step)
