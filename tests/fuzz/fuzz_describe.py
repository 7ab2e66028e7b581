"""The registrar's reader takes any dataset: a row for the ledger, never an exception."""

from pathlib import Path

from common import atheris, fuzz, images

with atheris.instrument_imports(include=["scarnode", "pydicom"]):
    from scarnode.dicom.scp import Incoming, describe
    from scarnode.dicom.spool.spool import _file_meta

SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]
METAS = [_file_meta(Incoming("1.2.840.10008.5.1.4.1.1.4", "1.2.3", syntax, "A", "B", b"")) for syntax in SYNTAXES]


def datasets(folder: Path) -> list[Path]:
    from pynetdicom.dsutils import split_dataset

    found = []
    for number, path in enumerate(images(folder)[:4]):
        dataset = path.with_suffix(".dataset")
        dataset.write_bytes(bytes([number]) + path.read_bytes()[split_dataset(path)[1] :])
        found.append(dataset)
    return found


def target(path: Path) -> None:
    """The first byte chooses the transfer syntax; `Spool.store` writes the group before the dataset."""
    data = path.read_bytes()
    path.write_bytes(METAS[data[0] % len(METAS)] + data[1:] if data else METAS[0])
    row = describe(path.parent, path)
    assert row.study_instance_uid or row.problem
    for value in vars(row).values():
        assert not isinstance(value, str) or value.isprintable()


fuzz("describe", datasets, target)
