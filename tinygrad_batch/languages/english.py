"""English."""

from __future__ import annotations

from .language import Language

__all__ = ["ENGLISH"]

# operation: (what it does, what its derivative does)
_OPERATIONS = {
    "matmul": (
        "Each row is multiplied by the weights: every output is a weighted sum of the inputs.",
        "The product sends the gradient to both sides: to its input, and to the weights.",
    ),
    "affine": (
        "Each row is multiplied by the weights, and the bias is added.",
        "The gradient goes to the input, the weights and the bias.",
    ),
    "add": (
        "Two values are added, entry by entry.",
        "A sum passes its gradient on unchanged to each of its terms.",
    ),
    "subtract": (
        "One value is taken from the other, entry by entry.",
        "A difference passes its gradient on, with the sign turned for the second term.",
    ),
    "multiply": (
        "Two values are multiplied, entry by entry.",
        "Each factor gets the gradient times the other factor.",
    ),
    "divide": (
        "One value is divided by the other, entry by entry.",
        "The gradient is divided by the denominator; the denominator gets its own share.",
    ),
    "negative": ("The sign is turned.", "The gradient turns its sign."),
    "square": ("Each entry is squared: large errors count more.", "The gradient of a square is twice the entry."),
    "mean": ("All entries become one number, their mean.", "Every entry has the same share in the mean."),
    "sum": ("Entries are added up.", "Each entry of a sum gets the gradient of the sum."),
    "tanh": ("Every entry is bent into the range from −1 to 1.", "The gradient shrinks where tanh is flat."),
    "sigmoid": (
        "Every entry is bent into the range from 0 to 1.",
        "The gradient shrinks where the sigmoid is flat.",
    ),
    "relu": (
        "Negative entries become 0.",
        "The gradient passes where the entry was positive, and stops elsewhere.",
    ),
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
    "logsumexp": (
        "The logarithm of a sum of exponentials: a smooth maximum.",
        "The gradient is shared out like the probabilities of a softmax.",
    ),
    "mean_square": (
        "All differences are squared and become one number, their mean: large errors count more.",
        "Each prediction gets a gradient in proportion to its error.",
    ),
    "silu": ("Small and negative entries are damped smoothly.", "The gradient is damped where the entry was."),
    "softplus": ("A smooth relu: always positive.", "The gradient is multiplied by the sigmoid of the entry."),
    "sqrt": ("Each entry becomes its square root.", "The gradient grows where the root is small."),
    "power": ("Each entry is raised to a power.", "The gradient is the power times the entry to one power less."),
    "abs": ("The sign is dropped.", "The gradient takes the sign of the entry."),
    "where": (
        "Entries are taken from one value or the other.",
        "The gradient goes back to where the entry came from.",
    ),
    "var": ("The mean square distance from the mean.", "Entries far from the mean get the larger gradient."),
    "std": ("The typical distance from the mean.", "Entries far from the mean get the larger gradient."),
    "clip": ("Entries beyond the bounds are set to the bounds.", "The gradient passes between the bounds."),
    "astype": ("The same numbers in another precision.", "The gradient takes the old precision again."),
    "broadcast_to": ("The value is repeated along new rows.", "The gradients of all copies are added up."),
    "matrix_transpose": ("Rows become columns.", "The gradient is turned back."),
    "min": ("The smallest entry is picked.", "Only the smallest entry gets the gradient."),
    "minimum": ("The smaller of two values is taken, entry by entry.", "The gradient goes to the smaller one."),
    "reshape": ("The same numbers take another shape.", "The gradient takes the old shape again."),
    "transpose": ("Rows become columns.", "The gradient is turned back."),
    "getitem": ("Some entries are picked.", "The gradient goes back to the picked entries; the others get 0."),
    "concatenate": ("Values are put side by side.", "The gradient is cut into the parts again."),
    "max": ("The largest entry is picked.", "Only the largest entry gets the gradient."),
    "maximum": ("The larger of two values is taken, entry by entry.", "The gradient goes to the larger one."),
}

ENGLISH = Language(
    code="en",
    operations=_OPERATIONS,
    other=(
        "The operation makes a new value from its inputs.",
        "The chain rule: the incoming gradient times the derivative of the operation.",
    ),
    many=(
        "The rows pass through {count:,} operations.",
        "The chain rule goes back through {count:,} steps, one after the other.",
    ),
    updated="Every parameter takes one small step against its gradient. Then the next batch can start.",
    title="One batch{rows}: {forward} steps forward, {backward} back, {update}.",
    rows=" of {count:,} rows",
    updates=("no update", "one update", "{count:,} updates"),
    phases={
        "forward": "Forward: from the data to the loss",
        "backward": "Backward: from the loss to every parameter",
        "update": "Update",
    },
    layer=" in {layer}",
    one_number="one number",
    made="It turns {inputs} into {results}.",
    made_of_nothing="It makes {results}.",
    back="Back through step {number}: it turns {inputs} into {results}.",
    back_of_nothing="Back through step {number}: no gradient is needed from here on.",
    described="{name} ({shape}{norm})",
    norm=", norm {norm}",
    number="{name} = {value}",
    kept="Kept for the way back: {names}.",
    parameter="{name} tells how the loss changes with {target}.",
    added="{name} is a sum of {count}: {target} was used {count} times, and this is the last part.",
    adding="{name} gets one of its {count} parts here.",
    changed="{op} changes {names}.",
    end="The loss was {loss}.",
    comma=", ",
    last=" and ",
)
