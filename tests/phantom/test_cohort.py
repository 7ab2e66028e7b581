"""The synthetic counterpart of the publication's test set."""

from itertools import islice

from pydicom import dcmread

from scarnode.phantom import published_test_set
from scarnode.phantom.cohort import FIRST_SEED, SITES
from scarnode.phantom.dicom import write_dicom


def test_sites_are_those_of_the_publication():
    assert sum(site.patients for site in SITES) == 207
    by_vendor = {
        vendor: sum(s.patients for s in SITES if s.vendor == vendor) for vendor in ("siemens", "philips", "ge")
    }
    assert by_vendor == {"siemens": 84, "philips": 73, "ge": 50}


def test_patients_follow_each_other_with_their_sites_protocol(tmp_path):
    (first, phantom), (_, other) = islice(published_test_set(), 2)
    assert (phantom.seed, other.seed) == (FIRST_SEED, FIRST_SEED + 1)
    assert first.number == 1
    assert phantom.image.shape[1:] == first.settings.matrix
    assert phantom.slice_distance == first.settings.slice_distance
    assert phantom.component == "magnitude"  # as published
    header = dcmread(write_dicom(phantom, tmp_path, first.vendor, site=first.name)[0])
    assert header.InstitutionName == "Synthetic site 1"
    assert header.Manufacturer == "SIEMENS"
