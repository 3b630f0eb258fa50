# %% [markdown]
# # Saddle points
#
# "With all the rows you can get stuck, and the noise of small batches sets you free." You find this in many courses. On
# this page you put it to the test. You build a place where it is true, word for word. And then you look how often one
# comes to such a place, who else is stuck, and what it really is that sets a training free.
#
# ## 1. Uphill one way, downhill the other
#
# Take a network so small that its loss can be drawn: two hidden units, with one weight each. Their outputs are added
# with fixed weights, 1.5 and 1. The rows come from a network of the same kind, with weights 3 and 0.3, and some noise.
#
# `batchlab.Surface` makes a landscape of it. All it asks for is the loss of each row.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import batchlab


class TwoUnits(batchlab.Surface):
    names = ("w1", "w2")

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = 2 * rng.standard_normal(100)
        self.y = 1.5 * np.tanh(3 * self.x) + np.tanh(0.3 * self.x) + 0.05 * rng.standard_normal(100)

    def losses(self, p, x, y):
        prediction = 1.5 * tb.tanh(p[:, :1] * x) + tb.tanh(p[:, 1:] * x)
        return tb.square(prediction - y)


surface = TwoUnits()

# %% tags=["remove-cell"]
grey = "#7a7a7a"  # reads on white and on black
plt.rc("figure", facecolor="none", dpi=200)
plt.rc("axes", facecolor="none", edgecolor=grey, labelcolor=grey, titlecolor=grey, titlesize="medium")
plt.rc("axes", prop_cycle=plt.cycler(color=["#1b81ba", "#c15d1c", "#148a70", "#c54d96"]))
plt.rc("axes.spines", top=False, right=False)
for part in ("text", "xtick", "ytick"):
    plt.rc(part, color=grey)

# %% [markdown]
# Now let both units be the same, `w1 = w2`. Two units that do the same are one unit, twice as strong. Look for the best
# such pair: go downhill along the diagonal until it is flat.

# %%
w = 1.0
for _ in range(500):
    w -= 0.2 * surface.gradient([w, w]).sum()

saddle = np.array([w, w])
curvatures, directions = np.linalg.eigh(surface.hessian(saddle))
directions *= np.sign(directions[0])  # both towards larger w1
print("w1 = w2 =", round(w, 4))
print("gradient:  ", surface.gradient(saddle))
print("curvatures:", curvatures.round(3))

# %% tags=["remove-cell"]
assert np.abs(surface.gradient(saddle)).max() < 1e-12
assert curvatures[0] < -0.1
assert curvatures[1] > 0.3

# %% [markdown]
# The gradient is zero, in *all* directions, although we only looked along the diagonal. One curvature is positive: in
# that direction the ground rises to both sides. The other one is negative: there it falls to both sides. Such a place
# is a **saddle point**. In the mountains it is called a pass.
#
# (Fukumizu and Amari showed in 2000 that nets are full of such places: take the best net of a smaller size, and double
# one of its units.)

# %% tags=["hide-input"]
across, up = np.linspace(-0.2, 4, 121), np.linspace(-0.2, 2, 121)
heights = surface.loss(np.stack(np.meshgrid(across, up), -1))
levels = surface.loss(saddle) * np.array([0.06, 0.15, 0.35, 0.65, 1, 1.5, 2.2, 3.2, 5, 8, 13, 21])


def draw_map(axis):
    axis.contour(across, up, heights, levels, colors=grey, linewidths=np.where(levels == levels[4], 1.6, 0.5))
    axis.plot(*saddle, "D", color="C3", markersize=6)
    axis.set(xlabel="w1", xticks=range(5), yticks=range(3))


fig = plt.figure(figsize=(6.4, 3.2), layout="constrained")
left, right = fig.add_subplot(121, projection="3d"), fig.add_subplot(122)
apart, together = np.meshgrid(np.linspace(-0.8, 0.8, 60), np.linspace(-0.3, 0.6, 60))
near = surface.loss(saddle + np.stack([apart, together], -1) @ directions.T)
low_to_high = plt.matplotlib.colors.LinearSegmentedColormap.from_list("", ["#0068a3", "#a9b7c0", "#c4501b"])
left.plot_surface(
    apart, together, near, cmap=low_to_high, vmin=0.04, vmax=0.13, rcount=60, ccount=60, antialiased=False
)
left.plot(0, 0, surface.loss(saddle) + 0.004, "D", color="C3", markersize=6, zorder=9)
left.set(xlabel="units apart", ylabel="units together", xticks=[], yticks=[], zticks=[])
left.view_init(30, 120)
for pane in (left.xaxis, left.yaxis, left.zaxis):
    pane.set_pane_color((0, 0, 0, 0))
    pane.line.set_color(grey)
