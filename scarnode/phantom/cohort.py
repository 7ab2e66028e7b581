"""A synthetic counterpart of the publication's test set: 207 patients, seven sites, three vendors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scarnode.phantom.make import make_phantom
from scarnode.phantom.model import Phantom, PhantomSettings

FIRST_SEED = 900_000
"""Of the test set; no phantom with a seed from here on is trained on."""


@dataclass(frozen=True)
class Site:
    """One site of the publication's Table 2 with a protocol of its own.

    Attributes
    ----------
    number : int
        As in Table 2.
    vendor : str
    patients : int
        In the publication's test set.
    settings : PhantomSettings
        Magnitude images only, as published. The publication does not state the protocols: these are usual ones, one
        site with thin 3D partitions (22 % of the published acquisitions were 3D).
    """

    number: int
    vendor: str
    patients: int
    settings: PhantomSettings

    @property
    def name(self) -> str:
        """For the header's InstitutionName and the tables."""
        return f"Synthetic site {self.number}"


def _site(number: int, vendor: str, patients: int, matrix: tuple[int, int], thickness: float, distance: float) -> Site:
    settings = PhantomSettings(
        component="magnitude", matrix=matrix, slice_thickness=thickness, slice_distance=distance, random_contrast=0.0
    )
    return Site(number, vendor, patients, settings)


SITES: tuple[Site, ...] = (
    _site(1, "siemens", 81, (208, 256), 8.0, 10.0),
    _site(2, "philips", 48, (256, 256), 5.0, 5.0),
    _site(3, "ge", 12, (256, 256), 8.0, 8.0),
    _site(4, "siemens", 3, (144, 192), 6.0, 10.0),
    _site(5, "philips", 25, (320, 320), 10.0, 10.0),
    _site(6, "ge", 8, (224, 224), 8.0, 12.0),
    _site(7, "ge", 30, (256, 256), 8.0, 10.0),
)
"""Table 2 of Fahmy et al., Radiology 2020;294:52-60: vendor and test patients of each site."""


def published_test_set(first_seed: int = FIRST_SEED) -> Iterator[tuple[Site, Phantom]]:
    """Make the patients one after the other, site by site, each with a seed of its own."""
    seed = first_seed
    for site in SITES:
        for _ in range(site.patients):
            yield site, make_phantom(seed, site.settings)
            seed += 1
