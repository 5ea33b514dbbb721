"""Ablation studies on MetaFormer: config -> model -> train -> record -> table."""
