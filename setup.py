"""Which packages the distribution holds; everything else is declared in pyproject.toml.

``configs/`` and ``pipelines/`` stand at the top of the repository, where people look for them, and
are installed inside the package, so that an installed wheel finds its own data.
"""

from setuptools import find_packages, setup

MAPPED = {"dit_accel.configs": "configs", "dit_accel.pipelines": "pipelines"}

setup(
    packages=[*find_packages(include=["dit_accel", "dit_accel.*"]), *MAPPED],
    package_dir=MAPPED,
)
