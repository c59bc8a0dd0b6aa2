"""The distributions that an install of massmatch brings, and under which licence each may be used."""

import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def required(extra: str = "") -> Iterator[Requirement]:
    """The requirements of pyproject.toml: of a plain install, and of an extra with the extras that it includes."""
    yield from map(Requirement, PROJECT["dependencies"])
    for line in PROJECT["optional-dependencies"][extra] if extra else ():
        wanted = Requirement(line)
        if wanted.name == PROJECT["name"]:
            for included in wanted.extras:
                yield from required(included)
        else:
            yield wanted


def brought(extra: str = "") -> list[Distribution]:
    """What `pip install massmatch` or `massmatch[extra]` brings, of what is installed here; each once."""
    found: dict[str, Distribution] = {}
    asked, seen = list(required(extra)), set()
    while asked:
        wanted = asked.pop()
        if (key := (wanted.name.lower().replace("_", "-"), *sorted(wanted.extras))) in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = distribution(wanted.name)
        except PackageNotFoundError:
            continue  # what another platform needs
        for need in map(Requirement, found[key[0]].requires or []):
            if need.marker is None or any(need.marker.evaluate({"extra": name}) for name in ("", *wanted.extras)):
                asked.append(need)
    return list(found.values())


def licence(of: Distribution) -> str:
    """What a distribution says of its licence: the SPDX expression, or else its classifiers, or else its free text."""
    about = of.metadata
    named = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    text = (about.get("License") or "").strip().splitlines()
    return about.get("License-Expression") or "; ".join(named) or (text[0] if text else "")
