"""Which folders are which packages; everything else stands in pyproject.toml.

In a checkout hisopt/models, hisopt/solvers and hisopt/experiments are links to the folders beside hisopt, so that Python sees
one tree. Archives made without links would lose them, so the build names the folders themselves.
"""

from setuptools import find_packages, setup

BESIDE = ("models", "solvers", "experiments")

packages = ["hisopt"] + [f"hisopt.{name}" for name in find_packages("hisopt") if name.split(".")[0] not in BESIDE]
for folder in BESIDE:
    packages += [f"hisopt.{folder}", *(f"hisopt.{folder}.{name}" for name in find_packages(folder))]

setup(packages=packages, package_dir={"hisopt": "hisopt"} | {f"hisopt.{folder}": folder for folder in BESIDE})
