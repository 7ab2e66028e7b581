"""How long the shipped outline network takes, beside the same network run in other ways, in turn and on the same data.

    python benchmarks/inference.py [--threads 2] [--rounds 7] [--cases FOLDER]

Peers: the network as it is trained (eager float32, and with bfloat16 autocast), the same with torch's own 3D
convolutions as the publication's network would be run, and OpenVINO where `pip install openvino` was run. One stack
of twelve slices of 128 x 128 is ten windows of three slices. Without --cases the images are synthetic.

The roofline is what the engine's sums would take if every convolution ran at the pace of a large matrix product, or
every value that it reads or writes crossed the memory at the pace of a large copy, whichever takes longer, step by
step; both paces are measured in the same run (Williams et al., Commun ACM 2009;52(4):65).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import conv3d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count

from scarnode.cases import read_cases
from scarnode.cases.model import Case
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.pipeline.segment import Tissue, shipped_weights
from scarnode.pipeline.segment.certainty import dice
from scarnode.pipeline.segment.engine import Engine, best_dtype
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.segment.quality import UNSURE_MYOCARDIUM
from scarnode.pipeline.segment.unet import SliceConv, UNet
from scarnode.pipeline.segment.weights import read_weights
from scarnode.pipeline.segment.windows import DEPTH, window_indices

SLICES, SIZE = 12, 128
CPU = torch.device("cpu")
Run = Callable[[], torch.Tensor]


class VolumeConv(torch.nn.Module):
    """What `SliceConv` computes, by torch's 3D convolution."""

    def __init__(self, conv: SliceConv) -> None:
        super().__init__()
        self.weight = conv.weight

    def forward(self, x: torch.Tensor, slices: int) -> torch.Tensor:
        """Take and give (windows * slices, channels, rows, columns)."""
        volume = x.unflatten(0, (-1, slices)).transpose(1, 2)
        padding = (self.weight.shape[2] // 2, 1, 1)
        return conv3d(volume, self.weight, padding=padding).transpose(1, 2).flatten(0, 1)


def with_3d_convolutions(network: UNet) -> UNet:
    """Give the network with torch's 3D convolutions instead of its own."""
    for block in [*network.down, *network.up]:
        block.conv1, block.conv2 = VolumeConv(block.conv1), VolumeConv(block.conv2)
    return network


def openvino_run(network: UNet, windows: torch.Tensor, threads: int, precision: str) -> Run | None:
    """Give the network as OpenVINO runs it; None where it is not installed."""
    try:
        import openvino as ov
    except ImportError:
        return None
    model = ov.convert_model(network, example_input=windows)
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(model, "CPU", config)
    return lambda: torch.from_numpy(compiled(windows.numpy())[0])


def contenders(threads: int) -> dict[str, Run]:
    """Give every way to run the network on one stack, by name; the first is the reference."""
    network = read_weights(shipped_weights()).outline
    windows = window_indices(SLICES)
    torch.manual_seed(0)
    stack = torch.randn(SLICES, SIZE, SIZE).clamp(-1.5, 1.5)
    images = stack[torch.tensor(windows)][:, None].contiguous()
    engines = {dtype: Engine(network, CPU, DEPTH, dtype) for dtype in {torch.float32, best_dtype(CPU)}}
    volume = with_3d_convolutions(read_weights(shipped_weights()).outline)

    def autocast(net: UNet) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(images)

    runs: dict[str, Run] = {
        "as trained, float32": lambda: network(images),
        "3D convolutions of torch, float32": lambda: volume(images),
        "as trained, bfloat16 autocast": lambda: autocast(network),
        **{f"engine, {str(t).removeprefix('torch.')}": (lambda e=e: e(stack, windows)) for t, e in engines.items()},
    }
    for precision in ("f32", "bf16"):
        if run := openvino_run(network, images, threads, precision):
            runs[f"OpenVINO, {precision}"] = run
    return runs


class Steps(TorchDispatchMode):
    """Notes operations and values read and written of every convolution and matrix product, and values of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        out = func(*args, **(kwargs or {}))
        name = func.name().split(".")[0]
        if isinstance(out, torch.Tensor) and not func.is_view:
            touched = sum(x.numel() for x in (*args, out) if isinstance(x, torch.Tensor))
            self.taken.append((self._operations(name, args, out), touched))
        return out

    @staticmethod
    def _operations(name: str, args: tuple, out: torch.Tensor) -> int:
        if "conv" in name:
            return conv_flop_count(list(args[0].shape), list(args[1].shape), list(out.shape))
        return 2 * out.numel() * args[-1].shape[0] if name in ("aten::addmm", "aten::mm") else 0


def roofline(dtype: torch.dtype, rounds: int) -> str:
    """Say how fast the engine could be at this machine's measured limits."""
    engine = Engine(read_weights(shipped_weights()).outline, CPU, DEPTH, torch.float64)  # every step in the open
    with torch.inference_mode(), Steps() as steps:
        engine(torch.zeros(SLICES, SIZE, SIZE), window_indices(SLICES))
    square, large = torch.randn(2048, 2048, dtype=dtype), torch.randn(2**26)
    target = torch.empty_like(large)
    product = 2 * 2048**3 / min(_timed(lambda: square @ square) for _ in range(rounds))
    copy = 2 * 4 * 2**26 / min(_timed(lambda: target.copy_(large)) for _ in range(rounds))
    size = torch.finfo(dtype).bits // 8
    seconds = sum(max(operations / product, size * values / copy) for operations, values in steps.taken)
    total = sum(operations for operations, _ in steps.taken), size * sum(values for _, values in steps.taken)
    return (
        f"roofline, {str(dtype).removeprefix('torch.')}: {1000 * seconds:.0f} ms a stack, for {total[0] / 1e9:.0f} "
        f"thousand million operations (at {product / 1e9:.0f} a second) and {total[1] / 1e6:.0f} MB "
        f"(at {copy / 1e9:.1f} GB a second)"
    )


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.inference_mode()
def time_in_turn(runs: dict[str, Run], rounds: int) -> Table:
    """Time each `rounds` times, in turn; medians, and how far the logits are from the reference's."""
    reference = next(iter(runs.values()))().float()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    apart = {name: float((run().float() - reference).abs().mean()) for name, run in runs.items()}  # warms up, too
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(_timed(run))
    slowest = statistics.median(next(iter(seconds.values())))
    table = Table(title=f"One stack of {SLICES} slices, {SLICES - 2} windows, {SIZE} x {SIZE}")
    for heading in ("", "ms a stack", "lowest to highest", "ms a volume", "times as fast", "logits off by (mean)"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        table.add_row(
            name,
            f"{1000 * median:.0f}",
            f"{1000 * min(taken):.0f} to {1000 * max(taken):.0f}",
            f"{1000 * median / (SLICES - 2):.1f}",
            f"{slowest / median:.1f}",
            f"{apart[name]:.4f}",
        )
    return table


def whole_segmenter(cases: list[Case], rounds: int) -> tuple[Table, str]:
    """Time `Segmenter.segment` (finder, both readings, agreement, back to the grid) against float32, and compare."""
    segmenters = {"float32": Segmenter(dtype=torch.float32), str(best_dtype(CPU)).removeprefix("torch."): Segmenter()}
    seconds: dict[str, list[float]] = {name: [] for name in segmenters}
    scar, wall, unsure, volumes = [], [], [], []
    for case in cases:
        labels, flags = {}, set()
        for turn in range(rounds + 1):
            for name, segmenter in segmenters.items():
                start = time.perf_counter()
                found = segmenter.segment(case.image, case.pixel_spacing)
                labels[name] = found.labels
                flags |= set(found.flags)
                if turn:
                    seconds[name].append(time.perf_counter() - start)
        one, other = labels.values() if len(labels) == 2 else 2 * list(labels.values())
        scar.append(2 * int(((one == Tissue.SCAR) & (other == Tissue.SCAR)).sum()))
        volumes.append((int((one == Tissue.SCAR).sum()), int((other == Tissue.SCAR).sum())))
        alike = dice(one >= Tissue.MYOCARDIUM, other >= Tissue.MYOCARDIUM)
        (unsure if UNSURE_MYOCARDIUM in flags else wall).append((1.0 if alike is None else alike, case.name))
    table = Table(title=f"Segmenter, {len(cases)} stacks, median of {rounds} each")
    for heading in ("", "ms a stack"):
        table.add_column(heading)
    for name, taken in seconds.items():
        table.add_row(name, f"{1000 * statistics.median(taken):.0f}")
    first, second = np.sum(volumes, axis=0)
    largest = max((abs(b - a) / a for a, b in volumes if a >= 100), default=0.0)
    lowest = [
        f"{min(some)[0]:.4f} ({min(some)[1]}) in the {len(some)} stacks {which} {UNSURE_MYOCARDIUM}"
        for which, some in (("without", wall), ("with", unsure))
        if some
    ]
    agreement = (
        f"against float32: Dice of the myocardium at least {', '.join(lowest)}; of all scar "
        f"together {sum(scar) / max(first + second, 1):.4f}; scar voxels {first} and {second}, in a stack with 100 or "
        f"more at most {100 * largest:.1f} % apart"
    )
    return table, agreement


def as_case(seed: int) -> Case:
    """Make a phantom (synthetic) of the benchmark's size."""
    look = PhantomSettings(slices=SLICES, matrix=(192, 192), component="magnitude", training=True)
    phantom = make_phantom(seed, look)
    return Case(phantom.image, phantom.label, phantom.pixel_spacing, phantom.slice_distance, f"{seed}", "phantom")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", type=Path, help="folder of cases; default: 6 phantoms")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, {chosen.threads} threads", highlight=False)
    console.print(time_in_turn(contenders(chosen.threads), chosen.rounds))
    console.print(roofline(best_dtype(CPU), chosen.rounds), highlight=False)
    cases = read_cases(chosen.cases) if chosen.cases else [as_case(seed) for seed in range(6)]
    table, agreement = whole_segmenter(cases, max(1, chosen.rounds // 2))
    console.print(table)
    console.print(agreement, highlight=False)


if __name__ == "__main__":
    main()
