from traces import chain, recurrent_net, seed_net

from tinygrad_batch.memory import memory
from tinygrad_batch.trace import Trace


def test_the_seed_net_keeps_28_8_kB():
    held = memory(seed_net())
    assert held.kept_bytes == 28_800
    assert held.kept_names == ("x", "h1", "h2", "e")
    assert held.per_row_bytes == 288
    assert held.at_rows(10) == 2_880
    assert held.at_rows(10_000) == 2_880_000
    assert held.at_rows(100) == held.kept_bytes
    assert (held.parameter_count, held.parameter_bytes) == (336, 2_688)


def test_the_timeline_rises_and_falls():
    trace = seed_net()
    held = memory(trace)
    assert len(held.timeline) == len(trace.steps)
    forward = held.timeline[:11]
    assert list(forward) == sorted(forward)
    assert held.peak_bytes == 28_800 == forward[-1]
    backward = held.timeline[10:22]
    assert list(backward) == sorted(backward, reverse=True)
    assert held.timeline[-2:] == (0, 0)


def test_a_value_kept_twice_counts_once_until_its_last_use():
    held = memory(seed_net())
    h1 = next(item for item in held.kept if item.name == "h1")
    assert (h1.first, h1.last) == (3, 20)  # made by tanh, which is also the last to need it


def test_parameters_are_never_counted():
    names = {item.name for item in memory(recurrent_net()).kept}
    assert "W" not in names


def test_without_a_backward_pass_everything_stays():
    held = memory(seed_net(backward=False))
    assert held.timeline[-1] == held.kept_bytes
    assert all(item.last is None for item in held.kept)


def test_it_prints_a_table():
    text = str(memory(seed_net()))
    assert "28.8 kB" in text
    assert "2.9 MB" in text
    assert "336 numbers" in text


def test_an_empty_trace_and_a_long_one():
    assert memory(Trace()).kept_bytes == 0
    assert str(memory(Trace()))
    assert memory(chain(3_000)).timeline[-1] == 0
