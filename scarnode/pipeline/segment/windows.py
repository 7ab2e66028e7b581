"""Sliding windows of three slices and their merge, as published; and the normalisation that every window gets."""

from __future__ import annotations

from collections.abc import Callable

import torch

from scarnode.pipeline.segment.model import Tissue

DEPTH = 3
"""Slices of a window."""


def normalise(slices: torch.Tensor) -> torch.Tensor:
    """Scale each slice on its own: 1st percentile to -1, 99th to 1, a little beyond kept.

    Slice by slice because scanners may scale each image on its own, and coil and nulling change along the heart.

    Parameters
    ----------
    slices : torch.Tensor
        (..., rows, columns); a slice that is constant becomes zero.
    """
    flat = slices.flatten(-2)
    last = flat.shape[-1] - 1
    low, high = (flat.kthvalue(1 + round(share * last), dim=-1, keepdim=True).values for share in (0.01, 0.99))
    # A slice that is mostly border has its percentiles in the border: fall back on its extremes.
    flat_range = high <= low
    low = torch.where(flat_range, flat.amin(-1, keepdim=True), low)
    high = torch.where(flat_range, flat.amax(-1, keepdim=True), high)
    scaled = 2 * (flat - low) / (high - low).clamp(min=1e-20) - 1
    return torch.where(high > low, scaled, 0.0).clamp(-1.5, 1.5).reshape(slices.shape)


def blood_is_darker(images: torch.Tensor, outline: torch.Tensor) -> bool:
    """Return whether the inversion time was so short that myocardium is brighter than blood on a magnitude image.

    Before its null, myocardium's signal is negative, and the more so the longer its T1: its magnitude lies above that
    of blood and of scar, and the network, which knows bright myocardium as scar only, would call all of it scar. White
    for black gives such an image the order of tissues that it would have had with its sign.

    Parameters
    ----------
    images : torch.Tensor
        (slices, rows, columns), as `normalise` gives them.
    outline : torch.Tensor
        uint8, same shape, values of `scarnode.pipeline.segment.model.Tissue`: a first outline.

    Returns
    -------
    bool
        True where the median of the blood lies below three quarters of the wall, scar and normal together. A large
        scar that is brighter than the blood leaves the rest of the wall dark, and the image as it is.
    """
    blood, wall = images[outline == Tissue.BLOOD], images[outline >= Tissue.MYOCARDIUM]
    return bool(len(blood) and len(wall) and blood.median() < wall.quantile(0.25))


def brighten(images: torch.Tensor, muscle: torch.Tensor) -> torch.Tensor:
    """Brighten dark myocardium, so that faint scar beside it becomes easier to see.

    On magnitude images with nulled myocardium the network calls too little scar. A slice's grey values (0 to 1) are
    raised to a power where its myocardium's median lies below 0.1; from 0.2 on they stay as they are, between the two
    the power rises to 1. Slice by slice, because the null may fit one slice and miss another. The power is 0.5 where
    the null fits the whole stack: the median lies below 0.1 in every slice. It rises to 0.7 where that of the brightest
    slice reaches 0.15: there some of what is bright in other slices may be myocardium below its null, folded up.

    Parameters
    ----------
    images : torch.Tensor
        (slices, rows, columns), as `normalise` gives them.
    muscle : torch.Tensor
        bool, same shape: what a first outline takes for normal myocardium. A slice without any stays as it is.
    """
    shown = muscle.any(dim=(1, 2))
    if not shown.any():
        return images
    grey = ((images + 1) / 2).clamp(min=0)
    levels = torch.stack([own[here].median() for own, here in zip(grey[shown], muscle[shown], strict=True)])
    lowest = (0.5 + 4 * (levels.max() - 0.1)).clamp(0.5, 0.7)
    power = images.new_ones(len(images), 1, 1)
    power[shown, 0, 0] = (lowest + (1 - lowest) * (levels - 0.1).clamp(min=0) / 0.1).clamp(max=1)
    return torch.where(power < 1, normalise(grey**power), images) if (power < 1).any() else images


def window_indices(slices: int) -> list[list[int]]:
    """Slice numbers of every window: three neighbours, stepped by one slice.

    A stack of one or two slices is lengthened by repeating its edge slices.

    >>> window_indices(5)
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    >>> window_indices(2)
    [[0, 1, 1]]
    """
    if slices < 1:
        raise ValueError("a stack needs at least one slice")
    return [[min(first + i, slices - 1) for i in range(DEPTH)] for first in range(max(slices - DEPTH, 0) + 1)]


def predict_windows(
    network: Callable[[torch.Tensor, list[list[int]]], torch.Tensor], stack: torch.Tensor, batch: int = 16
) -> tuple[torch.Tensor, list[list[int]]]:
    """Class probabilities of every window.

    Parameters
    ----------
    network : callable
        (slices, rows, columns) and the slice numbers of windows to logits (windows, classes, 3, rows, columns).
    stack : torch.Tensor
        (slices, rows, columns), normalised.
    batch : int
        Windows per call, a bound on memory.

    Returns
    -------
    probabilities : torch.Tensor
        (windows, classes, 3, rows, columns), float32.
    indices : list of list of int
        Slice numbers of each window.
    """
    indices = window_indices(len(stack))
    parts = []
    for first in range(0, len(indices), batch):
        windows = [[slice_ - first for slice_ in window] for window in indices[first : first + batch]]
        seen = stack[first : first + batch + DEPTH - 1]
        parts.append(network(seen, windows).softmax(dim=1))
    return torch.cat(parts), indices


def merge(probabilities: torch.Tensor, indices: list[list[int]], slices: int, scar: str = "mean") -> torch.Tensor:
    """One probability map per slice from all windows that saw it.

    Parameters
    ----------
    probabilities : torch.Tensor
        (windows, classes, 3, rows, columns).
    indices : list of list of int
        Slice numbers of each window, as `window_indices` gives them.
    slices : int
        Slices of the stack.
    scar : str
        ``"mean"``: as the other classes. ``"max"``: the publication's merge, the largest probability that any
        window gave to scar; the sum over classes may then exceed one.

    Returns
    -------
    torch.Tensor
        (slices, classes, rows, columns).
    """
    if scar not in ("mean", "max"):
        raise ValueError(f"scar is {scar!r}, allowed are 'mean' and 'max'")
    flat = torch.tensor(indices).flatten().to(probabilities.device)
    seen = probabilities.transpose(1, 2).flatten(0, 1)  # one entry for each slice of each window
    merged = seen.new_zeros(slices, *seen.shape[1:]).index_add_(0, flat, seen)
    merged /= flat.bincount(minlength=slices).reshape(-1, 1, 1, 1)
    if scar == "max":
        index = flat.reshape(-1, 1, 1).expand(-1, *seen.shape[2:])
        merged[:, Tissue.SCAR].scatter_reduce_(0, index, seen[:, Tissue.SCAR], "amax", include_self=False)
    return merged
