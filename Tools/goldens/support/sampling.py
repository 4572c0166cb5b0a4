"""Runs a scheduler of diffusers with a toy model and records everything that a table of coefficients must reproduce.

The toy model's output depends on its scaled input and on the timestep: 0.9 tanh(x) + 0.05 sin(t / 100). Noise comes from
a CPU generator with seed 42, passed as the pipelines pass it.

Latents are computed in fp32, as diffusers has it. Where rounding shows (noise levels in the thousands, small differences
divided by small steps) the same code runs once more in fp64 with the same fp32 noise and levels, and that is kept: what
is compared is the formulas. `DOUBLE_ABOVE` decides, and the table says which it is.
"""

import base64
import contextlib
import inspect
import sys
import unittest.mock

import diffusers
import numpy
import torch
import torch.overrides

SEED = 42
DOUBLE_ABOVE = 5e-6
# Schedulers that magnify the last digit of the levels; see `Misses`.
MAGNIFYING = ("DPMSolverSDEScheduler", "KDPM2AncestralDiscreteScheduler")


def encoded(values):
    return base64.b64encode(numpy.asarray(values, dtype="<f4").tobytes()).decode()


def toy_model(scaled, timestep):
    return 0.9 * torch.tanh(scaled) + 0.05 * torch.sin(torch.as_tensor(timestep).float() / 100)


@contextlib.contextmanager
def double_precision(scheduler):
    """Makes a scheduler compute in fp64 while it draws noise in fp32."""
    for name, value in vars(scheduler).items():
        if torch.is_tensor(value) and value.dtype == torch.float32 and name != "timesteps":
            setattr(scheduler, name, value.double())
    single = torch.float32
    module = sys.modules[type(scheduler).__module__]
    patches = [unittest.mock.patch.object(torch, "float32", torch.float64)]
    if hasattr(module, "randn_tensor"):
        draw = module.randn_tensor

        def drawn(shape, dtype=None, **options):
            return draw(shape, dtype=single, **options).to(torch.float64)

        patches.append(unittest.mock.patch.object(module, "randn_tensor", drawn))
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


class Misses(torch.overrides.TorchFunctionMode):
    """Listens which fp32 roots, logarithms and exponentials torch computes, and keeps the arguments of those that are
    not the nearest number but the next one above or below. Which these are differs by CPU (see SingleFunctions.swift),
    and two schedulers magnify it: a Brownian path is rough enough to show at which time it is read, and KDPM2
    ancestral's lower level is a small difference where steps are long."""

    EXACT = {"sqrt": numpy.sqrt, "log": numpy.log, "exp": numpy.exp}

    def __init__(self):
        super().__init__()
        self.arguments = {name: {"above": set(), "below": set()} for name in self.EXACT}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        # What torch makes of a power of one half.
        if name in ("pow", "__pow__") and args[1] == 0.5:
            name = "sqrt"
        if name in self.EXACT:
            self.compare(name, args[0].numpy().ravel(), result.numpy().ravel())
        return result

    def compare(self, name, argument, result):
        if result.dtype != numpy.float32:
            return
        with numpy.errstate(all="ignore"):
            nearest = self.EXACT[name](argument.astype(numpy.float64)).astype(numpy.float32)
        for side, end in (("above", numpy.inf), ("below", -numpy.inf)):
            missed = result > nearest if side == "above" else result < nearest
            neighbours = numpy.nextafter(nearest[missed], numpy.float32(end))
            assert (result[missed] == neighbours).all(), (name, argument[missed])
            self.arguments[name][side].update(argument[missed].tolist())

    def encoded(self):
        return {
            name: {side: encoded(sorted(arguments)) for side, arguments in sides.items()}
            for name, sides in self.arguments.items()
        }


