# %% [markdown]
# # Slope, chain rule, backward walk
#
# Training asks one question over and over: *if I raise this weight a little, does the loss go up or down, and
# how fast?* The answer is a number, the slope. A network has hundreds or billions of weights, and it needs a
# slope for each of them, at every step.
#
# On this page you find slopes first by trying, then by multiplying, and at the end with a program of
# some thirty lines that finds all of them at once. It is the heart of every deep-learning framework.
#
# ## 1. A slope is found by nudging
#
# Take a function, go a tiny bit to the right, and see how much it rises.

# %%
import math

import tinygrad_batch as tb


def square(x):
    return x * x


nudge = 1e-6
rise = square(3 + nudge) - square(3)
print(rise / nudge)

# %% [markdown]
# Near 3, the square rises six times as fast as its input. The slope of x² at x = 3 is 6.
#
# The result is not exactly 6, because the curve bends on the way. It gets much better if you
# step to both sides and take the difference:


# %%
def slope(f, x, nudge=1e-6):
    """The slope of f at x, by nudging x to both sides."""
    return (f(x + nudge) - f(x - nudge)) / (2 * nudge)


print(slope(square, 3.0))
print(slope(math.tanh, 1.0))

# %% tags=["remove-cell"]
assert abs(slope(square, 3.0) - 6) < 1e-8
assert abs(slope(math.tanh, 1.0) - (1 - math.tanh(1.0) ** 2)) < 1e-8

# %% [markdown]
# Keep this function. It is slow and a little rough, but it cannot be wrong about what a slope *is*. Everything
# below will be checked against it.
#
# ## 2. One after the other: slopes multiply
#
# Now put two functions in a row. First triple, then square:
#
# ```text
# x  ──▶  u = 3x  ──▶  y = u²
# ```
#
# Say x = 2, so u = 6. If x rises by a tiny bit, u rises three times as much. And y rises
# 2u = 12 times as much as u. So all in all?

# %%
first = slope(lambda x: 3 * x, 2.0)
second = slope(square, 6.0)
both = slope(lambda x: square(3 * x), 2.0)
print(f"{first:.3f} times {second:.3f} is {first * second:.3f};  measured: {both:.3f}")

# %% tags=["remove-cell"]
assert abs(first * second - both) < 1e-6

# %% [markdown]
# Three times as much, then twelve times as much: thirty-six times as much. Like gears. That is the **chain
# rule**: *along a path, slopes multiply*.
#
# Notice where the 12 was taken: at u = 6, where u really is, and not at 2. To know the slopes along
# the way, you must know the values along the way. Remember this. It is why training needs memory.
#
# ## 3. Two ways to the goal: paths add up
#
# What if a number is used twice?
#
# ```text
# y = a · b + a
# ```
#
# Here a reaches y on two paths: through the product, and directly. Take a = 0.5 and b = 2. Through the
# product, a nudge of a counts b = 2 times. Directly, it counts once. Both happen at the same time:

# %%
print(f"{slope(lambda a: a * 2.0 + a, 0.5):.3f}")

# %% tags=["remove-cell"]
assert abs(slope(lambda a: a * 2.0 + a, 0.5) - (2 + 1)) < 1e-8

# %% [markdown]
# Two plus one is three. *Where paths meet, slopes add.*
#
# That is the whole of it. **Multiply along each path, then add up the paths.** There is no third rule.
#
# ## 4. A graph with a number on every edge
#
# Let us put both together:
#
# ```text
# p = a · b        h = tanh(p)        L = h + a
# ```
#
# with a = 0.5 and b = 2. Forward, the values are p = 1, then h = tanh(1) ≈ 0.762, then L ≈ 1.262. Now
# write on each edge how fast its right end rises with its left end:
#
# ```text
#   b ──0.5──▶ p ──0.42──▶ h ──1──▶ L
#              ▲                    ▲
#   a ───2─────┘                    │
#   └───────────────1───────────────┘
# ```
#
# - From a to the product: the factor is the *other* number, b = 2. From b it is a = 0.5.
# - Through the tanh: 1 − h² = 1 − 0.762² ≈ 0.42.
# - Into a sum: 1. A sum hands on what it gets.
#
# From b there is one path, from a there are two:

