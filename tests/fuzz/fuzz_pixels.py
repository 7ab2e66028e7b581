"""The pixel reader takes any file that the header reader let pass: a volume or an InputError."""

from pathlib import Path

from common import atheris, fuzz, images

with atheris.instrument_imports(include=["scarnode", "pydicom"]):
    from scarnode.pipeline.stack import Component, SourceFrame, Stack, read_volume
    from scarnode.pipeline.stack.headers import read_frames
    from scarnode.pipeline.stack.pixels import content_digests, stored_digest
    from scarnode.util.errors import InputError


def natives(folder: Path) -> list[Path]:
    """Compressed frames are decoded by a process of their own, which is too slow to fuzz through."""
    return [
        path for path in images(folder) if path.parent.name not in ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80")
    ]


def target(path: Path) -> None:
    try:
        frame = read_frames(path)[0]
    except InputError:
        return
    if frame.fault or frame.position is None or b"1.2.840.10008.1.2.4" in path.read_bytes()[:1000]:
        return
    source = SourceFrame(path, frame.sop_class_uid, frame.sop_instance_uid, "1.2", frame.frame_number, frame.position)
    grid = (frame.rows, frame.columns, frame.pixel_spacing, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    stack = Stack("1.2", "1.2", Component.MAGNITUDE, "", *grid, None, None, (source,))
    try:
        volume = read_volume(stack)
        assert volume.shape == (1, frame.rows, frame.columns)
    except InputError:
        pass
    stored_digest(path)
    content_digests([path])


fuzz("pixels", natives, target)
