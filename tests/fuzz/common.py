"""What the fuzz targets share: seeds from the phantom, and the call of libFuzzer (Atheris).

    pip install atheris
    python tests/fuzz/fuzz_headers.py -max_total_time=600

Findings (``crash-*``, ``timeout-*``, ``oom-*``) and the corpus lie in the folder ``fuzz-NAME`` below the current one; a
finding is run again by giving its file as the only argument. No part of the test suite: each finding becomes a small
test there.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

LIMITS = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=120000"]


def images(folder: Path) -> list[Path]:
    """Small LGE stacks: classic images in several encodings, and an Enhanced one."""
    from tests.pipeline.stack.builders import Study, enhanced, save, slices

    study = Study()
    lge = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
    paths = []
    syntaxes = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
    for number, syntax in enumerate((*syntaxes, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80")):
        paths += save(slices(study, number + 1, count=1, **lge), folder / syntax, syntax)
    return paths + save([enhanced(study, 9, count=3)], folder / "enhanced")


def fuzz(name: str, seeds: Callable[[Path], Iterable[Path]], target: Callable[[Path], None]) -> None:
    """Hand libFuzzer's bytes to a reader of files, as a file, until it raises or the time given is over.

    Parameters
    ----------
    name : str
        Of the folder for corpus and findings.
    seeds : callable
        Makes the first corpus in a folder.
    target : callable
        Returns quietly, whatever lies in the file.
    """
    warnings.simplefilter("ignore")  # as the node does
    folder = Path(f"fuzz-{name}").absolute()
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for number, path in enumerate(seeds(Path(made))):
            (corpus / f"seed-{number}").write_bytes(path.read_bytes())
    shelf = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shelf) as work:
        path = Path(work) / f"1.2.3.{'0' * 64}.dcm"  # named as the spool names its files

        def one(data: bytes) -> None:
            path.write_bytes(data)
            target(path)

        options = [word for word in sys.argv[1:] if word.startswith("-")]
        given = [word for word in sys.argv[1:] if not word.startswith("-")]
        places = given or [str(corpus)]
        atheris.Setup([sys.argv[0], *LIMITS, f"-artifact_prefix={folder}/", *options, *places], one)
        atheris.Fuzz()
