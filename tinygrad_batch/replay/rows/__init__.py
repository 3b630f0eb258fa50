"""Rows: a program cut so that a batch goes through it block by block."""

from .splitting import Streamed, split
from .stream import StreamedStep

__all__ = ["Streamed", "StreamedStep", "split"]