# %%
a, b = 0.5, 2.0
h = math.tanh(a * b)
through_tanh = 1 - h * h

slope_b = a * through_tanh * 1
slope_a = b * through_tanh * 1 + 1
print(f"dL/da = {slope_a:.4f}   dL/db = {slope_b:.4f}")


def loss(a, b):
    return math.tanh(a * b) + a


nudged_a = slope(lambda a: loss(a, 2.0), 0.5)
nudged_b = slope(lambda b: loss(0.5, b), 2.0)
print(f"nudged {nudged_a:.4f}   nudged {nudged_b:.4f}")

# %% tags=["remove-cell"]
assert abs(slope_a - nudged_a) < 1e-8
assert abs(slope_b - nudged_b) < 1e-8
assert abs(through_tanh - 0.42) < 0.001

# %% [markdown]
# It works. But we had to find all the paths. Every layer of a network multiplies their number: ten layers of a
# hundred numbers each have 100¹⁰ of them. We need to be cleverer.
#
# ## 5. Walk backwards
#
# Look at the graph from the right. Let g of a node mean: how fast L rises with that node. At L itself
# it is 1. And if a node knows its g, it can tell each of its parents: *through me, you count g times
# the number on our edge*. A parent adds up what it hears from all its children. Then it knows its own
# g, and tells its own parents.
#
# So every edge is used once, however many paths run over it. One thing must be kept in order: a node may speak only
# when it has heard from *all* its children. If we number the nodes as they are made, a child always has a larger
# number than its parents. So we take the largest number first, and count down.
#
# Here it is. A `Scalar` remembers its parents and the numbers on the edges to them:

# %%
made = []  # every Scalar, in the order of making


