# %% [markdown]
# # Choosing a batch size
#
# How many rows? Memory gave an [upper end](04_memory_of_one_batch), noise gave [a rough guide](05_gradient_noise), and
# saddles gave [no reason](06_saddle_points). What is left is the question that everybody asks: with which batch size am
# I there first? The answer depends on what "first" means. At the end stands a recipe.
#
# ## 1. Count to a goal
#
# This time a network learns to read digits: 1347 little pictures to learn from, and 450 held out. It has arrived when
# its loss over all the rows to learn from is 0.2. Then we know how many *updates* it took, how many *epochs* that were,
# and how many *seconds*.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from tinygrad_batch import batchlab, optim
from tinygrad_batch.data import DataIterator

problem = batchlab.load_problem("digits")
print(problem)


def run(batch_size, rate, seed, goal=0.2):
    """Train until the goal, and return updates, loss and seconds at every look on the way."""
    model, loss_fn = problem.build(seed), problem.loss_fn
    optimizer = optim.SGD(model.parameters(), lr=rate)
    batches = DataIterator(problem.x, problem.y, batch_size=batch_size, shuffle=True, drop_last=True, seed=seed)
    looks, updates, seconds = [(0, loss_fn(model(problem.x), problem.y).item(), 0.0)], 0, 0.0
    while looks[-1][1] > goal:
        for xb, yb in batches:
            start = time.perf_counter()
            optimizer.zero_grad()
            loss_fn(model(xb), yb).backward()
            optimizer.step()
            seconds += time.perf_counter() - start
            updates += 1
            if updates >= 1.05 * looks[-1][0]:  # looking at all rows takes time: look less often as it goes on
                looks.append((updates, loss_fn(model(problem.x), problem.y).item(), seconds))
                if looks[-1][1] <= goal:
                    break
    return np.array(looks)


# %% tags=["remove-cell"]
grey = "#7a7a7a"  # reads on white and on black
plt.rc("figure", facecolor="none", dpi=200)
plt.rc("axes", facecolor="none", edgecolor=grey, labelcolor=grey, titlecolor=grey, titlesize="medium")
plt.rc("axes", prop_cycle=plt.cycler(color=["#1b81ba", "#c15d1c", "#148a70", "#c54d96"]))
plt.rc("axes.spines", top=False, right=False)
for part in ("text", "xtick", "ytick"):
    plt.rc(part, color=grey)

# %% [markdown]
# Each batch size gets a learning rate that suits it. (How these were found comes in section 4.)
#
# > **Your guess first.** From 1 row to 4: how many times fewer updates? And from 64 to 256, again four times the rows?

# %%
rates = {1: 1 / 16, 4: 1 / 4, 16: 1, 64: 1, 256: 1, 1347: 1}
runs = {size: [run(size, rate, seed) for seed in range(3)] for size, rate in rates.items()}

updates = {size: np.mean([looks[-1, 0] for looks in some]) for size, some in runs.items()}
epochs = {size: count * size / 1347 for size, count in updates.items()}
seconds = {size: np.mean([looks[-1, 2] for looks in some]) for size, some in runs.items()}

print("  rows   updates   epochs   seconds")
for size in rates:
    print(f"{size:>6}   {updates[size]:7.0f}   {epochs[size]:6.2f}   {seconds[size]:7.3f}")

# %% tags=["remove-cell"]
assert 3 < updates[1] / updates[4] < 5.5
assert 1 < updates[64] / updates[256] < 1.5
assert list(updates.values()) == sorted(updates.values(), reverse=True)
assert list(epochs.values())[2:] == sorted(list(epochs.values())[2:])
assert 0.7 < epochs[4] / epochs[1] < 1.3

# %% [markdown]
# From 1 to 4 rows it takes about a quarter of the updates: each new row is worth what the first one was. From 64 to 256
# it takes hardly fewer. The additional rows make the gradient more exact, and exact it was already.
#
# ## 2. A law, and a corner
#
# Fewer updates, or fewer rows: more of one is less of the other. Between them there is a simple law
# ([McCandlish and others, 2018](https://arxiv.org/abs/1812.06162)):
#
# ```text
# updates  =  fewest · (1 + B_crit / B)
# ```
#
# A huge batch needs the fewest updates. At the *critical* batch size it takes twice as many, and there it also sees
# just twice the rows of the thriftiest one. It is the corner between two kinds of waste.

