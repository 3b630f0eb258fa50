# %% [markdown]
# # The memory of one batch
#
# Training needs far more memory than using what was trained. Where does it go? On this page you count it by hand, for
# one row. Then you can tell what any number of rows will take, before you try. And you see two ways to pay less.
#
# ## 1. Count by hand
#
# On the way back, the [walk](01_slope_chain_rule_backward_walk) needs values from the way forward. They have to wait
# for it. Which ones? Here is our network, with what each rule reads:
#
# | forward | the way back needs | numbers for each row |
# |---|---|---|
# | `z1 = x @ W1 + b1` | `x`, for `dW1 = x.T @ dz1` | 10 |
# | `h1 = tanh(z1)` | `h1`, for `dz1 = dh1 * (1 - h1**2)` | 15 |
# | `z2 = h1 @ W2 + b2` | `h1`, which is there already | |
# | `h2 = tanh(z2)` | `h2` | 10 |
# | `pred = h2 @ W3 + b3` | `h2`, which is there already | |
# | `loss = mean((pred - y)**2)` | `e = pred - y` | 1 |
#
# A number takes 8 bytes. `z1` and `z2` are not in the list: once `h1` is known, nobody reads `z1` again.

# %%
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import batchlab, nn, optim
from tinygrad_batch.data import load_diabetes
from tinygrad_batch.memory import format_bytes

by_hand = {"x": 10, "h1": 15, "h2": 10, "e": 1}
print(8 * sum(by_hand.values()), "bytes for each row")
print(8 * (sum(by_hand.values()) - 10), "without x, which is the batch itself and would be there anyway")

# %% tags=["remove-cell"]
grey = "#7a7a7a"  # reads on white and on black
plt.rc("figure", facecolor="none", dpi=200)
plt.rc("axes", facecolor="none", edgecolor=grey, labelcolor=grey, titlecolor=grey, titlesize="medium")
plt.rc("axes", prop_cycle=plt.cycler(color=["#1b81ba", "#c15d1c", "#148a70", "#c54d96"]))
plt.rc("axes.spines", top=False, right=False)
for part in ("text", "xtick", "ytick"):
    plt.rc(part, color=grey)

# %% [markdown]
# ## 2. Weigh it
#
# Were we right? Capture a step of training, and ask.

# %%
x, y = load_diabetes()
loss_fn = nn.MSELoss()


def fresh():
    tb.seed(0)
    model = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
    return model, optim.SGD(model.parameters(), lr=0.05)


model, optimizer = fresh()


def step(xb, yb):
    optimizer.zero_grad()
    loss = loss_fn(model(xb), yb)
    loss.backward()
    optimizer.step()


with tb.capture() as trace:
    step(x[:100], y[:100])

held = tb.memory(trace)
print(held.kept_names, "are kept:", held.per_row_bytes, "bytes for each row")

# %% tags=["remove-cell"]
assert held.kept_names == tuple(by_hand)
assert held.per_row_bytes == 288 == 8 * sum(by_hand.values())
assert [kept.nbytes for kept in held.kept] == [800 * count for count in by_hand.values()]

# %% [markdown]
# The same names, and the same number. Nobody told the package about `z1`. It read the names in the
# [rules](01_slope_chain_rule_backward_walk), as you did.
#
# ## 3. The life of a step
#
# Each of the four is made on the way forward, waits, and is let go when the way back has used it.
#
# > **Your guess first.** Which of the four has to wait longest: `x`, `h2`, or `e`?

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 3), layout="constrained")
bottom = 0
for kept in held.kept:
    axis.barh(bottom, kept.last - kept.first, kept.nbytes, kept.first, align="edge", color="C0", ec="white")
    if kept.nbytes > 1000:
        axis.text(11.5, bottom + kept.nbytes / 2, kept.name, color="white", ha="center", va="center")
    bottom += kept.nbytes
axis.text(11.5, bottom + 400, kept.name, color="C0", ha="center", va="bottom")
for phase, colour in {"forward": "C0", "backward": "C1", "update": "C2"}.items():
    numbers = [step.number for step in trace.phase(phase)]
    axis.axvspan(numbers[0] - 0.5, numbers[-1] + 0.5, color=colour, alpha=0.1, linewidth=0, zorder=0)
    axis.text(np.mean(numbers), 33_500, phase, color=colour, ha="center", rotation=90 * (phase == "update"), va="top")
