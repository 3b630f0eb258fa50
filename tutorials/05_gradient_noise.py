# %% [markdown]
# # Gradient noise
#
# Ask all 442 people, or ask 32 of them and take that for an answer? Opinion polls do the second, and say how far they
# may be off. On this page you do the same with gradients. You see how far a batch is off, find the law behind it, and
# learn of a number that says how many rows are enough, and when nobody can tell.
#
# ## 1. Every row has a gradient
#
# The loss is a mean over the rows. So the gradient is a mean too: each row has a gradient of its own, which says how
# *this* person would like the weights to change.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import batchlab, nn, optim
from tinygrad_batch.data import load_diabetes

x, y = load_diabetes()
loss_fn = nn.MSELoss()


def make_model():
    tb.seed(0)
    return nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))


def gradient(model, rows):
    """The gradient of the loss on some rows, all parameters in one long vector."""
    model.zero_grad()
    loss_fn(model(x[rows]), y[rows]).backward()
    return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])


model = make_model()
exact = gradient(model, np.arange(442))
each = np.array([gradient(model, [row]) for row in range(442)])

print(each.shape, "gradients of single rows; their mean is off by", np.abs(each.mean(axis=0) - exact).max())

# %% tags=["remove-cell"]
grey = "#7a7a7a"  # reads on white and on black
plt.rc("figure", facecolor="none", dpi=200)
plt.rc("axes", facecolor="none", edgecolor=grey, labelcolor=grey, titlecolor=grey, titlesize="medium")
plt.rc("axes", prop_cycle=plt.cycler(color=["#1b81ba", "#c15d1c", "#148a70", "#c54d96"]))
plt.rc("axes.spines", top=False, right=False)
for part in ("text", "xtick", "ytick"):
    plt.rc(part, color=grey)

assert each.shape == (442, 336)
assert np.abs(each.mean(axis=0) - exact).max() < 1e-14
assert np.abs(batchlab.row_gradients(model, loss_fn, x, y) - each).max() < 1e-13

# %% [markdown]
# With these 442 vectors you can make the gradient of any batch: it is the mean of its rows. (The laboratory of the
# package finds all of them in one backward pass, `batchlab.row_gradients`. It gives the same numbers.)
#
# ## 2. A cloud
#
# A gradient of this network is an arrow in 336 dimensions. To see it, look along two of them. The first is the
# direction of the exact gradient. The second is the one in which the rows disagree most. Then draw 400 batches of each
# size, and put a dot where each gradient ends.
#
# > **Your guess first.** Some gradients point away from the exact one. Whoever follows them makes the loss of all rows
# > larger. How many of those of single rows do: 1 in 100, 1 in 10, or 3 in 10?

# %%
length = np.linalg.norm(exact)
along = exact / length
aside = each - exact - np.outer((each - exact) @ along, along)
across = np.linalg.svd(aside, full_matrices=False)[2][0]  # the first principal direction of what is left

rng = np.random.default_rng(1)


def draw(size, batches):
    """Gradients of randomly drawn batches, none with a row twice."""
    return np.array([each[rng.permutation(442)[:size]].mean(axis=0) for _ in range(batches)])


clouds = {size: draw(size, 400) for size in (1, 8, 64)}
wrong_way = {size: np.mean(cloud @ along < 0) for size, cloud in clouds.items()}
for size, share in wrong_way.items():
    print(f"batches of {size:>2}: {share:4.0%} point the wrong way")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.9), sharex=True, sharey=True, layout="constrained")
for axis, (size, cloud) in zip(axes, clouds.items(), strict=True):
    right, up = cloud @ along / length, cloud @ across / length
    axis.scatter(right, up, s=5, c=np.where(right < 0, "#c15d1c", "#1b81ba"), alpha=0.6, linewidths=0)
    axis.plot([0, 1], [0, 0], color=grey, linewidth=2)
    axis.plot(1, 0, "D", color=grey, markersize=5)
    axis.axvline(0, color=grey, linewidth=0.8, linestyle=":")
    axis.set_title(f"{size} row{'s' * (size > 1)}")
axes[0].text(-0.3, -3.8, "wrong\nway", color="C1", ha="right")
axes[2].annotate("all rows", (1, 0), (1, -2.2), ha="center", arrowprops={"arrowstyle": "-", "color": grey})
axes[1].set_xlabel("along the exact gradient, in its lengths")
_ = axes[0].set(ylabel="across", xlim=(-3.2, 5.4), ylim=(-4.3, 4.3))

