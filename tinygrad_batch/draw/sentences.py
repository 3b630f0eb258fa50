"""One plain sentence for each step."""

from __future__ import annotations

from tinygrad_batch.trace import Phase

__all__ = ["sentence"]

# operation: (what it does, what its derivative does)
_SENTENCES = {
    "matmul": (
        "Each row is multiplied by the weights: every output is a weighted sum of the inputs.",
        "The product sends the gradient to both sides: to its input, and to the weights.",
    ),
    "linear": (
        "Each row is multiplied by the weights, and the bias is added.",
        "The gradient goes to the input, the weights and the bias.",
    ),
    "add": ("Two values are added, entry by entry.", "A sum passes its gradient on unchanged to each of its terms."),
    "sub": (
        "One value is taken from the other, entry by entry.",
        "A difference passes its gradient on, with the sign turned for the second term.",
    ),
    "mul": (
        "Two values are multiplied, entry by entry.",
        "Each factor gets the gradient times the other factor.",
    ),
    "div": (
        "One value is divided by the other, entry by entry.",
        "The gradient is divided by the denominator; the denominator gets its own share.",
    ),
    "neg": ("The sign is turned.", "The gradient turns its sign."),
    "square": ("Each entry is squared: large errors count more.", "The gradient of a square is twice the entry."),
    "mean": ("All entries become one number, their mean.", "Every entry has the same share in the mean."),
    "sum": ("Entries are added up.", "Each entry of a sum gets the gradient of the sum."),
    "tanh": ("Every entry is bent into the range from −1 to 1.", "The gradient shrinks where tanh is flat."),
    "sigmoid": ("Every entry is bent into the range from 0 to 1.", "The gradient shrinks where the sigmoid is flat."),
    "relu": ("Negative entries become 0.", "The gradient passes where the entry was positive, and stops elsewhere."),
    "gelu": ("Small and negative entries are damped smoothly.", "The gradient is damped where the entry was."),
    "exp": ("Each entry becomes its exponential.", "The gradient is multiplied by the exponential itself."),
    "log": ("Each entry becomes its logarithm.", "The gradient is divided by the entry."),
    "softmax": (
        "Each row becomes probabilities that add up to 1.",
        "Raising one probability lowers the others: the gradients of a row add up to 0.",
    ),
    "log_softmax": (
        "Each row becomes logarithms of probabilities.",
        "The gradient is spread by the probabilities of the row.",
    ),
    "cross_entropy": (
        "The loss is small where the right class is likely.",
        "The gradient is the predicted probability minus the right answer.",
    ),
    "dropout": (
        "Some entries are set to 0 at random, the others are scaled up.",
        "The gradient passes where the entry was kept.",
    ),
    "reshape": ("The same numbers take another shape.", "The gradient takes the old shape again."),
    "transpose": ("Rows become columns.", "The gradient is turned back."),
    "getitem": ("Some entries are picked.", "The gradient goes back to the picked entries; the others get 0."),
    "concatenate": ("Values are put side by side.", "The gradient is cut into the parts again."),
    "max": ("The largest entry is picked.", "Only the largest entry gets the gradient."),
    "maximum": ("The larger of two values is taken, entry by entry.", "The gradient goes to the larger one."),
    "conv2d": ("A small window of weights slides over each image.", "The gradient goes to images and window."),
}


def sentence(op: str, phase: Phase, count: int = 1) -> str:
    """Return what happens in a step, in plain words.

    Examples
    --------
    >>> sentence("tanh", "backward")
    'The gradient shrinks where tanh is flat.'
    """
    if phase == "update":
        return "Every parameter takes one small step against its gradient. Then the next batch can start."
    if count > 1:
        if phase == "forward":
            return f"The rows pass through {count:,} operations."
        return f"The chain rule goes back through {count:,} steps, one after the other."
    known = _SENTENCES.get(op)
    if known is not None:
        return known[0] if phase == "forward" else known[1]
    if phase == "forward":
        return "The operation makes a new value from its inputs."
    return "The chain rule: the incoming gradient times the derivative of the operation."
