"""What a batch takes in memory: weighed after it ran (`memory`), or priced before it does (`price`).

`kept` reads a Trace: which values wait for the backward pass, and how long. `meter` goes through a step on
shapes alone and counts every array that the step would make and let go; `price` asks it for two numbers of
rows, and says what each layer adds for each row.
"""

from .kept import Kept, Memory, format_bytes, memory
from .price import LayerPrice, Line, Price, price

__all__ = ["Kept", "LayerPrice", "Line", "Memory", "Price", "format_bytes", "memory", "price"]