left.grid(visible=False)
draw_map(right)
right.set_ylabel("w2")
right.annotate("saddle", saddle, (8, 6), textcoords="offset points", color="C3")
_ = right.annotate("best", (2.96, 0.3), color=grey, ha="center", va="center")

# %% [markdown]
# On the left is the ground near the saddle: it falls where the units become different, and rises where they change
# together. On the map, the thick line is the height of the saddle itself. It crosses there: that is how you know a pass
# on any map.
#
# ## 2. Who leaves?
#
# Put training exactly onto the saddle. Take batches of 1 row, of 10, of 50, or all 100, and always the same learning
# rate.
#
# > **Your guess first.** Which of them go away? And who is first, counted in epochs?

# %%
best = surface.loss(batchlab.walk(surface, [3, 0.3], 0.05, None, 500).points[-1, 0])
halfway = (surface.loss(saddle) + best) / 2


def has_left(points):
    return surface.loss(points) < halfway


plans = {1: (20, 30), 10: (20, 150), 50: (6, 900), None: (1, 1500)}  # batch size: walks, most epochs
steps_to_leave = {}
for size, (walks, epochs) in plans.items():
    each = 100 // (size or 100)  # iterations of an epoch
    starts = np.tile(saddle, (walks, 1))
    walk = batchlab.walk(surface, starts, 0.05, size, epochs * each, every=each, until=has_left)
    steps = walk.first(has_left(walk.points))
    steps_to_leave[size] = np.median(steps)
    left = int(np.isfinite(steps).sum())
    said = (
        f"after {np.median(steps) / each:3.0f} epochs, {np.median(steps):4.0f} steps" if left else f"in {epochs} epochs"
    )
    print(f"{size or 'all':>3} rows: {left:>2} of {walks:>2} left {said}")

