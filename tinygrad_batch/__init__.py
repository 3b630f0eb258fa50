"""tinygrad_batch."""
__version__ = "0.1.0"
