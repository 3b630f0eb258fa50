# %% [markdown]
# # From the graph to plain NumPy
#
# Four lines train a network: forget the old slopes, forward, backward, update. What do they compute? On this
# page the package writes it down for you, as a program that needs nothing but NumPy. You read it from top to
# bottom, check it, and then train with it. No framework will be left.
#
# ## 1. Capture one batch
#
# The network is the one of the [tour](00_two_minute_tour): ten measurements of a person in, one number out.

# %%
import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import load_diabetes

x, y = (np.asarray(part)[:100] for part in load_diabetes())  # 100 rows

tb.seed(0)
model = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
loss_fn = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.05)

# The weights as they are now, put aside for later.
weights = {key: np.array(value) for key, value in model.state_dict().items()}


def train_step():
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


with tb.capture() as trace:
    first_loss = train_step()

print(trace)

# %% [markdown]
# A trace holds every operation of the batch, also those inside the derivatives and the update. `tb.to_numpy`
# prints them as Python:

# %%
text = tb.to_numpy(trace)
print(text)

# %% [markdown]
# Nobody typed this program. The lines are what was computed, the names are those of the picture, and the
# comments come from the same recording. Let us read it in three parts.
#
# ## 2. Forward: follow the shapes
#
# `x` has 100 rows and 10 columns: 100 people, 10 measurements each. The first layer multiplies it by `W1`, a table of
# 10 by 15 numbers:
#
# ```text
# (100, 10) @ (10, 15) = (100, 15)
# ```
#
# The two inner lengths must be the same, and they vanish. The outer ones stay: still 100 rows, now with 15 numbers
# each. `b1` has only 15 numbers, and there is a sum for each of the 100 rows: NumPy uses the same 15 for every
# row. Keep that in mind, it comes back below.
#
# `tanh` changes no shape. And so on, until each row has one number, the prediction. The loss makes one number
# of all 100.
#
# Look at where the rows are: in front, always. No row ever meets another before the loss. That is why a batch can
# have any number of rows.

# %% tags=["remove-cell"]
assert "m1 = x @ W1        # (100, 10) @ (10, 15) = (100, 15)" in text
assert "b1 for every row" in text

# %% [markdown]
# ## 3. Backward: one rule for each line
#
# `dh1` means: how fast the loss grows with `h1`. It has the shape of `h1`, for each of its numbers has a slope of its
# own. The backward half goes through the forward half in reverse. Beside each line stands, first, the
# line that it undoes, and then the rule that it follows.
#
# Take this one:
#
# ```text
# dz1 = dh1 * (1 - h1**2)              # h1 = tanh(z1)    dx = g * (1 - y²)
# ```
#
# The rule is from the package's table of derivatives. `g` is the slope that arrives, `x` what went into the
# operation and `y` what came out. Here `g` is `dh1`, and `y` is `h1`. Put the names in, and there is the line.
#
# The other rules are just as short:
#
# | line | undoes | rule | in words |
# |---|---|---|---|
# | `de = 2 * e * dq` | `q = e²` | `dx = 2 * x * g` | the slope of a square is twice what is squared |
# | `dm1 = dz1` | `z1 = m1 + b1` | `da = g` | a sum hands on what it gets |
# | `db1 = np.sum(dz1, axis=0)` | the same | `db = sum over rows of g` | one bias served 100 rows: 100 paths, added up |
# | `dh1 = dm2 @ W2.T` | `m2 = h1 @ W2` | `da = g @ bᵀ` | back through the same weights |
# | `dW1 = x.T @ dm1` | `m1 = x @ W1` | `db = aᵀ @ g` | what came in, times the slope of what went out |
#
# Two things are worth a second look.
#
# *The shapes check themselves.* `dW1` must have the shape of `W1`, (10, 15). `x.T` is (10, 100) and `dm1` is (100, 15).
# There is hardly another way to multiply the two and get that shape.
#
# *The way back reads the way forward.* `h1` stands in the line of `dz1`, `x` in the line of `dW1`. These values had to
# wait in memory until the walk came by. No line of the way back reads `m1`; it could have been forgotten at once. The
# names in a rule tell which is which:

# %%
from tinygrad_batch.op import TABLE

for name, rule in {"tanh": "dx", "matmul": "db"}.items():
    position = TABLE[name].inputs.index(rule[1:])
    print(name, rule, "needs", TABLE[name].need(position).names)