# %% tags=["remove-cell"]
assert 5 <= steps_to_leave[1] / 100 <= 10
assert 70 <= steps_to_leave[10] / 10 <= 110
assert 450 <= steps_to_leave[50] / 2 <= 700
assert steps_to_leave[None] == np.inf
assert steps_to_leave[1] < steps_to_leave[10] < steps_to_leave[50] < 2 * steps_to_leave[1]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.4), sharey=True, layout="constrained")
for axis, (size, epochs, colour) in zip(axes, ((1, 30, "C1"), (10, 150, "C0"), (None, 1500, "C2")), strict=True):
    draw_map(axis)
    walk = batchlab.walk(surface, [saddle], 0.05, size, epochs * (100 // (size or 100)), every=5 if size else 100)
    axis.plot(*walk.points[:, 0].T, color=colour, linewidth=1.2)
    axis.plot(*walk.points[-1, 0], "o", color=colour, markersize=6)
    axis.set_title(f"{size or 'all'} row{'s' * (size != 1)}, {epochs} epochs", color=colour)
_ = axes[0].set_ylabel("w2")

# %% [markdown]
# There it is. One row at a time is off after a handful of epochs. All rows together stand on the pass, look around,
# and see that it is flat. They will stand there for ever: their gradient is zero, and a zero moves nothing.
#
# So the saying is true. Now let us be fair to the full batch.
#
# ## 3. A push of a millionth
#
# Look at the end of each line above. In *steps*, 1, 10 and 50 rows are less than a factor of two apart. The small
# batches are quick because an epoch of theirs has more steps. And the full batch was put there to fifteen digits. Who
# starts a training like that? Push it a little, down the steepest way.
#
# > **Your guess first.** Pushed by a millionth, how many steps does the full batch need: about 1,500, about 1,000,000,
# > or does it stay?

# %%
pushes = [1e-2, 1e-4, 1e-6, 1e-8]
needed = []
for push in pushes:
    start = saddle + push * directions[:, 0]
    walk = batchlab.walk(surface, [start], 0.05, None, 4000, every=10, until=has_left)
    needed.append(walk.first(has_left(walk.points))[0])
    print(f"pushed by {push:.0e}: {needed[-1]:5.0f} steps")

print(f"for each factor of 100: {np.log(100) / np.log(1 - 0.05 * curvatures[0]):.0f} steps")

# %% tags=["remove-cell"]
assert 1400 < needed[2] < 1650
assert np.ptp(np.diff(needed)) <= 20
assert abs(np.diff(needed).mean() - np.log(100) / np.log(1 - 0.05 * curvatures[0])) < 15

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
axis.semilogx(pushes, needed, "o-", color="C2")
axis.text(2e-7, 1750, "all rows, pushed", color="C2")
for size, colour in ((1, "C1"), (10, "C0"), (50, "C3")):
    axis.axhline(steps_to_leave[size], color=colour, linewidth=1, linestyle="--")
    axis.text(2.4e-2, steps_to_leave[size], f"{size} row{'s' * (size > 1)}, not pushed", color=colour, va="center")
axis.set(xlim=(5e-9, 2e-2), ylim=(0, 2400), xlabel="size of the push", ylabel="steps to leave")
axis.minorticks_off()

# %% [markdown]
# A straight line. Each step multiplies the distance from the saddle by the same number, as interest does. So a push a
# hundred times smaller costs a fixed number of steps more, and even a tiny one is soon large. All that the noise of
# a small batch does here is to give the push. A full batch that starts anywhere *near* a saddle leaves it too.
#
# Exactly on the saddle is a set of measure zero: throw darts for ever, and you never hit it.
#
# ## 4. From where people really start
#
# Real trainings start from random weights. So train our [10 → 15 → 10 → 1 network](00_two_minute_tour) from 20 random
# starts, with each batch size. *Stuck* is who ends at a place that is flat and no good: the gradient is shorter than
# 0.01, and the loss is above a tenth of that of always answering with the mean.
#
# > **Your guess first.** Of 20 starts each, how many are stuck with 1 row, with 10, with all 100?

# %%
wide = batchlab.random_starts(20, plans=((1, 0.01, 25), (10, 0.05, 50), (None, 0.3, 200)))
for found in wide:
    print(f"{found.batch_size:>3} rows: {found.stuck} of {found.starts} stuck, median loss {found.loss:.3f}")

# %% tags=["remove-cell"]
assert [found.stuck for found in wide] == [0, 0, 0]
assert all(found.loss < 0.083 for found in wide)  # a tenth of the variance of the targets

# %% [markdown]
# Nobody. (They have not all arrived, the steps are few. But nobody stands still at a bad place.)
#
# Is a random start always safe, then? No. This network has many more units than it needs. Take one that has none to
# spare: two units, and data that two units made. And beside it one with four.

# %%
narrow = batchlab.narrow_nets((2, 4), starts=40, plans=((1, 0.1, 40), (10, 0.1, 120), (None, 0.3, 400)))
for units, batches in narrow.items():
    for found in batches:
        print(f"{units} units, {found.batch_size:>3} rows: {found.stuck:>2} of {found.starts} stuck")

# %% tags=["remove-cell"]
shares = [found.stuck / found.starts for found in narrow[2]]
assert all(0.5 < share < 0.85 for share in shares)
assert np.ptp(shares) < 0.25
assert all(found.stuck < 12 for found in narrow[4])

# %% [markdown]
# More than half of them are stuck, with *every* batch size. Noise did not help. Two units more did.
#
# ## 5. Twins
#
# There is even a start from which nobody can get away. Give all units of a layer the same weights. For every single
# row, such twins compute the same, and get the same gradient. Then they take the same step, and are still twins.
#
# > **Your guess first.** Can the noise of a batch of one row tell twins apart?

# %%
starts = batchlab.symmetric_starts(((1, 0.01, 30), (10, 0.05, 40), (None, 0.2, 150)))
for found in starts:
    print(f"{found.start:>6}, {found.batch_size:>3} rows: {found.units:>2} different units, loss {found.loss:.2f}")

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
kinds = {"zero": "all weights zero", "equal": "all units alike", "random": "random"}
for found in starts:
    place = list(kinds).index(found.start)
    shift, colour = {1: (-0.3, "C1"), 10: (0, "C0"), 100: (0.3, "C2")}[found.batch_size]
    axis.plot(found.loss, place + shift, "o", color=colour)
    if found.start == "random":
        name = "all rows" if found.batch_size == 100 else f"{found.batch_size} row{'s' * (found.batch_size > 1)}"
        axis.text(found.loss + 0.02, place + shift, name, color=colour, va="center")
axis.set(yticks=range(3), yticklabels=kinds.values(), xlim=(0, 0.9), ylim=(2.5, -0.5), xlabel="loss at the end")
axis.spines["left"].set_visible(False)
axis.tick_params(left=False)

# %% tags=["remove-cell"]
assert all(found.units == (15 if found.start == "random" else 1) for found in starts)
assert all(found.loss > 0.4 for found in starts if found.start != "random")
assert all(found.loss < 0.15 for found in starts if found.start == "random")

# %% [markdown]
# It cannot, for the noise is the same for both. One different unit out of 15, with every batch size, and a loss to
# match. That is why weights start at random. It is not to be near a good place. It is to have no twins.
#
# ## 6. Real pits
#
# A saddle has a way down. A *local minimum* has none: it is a pit, and there is a deeper one elsewhere. Here is a
# problem full of them: find the frequency of a wave. One weight, and the loss of each row is `(sin(w x) - sin(3 x))²`.


# %%
class Wave(batchlab.Surface):
    names = ("w",)

    def __init__(self):
        self.x = np.linspace(0, 6, 100)
        self.y = np.sin(3 * self.x)

    def losses(self, p, x, y):
        return tb.square(tb.sin(p * x) - y)


wave = Wave()
starts = np.linspace(1, 5, 61)[:, None]


def ends(rate, size, steps=1500, noise=False):
    """Where walks from all starts end, and which share of them has found the 3."""
    last = batchlab.walk(wave, starts, rate, size, steps, every=steps, noise=noise).points[-1, :, 0]
    return last, np.mean(abs(last - 3) < 0.15)


# %% [markdown]
# Sixty-one starts, from 1 to 5. About a third of them lie in the right pit from the beginning.
#
# > **Your guess first.** Which share finds the 3: with single rows and a small rate? With single rows and a large rate?
# > With all rows, and noise added by hand?

# %%
found = {
    "1 row, small rate": ends(0.002, 1),
    "all rows, large rate": ends(0.03, None, steps=500),
    "1 row, large rate": ends(0.03, 1),
    "10 rows, larger rate": ends(0.15, 10, steps=1000),
    "all rows, large rate,\nnoise added": ends(0.03, None, steps=800, noise=True),
}
for name, (_, share) in found.items():
    print(f"{' '.join(name.split()):<36} {share:4.0%}")

# %% tags=["hide-input"]
fig, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 4.2), sharex=True, height_ratios=[2, 3], layout="constrained")
fine = np.linspace(0, 6.4, 600)
top.plot(fine, wave.loss(fine[:, None]), color=grey)
top.text(3, 0.75, "the 3", color="C3", ha="center")
top.set(ylabel="loss", ylim=(0, 1.25))
for place, (last, share) in enumerate([(starts[:, 0], None), *found.values()]):
    good = abs(last - 3) < 0.15
    for chosen, colour in ((good, "C3"), (~good, "C0")):
        at = np.clip(last[chosen], 0.02, 6.38)
        bottom.scatter(at, np.full(len(at), place), s=26, color=colour if share else grey, alpha=0.35, linewidths=0)
    bottom.text(6.5, place, f"{share:.0%}" if share else "", color="C3", va="center")
