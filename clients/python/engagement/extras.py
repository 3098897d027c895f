"""Explains how to install the libraries of an optional part, which are an extra of the package."""

from __future__ import annotations


def explain_missing(feature: str, error: ModuleNotFoundError, *, extra: str) -> str:
    """One sentence: the library that `feature` lacks and how to install it, from an index or a checkout."""
    package = "engagement-attributes"
    return (
        f"{feature} needs {error.name}, which is not installed: "
        f"run pip install '{package}[{extra}]', or pip install '.[{extra}]' in a checkout."
    )