# %% tags=["remove-cell"]
assert "dz1 = dh1 * (1 - h1**2)              # h1 = tanh(z1)    dx = g * (1 - y²)" in text
for line in ("de = 2 * e * dq ", "dm1 = dz1 ", "db1 = np.sum(dz1, axis=0)", "dh1 = dm2 @ W2.T", "dW1 = x.T @ dm1"):
    assert line in text
for rule in ("dx = 2 * x * g", "da = g", "db = sum over rows of g", "da = g @ bᵀ", "db = aᵀ @ g"):
    assert rule in text
forward, backward = text[text.index("# --- forward") :].split("# --- backward")
code = [line.partition("#")[0] for line in f"{forward}\n#{backward}".splitlines()]
assert "h1**2" in backward
assert not any("m1" in line.replace("(", " ").split() for line in code[len(forward.splitlines()) :])
assert sum(" = " in line or " -= " in line for line in code) == 34 + 1  # and the dict of the gradients
assert TABLE["tanh"].need(0).names == ("y",)
assert TABLE["matmul"].need(1).names == ("a",)

# %% [markdown]
# ## 4. Run it, and nudge it
#
# The text is a program, so let us run it. You could save it as a file and import it; `exec` does the same without the
# file. The weights are the ones that we put aside before the capture.

# %%
module = {}
exec(text, module)
step = module["step"]


def fresh():
    """The weights as they were before the capture, under their names in the printed program."""
    layers = {"1": "0", "2": "2", "3": "4"}
    return {
        f"{letter}{number}": weights[f"{layer}.{kind}"].copy()
        for number, layer in layers.items()
        for letter, kind in (("W", "weight"), ("b", "bias"))
    }


loss, gradients = step(x, y, **fresh(), lr=0.05)
print(f"printed program: {loss:.12f}")
print(f"framework:       {first_loss:.12f}")

# %% [markdown]
# Are the slopes right? Ask the way that cannot be wrong: nudge one weight to both sides and watch the loss. With a
# learning rate of 0 the update changes nothing, so `step` can be used to look at the loss alone.


# %%
def loss_with(nudge):
    parameters = fresh()
    parameters["W1"][3, 7] += nudge
    return step(x, y, **parameters, lr=0.0)[0]


nudged = (loss_with(1e-6) - loss_with(-1e-6)) / 2e-6
print(f"nudged {nudged:.8f}   printed {gradients['W1'][3, 7]:.8f}")

# %% tags=["remove-cell"]
assert abs(loss - first_loss) < 1e-14
assert abs(nudged - gradients["W1"][3, 7]) < 1e-8

# %% [markdown]
# That took two runs for one slope. The backward half of the program found all 336 in one go.
#
# ## 5. Update: downhill
#
# The last lines are the shortest ones:
#
# ```text
# W1 -= lr * dW1
# ```
#
# A positive slope means that the loss grows with the weight, so the weight goes down; the minus says that. `lr`, the
# learning rate, says how far. It is an argument of `step`, so you can choose it anew at each call. The arrays that are
# passed in are changed where they are. (That is why `fresh` copies.)
#
# ## 6. Train without the framework
#
# Call it a hundred times, and let the framework take the same hundred steps beside it. One of them is already done.

# %%
parameters = fresh()
plain = [step(x, y, **parameters, lr=0.05)[0] for _ in range(100)]
framework = [first_loss, *[train_step() for _ in range(99)]]

print("step   plain NumPy   framework")
for number in (0, 1, 10, 50, 99):
    print(f"{number + 1:4}   {plain[number]:.9f}   {framework[number]:.9f}")

# %%
assert np.allclose(plain, framework, rtol=1e-10, atol=0)
assert plain[-1] < 0.8 * plain[0]
for name, key in {"W1": "0.weight", "b2": "2.bias", "W3": "4.weight"}.items():
    assert np.allclose(parameters[name], model.state_dict()[key], rtol=1e-9, atol=1e-12)

# %% [markdown]
# The same losses, and in the end the same weights. Everything that a framework does in a step of training is on this
# page: thirty-four lines, and each has a reason.
#
# So what is a framework for? Change one layer, and lines change in two places that have to fit together. The framework
# writes them for you, every time, without a slip.
#
# ## Try it
#
# 1. Give `optim.SGD` a `momentum=0.9`, and print the step again. Which arguments are new, and which lines?
# 2. Replace `nn.Tanh()` by `nn.ReLU()`. Which lines differ, forward and backward? What does the new rule need?
# 3. Leave out `optimizer.zero_grad()`, run the step twice, and print the second. What is `W1_grad`?
# 4. `m1` is never read on the way back. Which other forward values are not?