class Run:
    """One configuration, grid and start; trajectories by prediction type."""

    def __init__(self, name, config, steps, first=0, grid=None, eta=None):
        self.name, self.config, self.steps, self.first, self.grid, self.eta = name, config, steps, first, grid, eta

    def scheduler(self, prediction):
        """As a pipeline sets it up before its loop."""
        scheduler = getattr(diffusers, self.name).from_config({**self.config, "prediction_type": prediction})
        if self.grid is None:
            scheduler.set_timesteps(self.steps)
        else:
            # The level after the last step is part of the list here.
            values = {key: [*value, 0.0] if key == "sigmas" else value for key, value in self.grid.items()}
            scheduler.set_timesteps(**values)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self.first)
        return scheduler

    def table(self, initial, predictions, misses):
        with misses if self.name in MAGNIFYING else contextlib.nullcontext():
            return self.recorded(initial, predictions)

    def recorded(self, initial, predictions):
        table = {"scheduler": self.name, "config": self.config, "steps": self.steps, "trajectories": {}}
        for key, value in (("first", self.first or None), ("grid", self.grid), ("eta", self.eta)):
            if value is not None:
                table[key] = value
        for prediction in predictions:
            scheduler = self.scheduler(prediction)
            timesteps = scheduler.timesteps[self.first :]
            table["timesteps"] = encoded(timesteps)
            if hasattr(scheduler, "sigmas"):
                # Some classes leave a sigma or two behind the last that a step uses.
                table["sigmas"] = encoded(scheduler.sigmas[self.first : self.first + len(timesteps) + 1])
            table["init_noise_sigma"] = float(scheduler.init_noise_sigma)
            table["trajectories"][prediction], isDouble = self.trajectory(scheduler, initial, prediction)
            if isDouble:
                table["double"] = [*table.get("double", []), prediction]
        if self.first:
            table["levels"] = self.levels(predictions[0])
        return table

    def trajectory(self, scheduler, initial, prediction):
        if isinstance(scheduler, diffusers.DPMSolverSDEScheduler):
            # Its noise is drawn in the precision of the latents and would be another in fp64.
            return encoded(self.latents(scheduler, initial)), False
        single = self.latents(scheduler, initial)
        scheduler = self.scheduler(prediction)
        with double_precision(scheduler):
            double = self.latents(scheduler, initial.double())
        scale = numpy.abs(double).max(axis=tuple(range(1, double.ndim)), keepdims=True)
        error = (numpy.abs(single - double) / scale).max()
        isDouble = not error <= DOUBLE_ABOVE
        return encoded(double if isDouble else single), isDouble

    def latents(self, scheduler, initial):
        """The latents after every evaluation."""
        generator = torch.Generator("cpu").manual_seed(SEED)
        accepted = inspect.signature(scheduler.step).parameters
        options = {"eta": self.eta} if self.eta is not None else {}
        # The Euler family takes a generator for churn, which is off; torch draws nothing then.
        if "generator" in accepted:
            options["generator"] = generator
        latents = initial * scheduler.init_noise_sigma
        every = []
        for timestep in scheduler.timesteps[self.first :]:
            output = toy_model(scheduler.scale_model_input(latents, timestep), timestep)
            latents = scheduler.step(output, timestep, latents, **options).prev_sample
            every.append(latents.numpy())
        result = numpy.stack(every)
        assert numpy.isfinite(result).all(), (self.name, self.config, self.steps)
        return result

    def levels(self, prediction):
        """What a picture of ones and noise of ones become, by add_noise as the inpainting pipelines call it: before the
        first step, then after every step but the last at the timestep that follows."""
        scheduler = self.scheduler(prediction)
        ones, zeros = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        timesteps = scheduler.timesteps[self.first :]
        latents, pairs = ones, []
        for index, timestep in enumerate(timesteps):
            at = timestep[None]
            pairs += [scheduler.add_noise(ones, zeros, at).item(), scheduler.add_noise(zeros, ones, at).item()]
            output = scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(output, timestep, latents).prev_sample
        return encoded(pairs)
