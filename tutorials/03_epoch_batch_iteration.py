# %% [markdown]
# # Epoch, batch, iteration
#
# Three words are on every page about training. They are easily mixed up, and yet each is only a way of counting.
# On this page you count, look at the rows one by one, and find out why they are shuffled. At the end you pull the
# plug in the middle of a training, and it goes on as if nothing had happened.
#
# ## 1. Three words
#
# The data are those of the [tour](00_two_minute_tour): 442 people, ten measurements of each, and one number to predict.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator, load_diabetes

x, y = load_diabetes()

# %% tags=["remove-cell"]
grey = "#7a7a7a"  # reads on white and on black
plt.rc("figure", facecolor="none", dpi=200)
plt.rc("axes", facecolor="none", edgecolor=grey, labelcolor=grey, titlecolor=grey, titlesize="medium")
plt.rc("axes", prop_cycle=plt.cycler(color=["#1b81ba", "#c15d1c", "#148a70", "#c54d96"]))
plt.rc("axes.spines", top=False, right=False)
for part in ("text", "xtick", "ytick"):
    plt.rc(part, color=grey)

# %% [markdown]
# - A **batch** is the rows that are looked at together, before anything is changed. Here it is 32 people.
# - An **iteration** is what is done with one batch: forward, backward, update. It is also called a step, or an update.
# - An **epoch** is as many iterations as it takes until *every* row has had its turn, once.
#
# > **Your guess first.** How many iterations are an epoch of 442 rows, in batches of 32: 13, 14, or 442?

# %%
batches = DataIterator(x, y, batch_size=32, shuffle=True, seed=0)
sizes = [len(xb) for xb, yb in batches]

print(len(sizes), "iterations, with", sizes, "rows")
print(sum(sizes), "rows in all")

# %% tags=["remove-cell"]
assert sizes == [32] * 13 + [26]
assert sum(sizes) == 442 == 13 * 32 + 26

# %% [markdown]
# Fourteen. Thirteen batches of 32 are 416 rows. The 26 that are left make a batch of their own, a short one. Nobody is
# left out, and nobody comes twice.
#
# ## 2. Who goes with whom
#
# Which 32 people are in a batch? Let us see. Instead of measurements, hand the iterator the numbers of the rows, from 0
# to 441. What comes out is the guest list of each batch.

# %%
numbers = DataIterator(np.arange(442), batch_size=32, shuffle=True, seed=0)

lists = []  # for every epoch: the number of the batch that takes each row
for epoch in numbers.epochs(3):
    taken_by = np.full(442, -1)
    for step, (rows,) in enumerate(epoch):
        taken_by[rows.numpy()] = step
    lists.append(taken_by)

print("row 200 is in batch", [int(taken_by[200]) for taken_by in lists])

# %% tags=["remove-cell"]
assert all((np.bincount(taken_by, minlength=14) == sizes).all() for taken_by in lists)
assert len({int(taken_by[200]) for taken_by in lists}) == 3

# %% [markdown]
# Now the same for all rows at once. Each little square is one of the 442 people, 26 to a line. The colour says which
# batch of the epoch takes that person: the first is blue, the last is orange. The ring is row 200.

