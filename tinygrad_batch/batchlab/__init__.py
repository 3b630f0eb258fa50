"""The batch laboratory: what the batch size does, measured on real data, and where folklore is wrong.

`compare` measures everything for one problem and writes a report; each part is a function of its own:

- memory: `memory_report`, `largest_batch`, `measure`, `accumulation_errors`, `checkpoint_curve`
- the gradient: `row_gradients`, `gradient_noise`, `noise_scale`
- descent: `train`, `tune`, `scaling`, `fit_law`, `noise_floor`, `linear_scaling`, `summed_loss`
- saddles and minima: `doubled_unit`, `escape_times`, `random_starts`, `narrow_nets`, `symmetric_starts`,
  `frequency_fit`, and walks on surfaces that can be drawn: `walk`, `scenes`
- rows held out: `generalisation`, `sharpness`, `linear_baseline`
- which to take: `advise`
"""

from ..problem import Problem, load_problem
from . import child
from .advice import Advice, advise
from .comparison import Comparison, compare
from .descent import linear_scaling, noise_floor, summed_loss
from .ensemble import Ensemble, stack
from .generalisation import generalisation, linear_baseline
from .landscapes import Surface, scenes, walk
from .memory import LargestBatch, accumulation_errors, checkpoint_curve, largest_batch, measure, memory_report
from .minima import frequency_fit
from .noise import NoiseScale, gradient_noise, noise_scale, row_gradients, variances
from .saddles import doubled_unit, escape_times, narrow_nets, random_starts, symmetric_starts
from .scaling import Law, Scaling, fit_law, scaling, tune
from .sharpness import sharpness
from .training import Curves, seconds_of_a_step, train

__all__ = [
    "Advice",
    "Comparison",
    "Curves",
    "Ensemble",
    "LargestBatch",
    "Law",
    "NoiseScale",
    "Problem",
    "Scaling",
    "Surface",
    "accumulation_errors",
    "advise",
    "checkpoint_curve",
    "child",
    "compare",
    "doubled_unit",
    "escape_times",
    "fit_law",
    "frequency_fit",
    "generalisation",
    "gradient_noise",
    "largest_batch",
    "linear_baseline",
    "linear_scaling",
    "load_problem",
    "measure",
    "memory_report",
    "narrow_nets",
    "noise_floor",
    "noise_scale",
    "random_starts",
    "row_gradients",
    "scaling",
    "scenes",
    "seconds_of_a_step",
    "sharpness",
    "stack",
    "summed_loss",
    "symmetric_starts",
    "train",
    "tune",
    "variances",
    "walk",
]
