"""Build script; everything declarative stands in setup.cfg.

model_weights/ lies at the top level, where a maintainer looks for it, and is installed as
``scarnode.model_weights`` so that a wheel carries the weights. setup.cfg can not say both
"find the packages" and "this one lies elsewhere", so the package list is made here.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["scarnode", "scarnode.*"]), "scarnode.model_weights"],
    package_dir={"scarnode.model_weights": "model_weights"},
    package_data={
        "scarnode": ["py.typed"],
        "scarnode.model_weights": ["*.safetensors", "*.json", "*.md", "LICENSE*"],
        "scarnode.jobs": ["migrations/*", "migrations/versions/*.py"],
        "scarnode.web": ["templates/*", "static/*"],
    },
)