# %% tags=["hide-input"]
colours = plt.matplotlib.colors.LinearSegmentedColormap.from_list("", ["#0068a3", "#a9b7c0", "#c4501b"])
fig, axes = plt.subplots(2, 2, figsize=(6.4, 4.6), layout="constrained")
titles = ["without shuffling", "epoch 0", "epoch 1", "epoch 2"]
for axis, title, taken_by in zip(axes.flat, titles, [np.arange(442) // 32, *lists], strict=True):
    image = axis.imshow(taken_by.reshape(17, 26), cmap=colours)
    axis.scatter(200 % 26, 200 // 26, s=70, facecolors="none", edgecolors="white", linewidths=1.6)
    axis.set(title=title, xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
bar = fig.colorbar(image, ax=axes, shrink=0.6, ticks=[0, 13], label="batch that takes the row")
bar.outline.set_visible(False)
_ = bar.ax.set_yticklabels(["first", "last"])

# %% [markdown]
# Without shuffling, the batches are stripes: always the same 32 neighbours together. With it, each epoch is a new
# arrangement of the same people. Every picture holds the same number of squares of each colour, for every row is there
# exactly once.
#
# ## 3. An order that nobody has to remember
#
# Where do the three arrangements come from? From chance, but from a chance that can be asked again.
#
# > **Your guess first.** A second iterator goes straight to epoch 2. It has never been through epochs 0 and 1. Does it
# > see the same batches there as the first one did?

# %%
other = DataIterator(np.arange(442), batch_size=32, shuffle=True, seed=0)
epochs = list(other.epochs(3))  # three epochs, and no loop over any of them

(rows,) = next(iter(epochs[2]))
print("its first batch:         ", rows.numpy()[:8], "...")
print("where these people were: ", lists[2][rows.numpy()])

# %% tags=["remove-cell"]
assert (lists[2][rows.numpy()] == 0).all()
assert (lists[1][rows.numpy()] != 0).any()
assert (next(iter(DataIterator(np.arange(442), batch_size=32, shuffle=True, seed=1)))[0].numpy() != rows.numpy()).any()

# %% [markdown]
# The same: all of them were in batch 0. An order is a *function* of two numbers, the seed and the number of the epoch,
# and of nothing else. It does not depend on what was drawn before, by whom, or in which thread. Keep this in mind for
# the end of the page.
#
# ## 4. Why shuffle at all?
#
# Tables are often sorted: by date, by hospital, by result. Let us sort ours by what is to be predicted, so that the
# healthiest come first and the most ill come last. Then train twice, once with shuffling and once without. After
# every iteration we ask for the mean prediction for *all* rows. The right answer is 0, as the targets have that mean.

# %%
by_target = np.argsort(y[:, 0], kind="stable")
loss_fn = nn.MSELoss()


def make_model():
    tb.seed(0)
    return nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))


def train(order, shuffle, lr=0.1):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    batches = DataIterator(x[order], y[order], batch_size=32, shuffle=shuffle, seed=0)
    means = []
    for epoch in batches.epochs(10):
        for xb, yb in epoch:
            optimizer.zero_grad()
            loss_fn(model(xb), yb).backward()
            optimizer.step()
            means.append(model(x).mean().item())
    return means, loss_fn(model(x), y).item()


# %% [markdown]
# > **Your guess first.** Both see each row ten times. A model that always answers 0 has a loss of 1. The one with
# > shuffling ends below 0.5. Where does the one without end: about there, a little higher, or above 1?

# %%
calm, loss_shuffled = train(by_target, shuffle=True)
pulled, loss_sorted = train(by_target, shuffle=False)
print(f"shuffled anew for each epoch: {loss_shuffled:.3f}")
print(f"always from low to high:      {loss_sorted:.3f}")

# %% tags=["remove-cell"]
assert loss_shuffled < 0.5
assert loss_sorted > 1.2
pulled_epochs = np.reshape(pulled, (10, 14))
assert (pulled_epochs.max(1)[1:] > 0.8).all()
assert (pulled_epochs.min(1)[1:] < -0.15).all()
assert abs(np.array(calm)).max() < 0.3
gentle, _ = train(by_target, shuffle=False, lr=0.02)
assert max(gentle) < 0.5 * min(pulled_epochs.max(1))
_, loss_once = train(np.random.default_rng(0).permutation(442), shuffle=False)
assert abs(loss_once / loss_shuffled - 1) < 0.05

# %% [markdown]
# Ten epochs of training, and it is worse than no model at all. This is what happened inside:

# %% tags=["hide-input"]
fig, axis = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
axis.axhline(0, color=grey, linewidth=0.8)
axis.plot(np.arange(1, 141) / 14, pulled, color="C1")
axis.plot(np.arange(1, 141) / 14, calm, color="C0")
axis.text(10.1, pulled[-1], "from low\nto high", color="C1", va="center")
axis.text(10.1, calm[-1], "shuffled", color="C0", va="center")
_ = axis.set(xlim=(0, 10), xticks=range(11), xlabel="epochs", ylabel="mean prediction\n(right: 0)")

# %% [markdown]
# The orange line is a saw. In every epoch the network first meets people who are well, and learns to say "well" to
# everybody. Then it meets the others, unlearns it, and says "ill" to everybody. Its last batch before you look at
# it holds the 26 most ill people of all.
#
# A batch stands for all the rows, like a sample in a survey. A sample of neighbours stands for the neighbourhood. So
# rows are shuffled. (With a smaller learning rate the saw has smaller teeth. And shuffling once, beforehand, would do
# nearly as well here. A new order for each epoch costs nothing, and nobody has to trust that the one order was lucky.)
#
# ## 5. The short batch, and a mean that is wrong
#
# Back to the 26 rows at the end. In most training loops, the loss of an epoch is the mean of the losses of its batches.
# To see what that does, take batches of 63. Seven of them are 441 rows, and the last batch is a single person.
#
# > **Your guess first.** The single person's loss happens to be high. How much does it count in the mean over the eight
# > batches: 1/442, or 1/8?

# %%
model = make_model()  # not trained: the weights stay as they are, so that there is one right answer

for epoch in DataIterator(x, y, batch_size=63, shuffle=True, seed=0).epochs(1):
    losses = [loss_fn(model(xb), yb).item() for xb, yb in epoch]

mean_of_means = sum(losses) / len(losses)
by_rows = epoch.mean(losses)
print(f"all rows at once: {loss_fn(model(x), y).item():.6f}")
print(f"epoch.mean:       {by_rows:.6f}")
print(f"mean of means:    {mean_of_means:.6f}   ({mean_of_means / by_rows - 1:+.1%})")
print(f"the last batch:   {losses[-1]:.6f}")

# %% tags=["remove-cell"]
exact = loss_fn(model(x), y).item()
assert len(losses) == 8
assert losses[-1] > 1.6 * by_rows
assert abs(by_rows - exact) < 1e-12
assert mean_of_means > 1.05 * exact

# %% [markdown]
# It is 1/8. One person counts as much as the 63 in each of the other batches. `epoch.mean` weighs every batch by its
# rows, and gives the loss of the epoch to the last digit.
#
# The same goes for the update. The last batch makes a full step, on the word of one person. If that is too much for
# you, `DataIterator(..., drop_last=True)` leaves the short batch out. As the order is new each time, it leaves out
# somebody else in each epoch.
#
# ## 6. Pull the plug
#
# Three numbers say where a training is: the seed, the epoch, and the next iteration in it. That is the *cursor*. And
# as a batch is a function of the cursor, there is no list of what was seen, and no state of a random generator to save.
#
# First, two epochs without a break:


# %%
def parts():
    model = make_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, DataIterator(x, y, batch_size=32, shuffle=True, seed=7)


def step(model, optimizer, xb, yb):
    optimizer.zero_grad()
    loss_fn(model(xb), yb).backward()
    optimizer.step()


whole, optimizer, batches = parts()
for epoch in batches.epochs(2):
    for xb, yb in epoch:
        step(whole, optimizer, xb, yb)

# %% [markdown]
# Now the same, but somebody pulls the plug in the second epoch, after the sixth iteration. Saved are the weights, and
# what `state_dict` says:

# %%
stopped, optimizer, batches = parts()
for epoch in batches.epochs(2):
    for xb, yb in epoch:
        step(stopped, optimizer, xb, yb)
        if (epoch.number, batches.batch_index) == (1, 5):
            saved, weights = json.dumps(batches.state_dict()), stopped.state_dict()
            break

print(saved)

# %% [markdown]
# > **Your guess first.** A new process, new objects, eight iterations to go. Are the weights in the end the same as
# > without the break: roughly, to six digits, or to the last bit?

# %%
resumed, optimizer, batches = parts()
resumed.load_state_dict(weights)
batches.load_state_dict(json.loads(saved))
print(batches.cursor)

for xb, yb in batches:  # what is left of the epoch
    step(resumed, optimizer, xb, yb)

pairs = zip(whole.parameters(), resumed.parameters(), strict=True)
print("the same to the last bit:", all((a.numpy() == b.numpy()).all() for a, b in pairs))

# %% tags=["remove-cell"]
assert json.loads(saved)["epoch"] == 1
assert json.loads(saved)["step"] == 6
assert all((a.numpy() == b.numpy()).all() for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
assert batches.epoch == 2

# %% [markdown]
# To the last bit. (Plain SGD has no memory of its own. For other optimisers, save `optimizer.state_dict()` too;
# `tb.save_checkpoint` puts all of it into one file.)
#
# ## What to remember
#
# - Batch: rows that are looked at together. Iteration: one batch, one update. Epoch: every row once.
# - 442 rows in batches of 32 are 14 iterations, and the last has 26 rows.
# - The order of an epoch is a function of the seed and the epoch. A batch is a function of seed, epoch and iteration.
# - Shuffle. Weigh by rows.
#
# Next: [what a batch costs in memory](04_memory_of_one_batch).
#
# ## Try it
#
# 1. Sort by `x[:, 2]`, the body mass index, instead of by the target. How large are the teeth of the saw now?
# 2. Set `lr=0.02` in section 4. Which of the two losses changes more, and why?
# 3. For which batch sizes does 442 have no short batch? Which of them would you want to train with?