# %%
law = batchlab.fit_law(list(updates), list(updates.values()))
print(f"fewest updates {law.least_updates:.0f}, fewest epochs {law.least_rows / 1347:.2f}")
print(f"critical batch size {law.critical:.0f}; leaving one size out, {law.low:.0f} to {law.high:.0f}")

# %% tags=["hide-input"]
fine = np.geomspace(0.7, 2500, 200)
fig, axis = plt.subplots(figsize=(6.4, 3.5), layout="constrained")
axis.loglog(law.updates(fine), law.updates(fine) * fine / 1347, color=grey, linewidth=1)
axis.axvline(law.least_updates, color=grey, linewidth=0.8, linestyle=":")
axis.axhline(law.least_rows / 1347, color=grey, linewidth=0.8, linestyle=":")
for size in rates:
    axis.plot(updates[size], epochs[size], "o", color="C0")
    name = "all rows" if size == 1347 else f"{size} row{'s' * (size > 1)}"
    axis.annotate(name, (updates[size], epochs[size]), (7, 5), textcoords="offset points", color="C0")
corner = law.updates(law.critical)
axis.plot(corner, corner * law.critical / 1347, "D", color="C1", zorder=3)
axis.annotate(
    "critical", (corner, corner * law.critical / 1347), (-6, -14), textcoords="offset points", ha="right", color="C1"
)
axis.text(2400, 0.94 * law.least_rows / 1347, "fewest rows", ha="right", va="top")
axis.text(0.97 * law.least_updates, 70, "fewest updates", ha="right", va="top", rotation=90)
axis.set(xlim=(38, 2500), ylim=(0.5, 90), xlabel="updates to the goal", ylabel="epochs to the goal")
for along, ticks in ((axis.xaxis, [50, 100, 300, 1000]), (axis.yaxis, [1, 3, 10, 30])):
    along.set_ticks(ticks, labels=ticks)
axis.minorticks_off()

# %% tags=["remove-cell"]
assert 10 < law.critical < 45
assert law.misfit < 0.2
assert abs(law.updates(law.critical) / (2 * law.least_updates) - 1) < 1e-9
assert updates[1347] < 1.2 * law.least_updates

# %% [markdown]
# Take the number with care. It is a few dozen rows for these data, this network and this goal, good to a factor of two
# perhaps. For a lower loss it grows, as the [noise](05_gradient_noise) does.
#
# ## 3. Who is first?
#
# The same trainings once more, seen in three ways.
#
# > **Your guess first.** 1 row, 64 rows, all rows: who is first by updates? By epochs? By the clock?