# %% tags=["remove-cell"]
assert 0.22 < wrong_way[1] < 0.38
assert 0.005 < wrong_way[8] < 0.08
assert wrong_way[64] == 0

# %% [markdown]
# Three in ten single rows lead the wrong way. All of them together still lead right, for the clouds all have the same
# centre: the exact gradient. A batch is not wrong on average. It is only uncertain, and the more rows, the less.
#
# ## 3. The law
#
# How much less? Measure it: the squared distance between a batch's gradient and the exact one, on average over many
# batches.
#
# > **Your guess first.** From 16 rows to 64, four times as many. How much of the mean squared distance is left: a half,
# > a quarter, or a sixteenth?

# %%
sizes = [1, 4, 16, 64, 221, 420]
squares = {size: ((draw(size, 1000) - exact) ** 2).sum(axis=1).mean() for size in sizes}

spread = ((each - exact) ** 2).sum() / 441  # how much single rows differ: tr Σ
law = {size: spread / size * (1 - size / 442) for size in sizes}

print("rows   measured   law")
for size in sizes:
    print(f"{size:>4}   {squares[size]:8.4f}   {law[size]:.4f}")

# %% tags=["remove-cell"]
assert all(abs(squares[size] / law[size] - 1) < 0.12 for size in sizes)
assert 3.5 < squares[16] / squares[64] < 5.5

# %% [markdown]
# The numbers follow one formula. It has two factors:
#
# ```text
# mean squared distance  =  (tr Σ / B) · (1 - B / N)
# ```
#
# The first is the law of averages. `tr Σ` says how much the rows differ. In a mean of B of them, most of it cancels,
# and one B-th is left. So four times the rows leave a quarter of the square, and half of the distance.
#
# The second says that rows are not put back. With B = N everybody was asked, and there is nothing left to be uncertain
# about. For small batches it hardly matters.

# %% tags=["hide-input"]
fine = np.geomspace(1, 441.5, 400)
fig, axis = plt.subplots(figsize=(6.4, 3.3), layout="constrained")
axis.loglog(fine, spread / fine, color=grey, linestyle="--", linewidth=1)
axis.loglog(fine, spread / fine * (1 - fine / 442), color="C0")
axis.loglog(squares.keys(), squares.values(), "o", color="C0")
axis.axhline(length**2, color="C1", linewidth=1)
axis.text(440, 1.1 * length**2, "square of the exact gradient", color="C1", ha="right", va="bottom")
axis.text(30, 0.62, "tr Σ / B", ha="left")
axis.text(36, 0.022, "the law,\nand measured", color="C0")
axis.set(xlim=(0.9, 520), ylim=(1e-3, 30), xticks=[1, 4, 16, 64, 221, 442], xticklabels=[1, 4, 16, 64, 221, 442])
axis.set(xlabel="rows of a batch", ylabel="mean squared distance")
axis.minorticks_off()

# %% [markdown]
# ## 4. How many rows are enough?
#
# Look where the blue line crosses the orange one. There, a batch's gradient is off by as much as the gradient is long:
# as much noise as signal. The number of rows at which this happens has a name, the **gradient noise scale**
# [(McCandlish and others, 2018)](https://arxiv.org/abs/1812.06162):
#
# ```text
# B_noise  =  tr Σ / |G|²        G: the gradient of all rows
# ```
#
# > **Your guess first.** The network is fresh, not trained at all. How many rows does it take to have as much signal as
# > noise: about 8, 80, or 300?

# %%
noise_scale = spread / length**2
print(f"B_noise = {noise_scale:.1f} rows")

# %% tags=["remove-cell"]
assert 6.5 < noise_scale < 8.5

# %% [markdown]
# About eight. With fewer rows, a step is mostly noise. With many more, the batch's gradient is nearly exact, and more
# rows make it only more exactly what it is. You pay for them, and they buy you little.
#
# ## 5. It grows
#
# That was the start. Now train, with all rows, so that the training itself adds no noise. Stop from time to time and
# measure again. Somebody with a million rows could not ask all of them. So we do what they would do: take some batches
# of 4 and of 64, and work out from both what noise and signal must be. That is `batchlab.noise_scale`. It also says how
# sure it is.
#
# > **Your guess first.** In 20 epochs the loss is halved. Where is the noise scale then: still near 8, half of that, or
# > above 100?

