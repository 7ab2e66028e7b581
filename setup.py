"""Build script; everything declarative stands in setup.cfg.

model_weights/, config.ini and systemd/ lie at the top level, where a maintainer looks for them, and are installed
inside the package: the weights as ``scarnode.model_weights``, the others in ``scarnode/config/shipped/``. setup.cfg
can not say "find the packages, and these lie elsewhere", so it is said here.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SHIPPED = ("config.ini", "systemd/scarnode.service", "systemd/scarnode@.service")


class BuildPy(build_py):
    """Copies what `scarnode config init` and `scarnode config unit` write."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has them at its top
            folder = Path(self.build_lib, "scarnode", "config", "shipped")
            folder.mkdir(parents=True, exist_ok=True)
            for name in SHIPPED:
                self.copy_file(name, str(folder / Path(name).name), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *SHIPPED]  # for the sdist


setup(
    cmdclass={"build_py": BuildPy},
    packages=[*find_packages(include=["scarnode", "scarnode.*"]), "scarnode.model_weights"],
    package_dir={"scarnode.model_weights": "model_weights"},
    package_data={
        "scarnode": ["py.typed"],
        "scarnode.model_weights": ["*.safetensors", "*.json", "*.md", "LICENSE*"],
        "scarnode.ledger": ["migrations/*", "migrations/versions/*.py"],
        "scarnode.web": ["templates/**/*", "static/**/*"],
    },
)
