# %% [markdown]
# # A two-minute tour
#
# From data to a trained network, and then a look inside one step of the training.
#
# ## Data
#
# Ten measurements were taken of each of 442 people with diabetes. A year later, doctors wrote down how
# far the disease had progressed. Can the ten numbers predict the one?

# %%
import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator, load_diabetes

x, y = load_diabetes()
print(x.shape, y.shape)

# %% [markdown]
# One row is one person. Features and target are scaled to mean 0 and standard deviation 1, so a network
# that always answers 0 has a squared error of exactly 1, on average. That is the number to beat.
#
# ## A model
#
# Three layers of weights, with a bend (`Tanh`) between them. Without the bends, three layers could do no more
# than one.

# %%
tb.seed(0)
model = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
loss_fn = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.05)

print(sum(p.size for p in model.parameters()), "numbers to learn")
before = loss_fn(model(x), y).item()
print(f"loss before training: {before:.3f}")

# %% [markdown]
# ## One epoch of batches
#
# A *batch* is a few rows at a time, here 20. An *epoch* is one pass in which every row gets its turn once. 442
# rows make 22 batches of 20, and a last one of 2.

# %%
batches = DataIterator(x, y, batch_size=20, shuffle=True, seed=0)
steps = 0

for xb, yb in batches:
    optimizer.zero_grad()  # forget the slopes of the last batch
    loss = loss_fn(model(xb), yb)  # forward: how wrong is the network on these rows?
    loss.backward()  # backward: for each weight, which way is up?
    optimizer.step()  # update: each weight goes a little way down
    steps += 1

after = loss_fn(model(x), y).item()
print(f"{steps} steps; loss after one epoch: {after:.3f}")

# %% tags=["remove-cell"]
assert abs((y**2).mean() - 1) < 1e-12
assert steps == 23 == len(batches)
assert after < 0.9 < before

# %% [markdown]
# Twenty-three small steps, and the loss has come down. Those four lines inside the loop are all of
# training. Everything else is about doing them well.
#
# ## A look inside one batch
#
# What happens in these four lines? Run them once more, with recording on, for 100 rows.

# %%
xb, yb = x[:100], y[:100]

with tb.capture() as trace:
    optimizer.zero_grad()
    loss = loss_fn(model(xb), yb)
    loss.backward()
    optimizer.step()

tb.draw(trace)

# %% [markdown]
# Every box is one step, and the numbers give the order. Follow them:
#
# - **1 to 11, forward.** The rows meet the weights, layer by layer, and end as one number: the loss.
# - **12 to 22, backward.** The same eleven steps in reverse. `dh1` means: how fast the loss rises when `h1`
#   rises. Each box works out its slope from the one before.
# - **23, update.** Every weight moves against its slope.
#
# The same, as data:

# %%
for step in trace.phase("backward"):
    print(step.number, step.op, "|", "; ".join(result.formula for result in step.results))

# %% tags=["remove-cell"]
assert [len(trace.phase(p)) for p in ("forward", "backward", "update")] == [11, 11, 1]
assert trace.steps[-1].number == 23
assert "UPDATE step 23" in tb.draw(trace).text()

# %% [markdown]
# ## What it costs
#
# The backward steps need some of the values from the way forward: the dotted lines. These have to stay in
# memory until they have been used.

# %%
held = tb.memory(trace)
print(held)

# %% tags=["remove-cell"]
assert held.kept_names == ("x", "h1", "h2", "e")
assert held.at_rows(1000) == 10 * held.kept_bytes

# %% [markdown]
# Ten times the rows, ten times the memory. The weights, on the other hand, stay the same. That is one of the
# reasons why there are batches at all.
#
# ## Where to go
#
# - `tb.draw(trace).save("one_batch.svg")` keeps the picture; `"one_batch.html"` is a page to step through.
# - Next: what a slope is, and how the way back finds 336 of them in one go.
