"""The header reader and the search for stacks take any bytes: a reason, never an exception."""

from common import atheris, fuzz, images

with atheris.instrument_imports(include=["scarnode", "pydicom"]):
    from scarnode.pipeline.stack import find_stacks

fuzz("headers", images, lambda path: find_stacks([path]))