class Scalar:
    """A number that remembers how it was computed."""

    def __init__(self, value, edges=()):
        self.value = value
        self.edges = edges  # pairs: (parent, slope of this with respect to the parent)
        self.g = 0.0
        made.append(self)

    def __add__(self, other):
        return Scalar(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Scalar(self.value * other.value, [(self, other.value), (other, self.value)])


def tanh(x):
    y = math.tanh(x.value)
    return Scalar(y, [(x, 1 - y * y)])


def backward(last):
    last.g = 1.0
    for node in reversed(made[: made.index(last) + 1]):
        for parent, edge in node.edges:
            parent.g += node.g * edge  # multiply along the path, add where paths meet


# %% [markdown]
# Count the lines of `backward`: five. The last one is the chain rule, both halves of it. Now the
# same example:

# %%
a, b = Scalar(0.5), Scalar(2.0)
L = tanh(a * b) + a
backward(L)
print(f"L = {L.value:.4f}   dL/da = {a.g:.4f}   dL/db = {b.g:.4f}")

# %% tags=["remove-cell"]
assert a.g == slope_a
assert b.g == slope_b

# %% [markdown]
# The same numbers, and nobody had to look for paths.
#
# ## 6. The package does the same
#
# A `Tensor` with `requires_grad=True` is our `Scalar`, and its `.grad` is our `g`:

# %%
package_a = tb.tensor(0.5, requires_grad=True, name="a")
package_b = tb.tensor(2.0, requires_grad=True, name="b")

with tb.capture() as trace:
    L_package = tb.tanh(package_a * package_b) + package_a
    L_package.backward()

print(f"L = {L_package:.4f}   dL/da = {package_a.grad:.4f}   dL/db = {package_b.grad:.4f}")
tb.draw(trace)

# %% tags=["remove-cell"]
assert L_package.item() == L.value
assert math.isclose(package_a.grad.item(), a.g)
assert math.isclose(package_b.grad.item(), b.g)

# %% [markdown]
# Down the left the values, up the right the slopes. Look at the last backward step: `da +=`, and not
# `da =`, because the sum had already told `a` its share. There are the two paths again.
#
# ## 7. A neuron, and a check
#
# One artificial neuron with three inputs takes a weighted sum and bends it. Its error is the square of
# how far it is from a target. That makes seven numbers to ask about. Three ways, side by side: your
# walk, the package, and nudging.

# %%
start = {"w1": 0.4, "w2": -0.7, "w3": 0.2, "x1": 1.0, "x2": -0.5, "x3": 2.0, "bias": 0.1}


def error(n, tanh, minus_target):
    """The squared error of a neuron; works on anything that can add and multiply."""
    out = tanh(n["w1"] * n["x1"] + n["w2"] * n["x2"] + n["w3"] * n["x3"] + n["bias"])
    off = out + minus_target
    return off * off


yours = {name: Scalar(value) for name, value in start.items()}
backward(error(yours, tanh, Scalar(-0.3)))

package = {name: tb.tensor(value, requires_grad=True) for name, value in start.items()}
error(package, tb.tanh, -0.3).backward()

print("        yours    package    nudged")
for name in start:

    def moved(value, name=name):
        return error({**start, name: value}, math.tanh, -0.3)

    nudged = slope(moved, start[name])
    print(f"{name:5} {yours[name].g:8.5f}   {package[name].grad:8.5f}  {nudged:8.5f}")
    assert math.isclose(yours[name].g, package[name].grad.item(), rel_tol=1e-12)
    assert math.isclose(yours[name].g, nudged, rel_tol=1e-6)

# %% [markdown]
# Notice how `off * off` uses the same number twice. Both edges lead to the same parent, both are added, and so
# `2 * off` comes out by itself. You never had to tell the program the slope of a square.
#
# ## 8. One line of the table, read aloud
#
# In the package, the number on an edge is one line in a table. This is the one of tanh:
#
# ```python
# tanh = op("tanh", np.tanh, doc="the hyperbolic tangent", dx=lambda g, y: g * (1 - y * y))
# ```
#
# Read it aloud: *tanh is the operation that computes `np.tanh`. Its slope with respect to `x`: take `g`, which
# came back from the right, and multiply it by one minus the output squared.* That is `node.g * edge` of your
# walk, with the edge of tanh.
#
# And the names in the brackets say what has to be remembered. `y` is among them, so tanh keeps its output. `x` is not,
# so its input may be forgotten. The table is also where the package learns how much memory a batch takes:

# %%
from tinygrad_batch.op import TABLE

print("tanh keeps", TABLE["tanh"].need(0).names)
print("add keeps ", TABLE["add"].need(0).names)

# %% tags=["remove-cell"]
assert TABLE["tanh"].need(0).names == ("y",)
assert TABLE["add"].need(0).names == ()
assert abs(TABLE["tanh"].need(0).rule(1.0, math.tanh(1.0)) - slope(math.tanh, 1.0)) < 1e-8

# %% [markdown]
# ## 9. Why backwards?
#
# Nudging finds one slope with two runs of the whole network. For the 336 weights of the network in the
# [tour](00_two_minute_tour) that is 672 runs, for a single step. The walk back visits each edge once and finds
# all 336. In the picture of the tour it took eleven steps, as many as there were on the way forward.
#
# That is the trick that made deep learning possible. And its price is what you saw in section 2: the values of
# the way forward must be kept until the walk comes by.
#
# ## Try it
#
# 1. Give `Scalar` a subtraction. What are the numbers on its two edges?
# 2. Write `exp(x)` for `Scalar`. What does it need to keep, its input or its output?
# 3. In `backward`, go through `made` forwards instead of in reverse. Which slopes are still right, and why?