# %%
for name, count in {"updates": updates, "epochs": epochs, "seconds": seconds}.items():
    print(f"fewest {name:<8} with batches of {min(count, key=count.get)}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.8), sharey=True, layout="constrained")
for size, colour in {1: "C1", 64: "C0", 1347: "C2"}.items():
    done, loss, spent = runs[size][0].T
    for axis, counted in zip(axes, (done, done * size / 1347, 1000 * spent), strict=True):
        axis.plot(counted[1:], loss[1:], color=colour)
for height, name, colour in ((0.5, "all rows", "C2"), (0.38, "64 rows", "C0"), (0.29, "1 row", "C1")):
    axes[0].text(1, height, name, color=colour)
axes[0].set(yscale="log", ylabel="loss over all rows", yticks=[0.2, 0.5, 1, 2], yticklabels=[0.2, 0.5, 1, 2])
for axis, name in zip(axes, ("updates", "epochs", "milliseconds"), strict=True):
    axis.set(xscale="log", xlabel=name)
    axis.minorticks_off()

# %% tags=["remove-cell"]
assert min(updates, key=updates.get) == 1347
assert min(epochs, key=epochs.get) in (1, 4)

# %% [markdown]
# By updates, all rows are first: their steps are the best ones. By epochs, the smallest batches are: they waste no row.
# And by the clock? That was measured while this page was made. A step on one row takes nearly as long as one on
# sixteen, as the computer is busy with everything around the arithmetic. So very small batches pay for each step, very
# large ones for each row, and a size in the middle usually wins. Where the middle lies, your computer decides.
#
# "Small batches learn faster" and "large batches learn faster" are both true. They do not say what they count.
#
# ## 4. Every size has its own rate
#
# Where do the learning rates of section 1 come from? From trying. Here are four batch sizes with nine rates each, and
# the loss after three epochs.

# %%
tried = 2.0 ** np.arange(-7, 2)
after = {}
for size in (4, 16, 64, 256):
    curves = batchlab.train(problem, size, tried, seeds=[0, 1], epochs=3, look_every=None)
    after[size] = curves.loss[-1].mean(axis=0)

print("rate    ", *(f"{rate:7.4f}" for rate in tried))
for size, losses in after.items():
    print(f"{size:>3} rows", *(f"{loss:7.3f}" for loss in losses))

# %% [markdown]
# > **Your guess first.** Go from one line to the next and two columns to the right: four times the rows, four times the
# > rate. What happens to the loss?

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3), sharey=True, layout="constrained")
for (size, losses), colour in zip(after.items(), ("C1", "C3", "C0", "C2"), strict=True):
    left.semilogx(tried, losses, ".-", color=colour)
    right.semilogx(tried / size, losses, ".-", color=colour)
    place = np.argmin(abs(losses - (1.3 if size < 256 else 1.9)))
    left.text(tried[place], losses[place] + 0.12, f" {size}{' rows' * (size == 4)}", color=colour)
left.set(xlabel="learning rate", ylabel="loss after 3 epochs", ylim=(0, 2.6), yticks=[0, 1, 2])
right.set_xlabel("learning rate / rows of a batch")
for axis, ticks in ((left, ["1/128", "1/16", "1/2"]), (right, ["1/32768", "1/1024", "1/32"])):
    axis.set(xticks=[1 / int(tick[2:]) for tick in ticks], xticklabels=ticks)
    axis.minorticks_off()

# %% tags=["remove-cell"]
for small, large in ((4, 16), (16, 64), (64, 256)):
    assert np.abs(after[large][2:6] / after[small][0:4] - 1).max() < 0.06
best = {size: tried[np.argmin(losses)] for size, losses in after.items()}
assert all(rates[size] / 2 <= rate <= 2 * rates[size] for size, rate in best.items())
assert all(losses[-1] > 2.5 for losses in after.values())
assert after[256].min() > 3 * after[16].min()

# %% [markdown]
# Nothing, as long as the rates are small. Read along that diagonal, and up to a rate of 1/4 the losses agree to a few
# per cent. On the right, the rate is divided by the rows, and the four lines are one: after the same epochs, what
# counts is rate / batch size. Four small steps do the same as one step that is four times as long. This is the
# **linear scaling rule**.
#
# (The lowest loss of each line is at about the rate of section 1.) The rule has an end. At a rate of 2 every line goes
# through the roof, with any batch size. An exact gradient does not help against steps that are too long for the bend of
# the ground. Theory knows where: at 2 divided by the largest curvature.

# %%
start = problem.build(0)
trained = batchlab.train(problem, 4, [0.01], seeds=[0], epochs=10, look_every=None).ensemble.model(0)
for name, model in {"at the start": start, "after training": trained}.items():
    curvature = batchlab.sharpness(model, problem.loss_fn, problem.x, problem.y)
    print(f"{name:<15} curvature {curvature:.2f}, so rates up to {2 / curvature:.2f}")

# %% tags=["remove-cell"]
limits = [2 / batchlab.sharpness(m, problem.loss_fn, problem.x, problem.y) for m in (start, trained)]
assert 0.8 < limits[1] < limits[0] < 2.5

