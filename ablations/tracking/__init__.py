"""W&B: mirror runs, reuse finished runs, read runs back.

W&B is a mirror: the record on disk is the truth, and a failure of W&B never fails a training run.
"""
