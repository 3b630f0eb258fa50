"""Pictures of one batch: SVG, HTML, PNG, PDF, DOT and text, all from a Trace."""

from tinygrad_batch.draw.drawing import Drawing, draw, mimebundle
from tinygrad_batch.draw.engine import Engine, engines

__all__ = ["Drawing", "Engine", "draw", "engines", "mimebundle"]
