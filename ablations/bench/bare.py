"""A run as one would write it without the lab: a plain PyTorch loop, no records, no tracker."""

from __future__ import annotations

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn

from ablations import data
from ablations.config.schema import RunConfig
from ablations.config.seeding import derive_seed
from ablations.data.batches import create_loaders, set_first_epoch
from poolformer.metaformer import MetaFormer


def train_bare(config: RunConfig) -> float:
    """Train and validate a run on the CPU; its top-1 in percent, equal to that of ``train``.

    Supports what the recipe mini needs: no mixup, no clipping, a schedule by steps.
    """
    optim = config.optim
    torch.set_num_threads(config.system.threads)
    torch.use_deterministic_algorithms(False)  # a run in this process may have set it
    dataset = data.load_dataset(config.data)
    train, val = create_loaders(dataset, config.data, config.seed)
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = MetaFormer(config.model).to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(
        model,
        opt=optim.optimizer,
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        eps=optim.eps,
        betas=optim.betas,
        fused=True,
    )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        num_epochs=optim.epochs,
        warmup_epochs=optim.warmup_epochs,
        warmup_lr=optim.warmup_lr,
        min_lr=optim.min_lr,
        cooldown_epochs=optim.cooldown_epochs,
        step_on_epochs=False,
        updates_per_epoch=len(train),
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=optim.label_smoothing)
    step, right = 0, 0
    for epoch in range(optim.total_epochs):
        torch.manual_seed(derive_seed(config.seed, "training", epoch) % 2**32)
        set_first_epoch(train, epoch)
        model.train()
        for images, labels in train:
            loss = criterion(model(images.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            scheduler.step_update(step)
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in val:
                logits = model(images.contiguous(memory_format=torch.channels_last))
                right += int((logits.argmax(dim=1) == labels).sum())
    return round(100 * right / len(dataset.val), 4)