axis.set(xlim=(0.5, 23.5), ylim=(0, 34_000), xticks=[1, 6, 11, 12, 17, 22], xlabel="step of the batch")
axis.set(yticks=[0, 10_000, 20_000, 30_000], yticklabels=["0", "10 kB", "20 kB", "30 kB"])
_ = axis.set_ylabel("kept, for 100 rows")

# %% tags=["remove-cell"]
waits = {kept.name: kept.last - kept.first for kept in held.kept}
assert sorted(waits, key=waits.get, reverse=True) == ["x", "h1", "h2", "e"]
assert held.peak_bytes == 28_800 == max(held.timeline)
assert held.timeline[-1] == 0

# %% [markdown]
# What comes first has to wait longest: first in, last out, like plates on a pile. The pile is highest in the middle,
# where the walk turns round. So the way back gives memory free from its first step on.
#
# ## 4. A price for any number of rows
#
# What is kept is not quite all. Gradients and results on their way take room too, for a moment. `tb.price` counts
# everything. It runs the step on arrays that have a shape and no content, so it takes no memory itself, whatever the
# number of rows:

# %%
cost = tb.price(step, x[:1], y[:1], rows=1_000_000)
print(cost)

# %% [markdown]
# Every line has the same form: so much, plus so much for each row. There are your 208 bytes, spread over the layers.
#
# > **Your guess first.** All the weights together take 2.7 kB. From how many rows on do the kept values weigh more than
# > the whole network: 13, 130, or 1,300?

# %%
even = cost.parameter_bytes / cost.kept.per_row
print(f"{even:.1f} rows")

# %% tags=["remove-cell"]
assert cost.kept.per_row == 208 == 8 * (sum(by_hand.values()) - 10)
assert cost.parameter_bytes == 336 * 8
assert round(even) == 13

# %% [markdown]
# Thirteen. Beside a batch, the network itself is soon nothing. And is the price right? Let us take steps, and have
# Python count what is really allocated.