# %%
model = make_model()
optimizer = optim.SGD(model.parameters(), lr=0.05)
stops, scales, losses = (0, 5, 10, 15, 20, 30, 50, 100), [], []
done = 0

for stop in stops:
    for _ in range(stop - done):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    done = stop
    each_now = batchlab.row_gradients(model, loss_fn, x, y)
    scales.append(batchlab.noise_scale(each_now, small=4, large=64, pairs=300))
    losses.append(loss_fn(model(x), y).item())

print("epochs   loss   noise scale, from samples   from all rows")
for stop, loss, scale in zip(stops, losses, scales, strict=True):
    said = "not measurable"
    if scale.measurable:
        said = f"{scale.value:4.0f} ({scale.low:.0f} to {scale.high:.0f})"
    print(f"{stop:>6}   {loss:.3f}   {said:<25}   {scale.rows_value:10.0f}")

# %% tags=["remove-cell"]
by_stop = dict(zip(stops, scales, strict=True))
assert losses[stops.index(20)] < 0.52 * losses[0]
assert by_stop[0].measurable
assert abs(by_stop[0].value / noise_scale - 1) < 0.15
assert by_stop[20].measurable
assert by_stop[20].value > 100
assert not any(by_stop[stop].measurable for stop in (30, 50, 100))
exact_scales = [scale.rows_value for scale in scales]
assert exact_scales == sorted(exact_scales)
assert by_stop[20].rows_value < 442 < by_stop[50].rows_value

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 3.3), layout="constrained")
sure = [(stop, scale) for stop, scale in zip(stops, scales, strict=True) if scale.measurable]
axis.semilogy(stops, exact_scales, color=grey, linewidth=1, linestyle="--")
axis.text(60, 1700, "of these 442 rows", va="top")
axis.errorbar(
    [stop for stop, _ in sure],
    [scale.value for _, scale in sure],
    [[scale.value - scale.low for _, scale in sure], [scale.high - scale.value for _, scale in sure]],
    fmt="o-", color="C0",
)  # fmt: skip
axis.text(12, 10, "from samples,\nwith 95 % interval", color="C0")
axis.axvline(25, 0.3, 0.55, color="C0", linewidth=0.8, linestyle=":")
axis.text(27, 40, "from here on, they cannot tell", color="C0")
axis.axhspan(442, 2e4, color="C1", alpha=0.1, linewidth=0)
axis.text(2, 1.3e4, "more rows than there are", color="C1", va="top")
axis.set(yticks=[10, 100, 442, 1e4], yticklabels=["10", "100", "442", "10,000"])
axis.set(xlabel="epochs", ylabel="noise scale, in rows", ylim=(4, 2e4), xlim=(-2, 102))
axis.minorticks_off()

# %% [markdown]
# From eight to above a hundred, and then the samples cannot tell any more. Nothing is wrong with the method. The
# further training gets, the shorter the exact gradient. But the rows go on to disagree, as people do. The signal
# vanishes, and the noise stays. (The two columns answer two questions. The samples speak for all the people that these
# 442 came from, the last column for the 442 alone.)
#
# Near a minimum the signal is so small that it cannot be told from zero, not even with all 442 rows. Then the
# honest answer is *not measurable here*. A number would be made up. It also means something for the 442 people: they
# are a sample themselves, of all the people with diabetes. What they have in common has been learned by now. What is
# left is mostly what makes them different from everybody else.
#
# ## What follows
#
# - At the start, small batches are good enough: the way down is clear to a few.
# - Later, the same small batches are mostly noise. Then take more rows, or smaller steps, which average over time.
# - The noise scale is a rough guide, for one network at one moment. It says how good a step's direction is. It does not
#   know how long the step is, nor how fast your computer is. That comes in
#   [a later tutorial](07_choosing_a_batch_size).
#
# And noise is not only a nuisance, people say: it shakes the training out of bad places. Does it? Next:
# [saddle points](06_saddle_points).
#
# ## Try it
#
# 1. Train with batches of 16 instead of all rows, and measure again. Why does the noise scale not rise as smoothly?
# 2. `np.linalg.svd(aside, ...)[1]` says how much the rows differ in each direction. How many of the 336 matter?
# 3. Give `draw` rows that are put back, `rng.integers(442, size=size)`. Which factor of the law goes away?