# %% [markdown]
# So up to a point, more rows allow a larger rate, and nothing is lost. Beyond it, more rows are just fewer updates at
# the same rate, and 256 rows end far above the others. If you compare batch sizes at *one* rate, you measure for which
# of them the rate happened to be right.
#
# ## 5. Rows that were never seen
#
# What matters are new pictures. It is often said that small batches do better there. First the usual comparison: the
# same rate, the same 20 epochs.
#
# > **Your guess first.** 16 rows put 97% of the 450 held-out digits into the right class. And all rows at once: 97%,
# > 90%, or less than 70%?

# %%
right = {}
for size in (16, None):
    curves = batchlab.train(problem, size, [0.1], seeds=range(3), epochs=20, held_out=True, look_every=None)
    loss, right[size] = curves.loss[-1].mean(), curves.score[-1].mean()
    print(f"{size or 'all':>3} rows: {right[size]:.1%} right; loss on the rows it learned from {loss:.2f}")

# %% tags=["remove-cell"]
assert 0.965 < right[16] < 0.98
assert right[None] < 0.7
assert loss > 1.5

# %% [markdown]
# A disaster for the full batch? Look at its loss. It has not learned yet. Twenty epochs are twenty updates for
# it, and at a rate that is far too small. To ask who does better on *new* rows, compare those who know the *old* ones
# equally well: stop each at the same training loss.

# %%
scores = {}
for size in (1, 16, None):
    rate = min(1, (size or 1347) / 16) / 4  # its own rate, and smaller: what jitters is hard to compare
    curves = batchlab.train(
        problem, size, [rate], seeds=range(3), updates=20_000, goal=0.2, held_out=True, look_every=1.1
    )
    scores[size] = curves.where(0.2, "score")[:, 0]
    print(f"{size or 'all':>3} rows: {np.mean(scores[size]):.1%} right, three runs:", np.round(scores[size], 3))

# %% tags=["remove-cell"]
means = [np.mean(some) for some in scores.values()]
assert max(means) - min(means) < min(0.03, max(np.ptp(some) for some in scores.values()))
assert min(means) > 0.9

# %% [markdown]
# They are all the same, as far as three runs can tell: one batch size differs from another no more than one run from
# the next. On these data the small batch has no gift for new rows. It had only been further on its way.
#
# ## 6. Let the laboratory measure
#
# All of this can be done for your own data. `batchlab.advise` tunes a rate for each batch size, counts, looks at the
# clock of your computer and the memory that you allow, and gives its reasons. Here are the 353 diabetes patients of the
# training set, and another network:

# %%
diabetes = batchlab.load_problem("diabetes")
advice = batchlab.advise(
    diabetes.build(0), (diabetes.x, diabetes.y), memory="512 MiB", goal=0.45, batch_sizes=[16, 64, None], seeds=[0]
)
print(advice)

# %% tags=["remove-cell"]
assert advice.batch_size in (16, 64, 353)
assert advice.largest > 1_000_000

# %% [markdown]
# It is an answer for this problem on this computer. With so few rows, a step on all of them costs little more than one
# on 64, so these two are often close, and another computer may name the other one. There is no number that is right
# everywhere, and nobody can look it up. The whole comparison, with pictures, is one command:
#
# ```text
# tinygrad-batch compare --data digits -o batch_sizes.html
# ```
#
# ## A recipe
#
# 1. Find out how many rows fit into your memory. That is the upper end, and rarely the answer.
# 2. Start with 32 rows, and try rates a factor of four apart until the loss explodes. Take the best of them.
# 3. Double the rows and the rate together, as long as the loss after an epoch stays the same: you save time and lose
#    nothing.
# 4. Stop where the rate can grow no more, or where a step begins to take longer. That is your batch size.
# 5. Later in training, when the noise has become larger than the signal, let the rate fall.
# 6. Compare at the goal, with each size at its own rate, and by what you pay for: mostly that is time.
#
# ## Try it
#
# 1. Set `goal=0.1` in section 1. Does the critical batch size grow?
# 2. In section 4, add `drop_last=False`. The last batch of 256 then has 67 rows, at the full rate. What does it do?
# 3. Run `batchlab.advise` on digits. How much does its advice differ between two computers?