bottom.set(yticks=range(6), yticklabels=["the starts", *found], ylim=(5.5, -0.5), xlim=(0, 6.4), xlabel="w")
bottom.spines["left"].set_visible(False)
bottom.tick_params(left=False)

# %% tags=["remove-cell"]
small, full, single, ten, noisy = (share for _, share in found.values())
assert 0.28 < small < 0.45
assert 0.28 < full < 0.42
assert single > 0.65
assert ten > 0.65
assert noisy > 0.65
assert abs(single - noisy) < 0.15

# %% [markdown]
# Here small batches do win, and clearly. But see what it takes:
#
# - With a small rate, single rows find no more than all rows do.
# - Ten rows do it as well, with a larger rate of their own.
# - All rows do it as well, once somebody adds noise of the same size.
#
# So it is the noise, and its size is the learning rate together with the batch size. There is nothing in a small batch
# as such. (Dots at the edges have been shaken out of the picture: noise can throw away, too. And this problem is kind
# to noise. All rows agree at the true frequency, so it is calm there, and nowhere else.)
#
# ## The verdict
#
# - *The full batch can stand on a saddle.* True, if it is put there exactly.
# - *Small batches leave it.* True. So does the full batch, after any push, in about as many steps.
# - *So small batches protect from getting stuck.* Mostly not. From random starts the wide network was never stuck, the
#   narrow one was stuck with every batch size, and twins stay twins.
# - *Noise gets out of pits.* It can, if it is large. The learning rate makes it large just as well.
#
# All of this on small nets, which could be looked at from all sides. It does not say that noise never helps a large
# one. It says that "small batches escape" is not a reason by itself to choose a batch size. What is one?
# [The last tutorial](07_choosing_a_batch_size).
#
# ## Try it
#
# 1. Push the full batch along `directions[:, 1]` instead. Why does it come back?
# 2. In `TwoUnits`, give both outputs the weight 1.25, and let single rows leave the saddle. What do they do, and why?
# 3. In section 6, add noise to the targets, `self.y += 0.3 * ...`. Does it stay calm at the 3 with a rate of 0.05?