# %%
def allocated(work):
    """The most memory that some work has allocated at one time."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


found = {}
for rows in (100, 1_000, 10_000, 100_000):
    xb, yb = tb.zeros(rows, 10), tb.zeros(rows, 1)
    found[rows] = allocated(lambda xb=xb, yb=yb: step(xb, yb))

for rows, nbytes in found.items():
    priced = tb.price(step, x[:1], y[:1], rows=rows).peak.at(rows)
    print(f"{rows:>7,} rows: priced {priced:>10,} bytes, measured {nbytes:>10,}")

# %% tags=["remove-cell"]
for rows, nbytes in found.items():
    priced = tb.price(step, x[:1], y[:1], rows=rows).peak.at(rows)
    assert priced - 500 < nbytes < priced + 8_000

# %% tags=["hide-input"]
many = np.unique(np.geomspace(1, 1e6, 60).astype(int))
prices = [tb.price(step, x[:1], y[:1], rows=int(rows)) for rows in many]
lines = {
    "most at one time": ("C1", [price.peak.at(price.rows) for price in prices]),
    "kept for the way back": ("C0", [price.kept.at(price.rows) for price in prices]),
    "parameters": ("C2", [price.parameter_bytes for price in prices]),
}
fig, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for name, (colour, nbytes) in lines.items():
    axis.loglog(many, nbytes, color=colour)
    axis.text(1.3e6, nbytes[-1], name, color=colour, va={"C0": "top", "C1": "bottom"}.get(colour, "center"))
axis.loglog(found.keys(), found.values(), "o", color="C1", markersize=5)
axis.axvline(even, 0, 0.2, color=grey, linewidth=0.8, linestyle=":")
axis.text(1.2 * even, 160, "13 rows")
axis.set(xlim=(1, 1e6), ylim=(100, 1e9), xlabel="rows of the batch")
axis.set(xticks=[1, 1e2, 1e4, 1e6], xticklabels=["1", "100", "10,000", "1,000,000"])
axis.set(yticks=[1e3, 1e6, 1e9], yticklabels=["1 kB", "1 MB", "1 GB"])
axis.minorticks_off()

# %% [markdown]
# The dots are measured, the lines are priced. Kept values and peak grow with the rows, for ever. The parameters do
# not. (Two small bends: below six rows the most is needed by the update, and above a thousand the package works on its
# gradients block by block.)
#
# ## 5. The largest batch
#
# If memory is a line, it can be read backwards: this much memory, so how many rows? Say there were only 16 MiB, as
# in a computer of 1995.
#
# > **Your guess first.** On how many rows of ten numbers can this network be trained at once, in 16 MiB: about 400,
# > 4,000, or 40,000?

# %%
largest = batchlab.largest_batch(model, loss_fn, "16 MiB")
print(largest)

mebibytes = []
for rows in (largest.rows, round(1.01 * largest.rows)):
    mebibytes.append(allocated(lambda rows=rows: step(tb.zeros(rows, 10), tb.zeros(rows, 1))) / 2**20)
    print(f"{rows:,} rows take {mebibytes[-1]:.2f} MiB")

# %% tags=["remove-cell"]
assert 40_000 < largest.rows < 41_500
assert 15.7 < mebibytes[0] <= 16 < mebibytes[1]

# %% [markdown]
# So all of our 442 people would fit, even in 1995. For this network memory is no reason for batches. Now take one
# of a hundred layers, each only 128 numbers wide, and a million rows:

# %%
deep = nn.Sequential(*[nn.Sequential(nn.Linear(128, 128, rng=seed), nn.Tanh()) for seed in range(100)])


def deep_step(xb, yb):
    deep.zero_grad()
    loss_fn(deep(xb), yb).backward()


row = np.zeros((1, 128))
deep_cost = tb.price(deep_step, row, row, rows=1_000_000)
print("parameters:      ", format_bytes(deep_cost.parameter_bytes))
print("most at one time:", format_bytes(deep_cost.peak.at(1_000_000)))

# %% tags=["remove-cell"]
assert 100e9 < deep_cost.peak.at(1_000_000) < 110e9

# %% [markdown]
# The network would fit on an old phone. A step with all the rows takes over a hundred gigabytes. (We have just priced
# it, in a blink, on a computer that need not have them.) That is the first reason for batches.
#
# ## 6. A large batch in small parts
#
# What if you want the gradient of many rows, and they do not fit? The gradient of a mean is a mean of gradients. So go
# through the rows in parts, *micro-batches*, add up what they say, and update at the end. Only one part is in memory
# at a time.
#
# Be careful with the mean. Cut 442 rows into parts of 63, and the last part is one person.


# %%
def gradient():
    return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])


def in_parts(size, weigh_by_rows):
    model.zero_grad()
    parts = [slice(start, min(start + size, 442)) for start in range(0, 442, size)]
    for part in parts:
        loss = loss_fn(model(x[part]), y[part])
        loss.backward(gradient=(part.stop - part.start) / 442 if weigh_by_rows else 1 / len(parts))
    return gradient()  # each backward pass has added to what was there


model, optimizer = fresh()
loss_fn(model(x), y).backward()
whole = gradient()

# %% [markdown]
# > **Your guess first.** With every part counting the same, how far is the result from the gradient of all rows: by
# > nothing, by 1 in 442, or by more than a tenth of its length?

# %%
for weigh_by_rows in (True, False):
    off = np.linalg.norm(in_parts(63, weigh_by_rows) - whole) / np.linalg.norm(whole)
    print(f"weighted by rows: {weigh_by_rows!s:<5}   off by {off:.1e} of its length")

# %% tags=["remove-cell"]
assert np.linalg.norm(in_parts(63, True) - whole) < 1e-13 * np.linalg.norm(whole)
assert np.linalg.norm(in_parts(63, False) - whole) > 0.1 * np.linalg.norm(whole)

# %% [markdown]
# The plain mean of means is how it is often written, and here it is another gradient. Weighted by rows, it is the same
# one to the last digits. `tb.accumulate` does the loop, with the right weights:

# %%
for parts in (1, 4, 16):

    def small_step(xb, yb, parts=parts):
        optimizer.zero_grad()
        tb.accumulate(model, loss_fn, xb, yb, micro_batches=parts)
        optimizer.step()

    peak = tb.price(small_step, x[:1], y[:1], rows=1_000_000).peak
    print(f"{parts:>2} parts: {format_bytes(peak.at(1_000_000)):>8} for a million rows")

# %% tags=["remove-cell"]
assert abs(peak.per_row - cost.peak.per_row / 16) < 3
model.zero_grad()
tb.accumulate(model, loss_fn, x, y, micro_batches=8)
assert np.linalg.norm(gradient() - whole) < 1e-13 * np.linalg.norm(whole)

# %% [markdown]
# A sixteenth of the rows, about a sixteenth of the memory. The arithmetic is the same, the gradient is the same. What
# you do *not* get are more steps: it is still one update for all of these rows.
#
# ## 7. Forget, and compute again
#
# The other way leaves the rows alone, and saves on layers. A *checkpoint* keeps what goes into a part of the network,
# and nothing from inside. When the walk comes to that part, it is computed once more.
#
# Take 64 layers. All their outputs are 64 arrays to keep. Now cut the network into segments.
#
# > **Your guess first.** With 8 segments of 8 layers, how many arrays are in memory at most: about 32, 18, or 8?

# %%
curve = batchlab.checkpoint_curve(64, segments=(1, 2, 4, 8, 16, 32, 64))
for segments, arrays in curve.items():
    print(f"{segments:>2} segments: {arrays:.0f} arrays")

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 3), layout="constrained")
fine = np.geomspace(1.6, 64, 100)
axis.plot(fine, 64 / fine, fine, fine, color=grey, linewidth=1, linestyle="--")
axis.text(1.25, 14, "layers of\none segment")
axis.text(60, 10, "what goes into\neach segment", ha="right")
axis.plot(fine, fine + 64 / fine + 2, color="C1")
axis.plot(curve.keys(), curve.values(), "o", color="C1")
axis.annotate("together,\n18 arrays", (8, 18), (8, 26), color="C1", ha="center")
axis.annotate("no checkpoints", (1, 65), (8, 0), textcoords="offset points", color="C1", va="center")
axis.set(xscale="log", xticks=list(curve), xticklabels=list(curve), xlabel="segments", ylim=(0, 70))
axis.minorticks_off()
_ = axis.set_ylabel("arrays in memory")

# %% tags=["remove-cell"]
assert min(curve, key=curve.get) == 8
assert curve[8] == 18
assert curve[1] == 65
assert round(2 * 1000**0.5 + 2) == 65
assert all(abs(curve[s] - (s + 64 / s + 2)) <= 2 for s in curve)
layers, calls, gradients = nn.Sequential(*[nn.Linear(4, 4, rng=i) for i in range(64)]), [], []
counted = [lambda h, layer=layer: (calls.append(layer), layer(h))[1] for layer in layers]
for segments in (8, 1):
    layers.zero_grad()
    tb.checkpoint_sequential(counted, segments, tb.ones(3, 4)).sum().backward()
    gradients.append([p.grad.numpy().copy() for p in layers.parameters()])
assert len(calls) == (64 + 56) + 64
assert all((a == b).all() for a, b in zip(*gradients, strict=True))

# %% [markdown]
# Few segments are long, and many segments have many beginnings. The sum of both is least where they are equal: at the
# square root. From 65 arrays to 18, and for a thousand layers it would be from a thousand to about 65.
#
# It is one line, `tb.checkpoint_sequential(layers, 8, x)`, and it leaves the same gradients, to the bit. The price is
# time: of the 64 layers, 56 are computed twice on their way forward.
#
# ## What to remember
#
# - The way back reads the way forward. What it reads must be kept, for each row.
# - Memory is a line: so much, plus so much for each row. Two numbers tell you the largest batch.
# - Too many rows: micro-batches, weighted by rows. Too many layers: checkpoints, about √n of them.
#
# But the 442 people would have fitted. So why not always take all of them? [What a batch's gradient is
# worth](05_gradient_noise).
#
# ## Try it
#
# 1. Replace `nn.Tanh()` by `nn.ReLU()` in section 2. What is kept now? First say it, then ask `tb.memory`.
# 2. Train in float32: `model.astype(np.float32)`, and the same for the data. What happens to the 208?
# 3. Price a step with `optim.Adam`. Which line of the price changes, and does it depend on the rows?
