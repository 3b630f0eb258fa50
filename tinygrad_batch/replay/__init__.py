"""Replay: one captured batch becomes a compiled training step."""
