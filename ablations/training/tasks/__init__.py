"""What a run trains: a task is a LightningModule with its model, loss and metrics."""
