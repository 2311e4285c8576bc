"""Checkpoints and model folders on disk, without pickle."""
