"""What the contestants are called, and where each is."""

from __future__ import annotations

EAGER = "tinygrad_batch, eager"
NUMPY = "tinygrad_batch, compiled to NumPy"
NATIVE = "tinygrad_batch, compiled natively"
NATIVE_ALONE = "tinygrad_batch, natively, keep_grads=False"
STREAMED = "tinygrad_batch, compiled to NumPy, row_block=256"
BY_HAND = "NumPy by hand"
BUFFERS = "NumPy by hand, out= and buffers"
PYTORCH = "PyTorch, eager"
INDUCTOR = "torch.compile"
JAX = "JAX, jit"
JAX_SCAN = "JAX, lax.scan over the epoch"
MYGRAD = "MyGrad"
AUTOGRAD = "autograd"
TINYGRAD = "tinygrad, TinyJit"

# Name: the file, the class and its options. Each is imported only where it takes part.
PLACES: dict[str, tuple[str, str, dict[str, object]]] = {
    EAGER: ("ours", "Ours", {}),
    NUMPY: ("ours", "Compiled", {"backend": "numpy"}),
    NATIVE: ("ours", "Compiled", {"backend": "native"}),
    NATIVE_ALONE: ("ours", "Compiled", {"backend": "native", "keep_grads": False}),
    STREAMED: ("ours", "Compiled", {"backend": "numpy", "row_block": 256}),
    BY_HAND: ("by_hand", "ByHand", {}),
    BUFFERS: ("buffers", "Buffers", {}),
    PYTORCH: ("pytorch", "Eager", {}),
    INDUCTOR: ("pytorch", "Inductor", {}),
    JAX: ("jax_jit", "Jit", {}),
    JAX_SCAN: ("jax_jit", "Scan", {}),
    MYGRAD: ("mygrad_nets", "MyGrad", {}),
    AUTOGRAD: ("autograd_nets", "Autograd", {}),
    TINYGRAD: ("tinygrad_jit", "TinyJit", {}),
}
COMPILED = (NUMPY, NATIVE, NATIVE_ALONE)
OURS = (EAGER, *COMPILED)
PEERS = (BUFFERS, PYTORCH, INDUCTOR, JAX, JAX_SCAN, MYGRAD, AUTOGRAD, TINYGRAD)
EVERYBODY = (*OURS, BY_HAND, *PEERS)
