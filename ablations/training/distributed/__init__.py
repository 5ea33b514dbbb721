"""One run on several devices: its ranks, their messages, and the processes of DDP."""
