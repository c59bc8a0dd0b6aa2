"""Numbers in sentences, on screens and pages."""


def count(number: int, word: str, plural: str | None = None) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{number} {word if number == 1 else plural or word + 's'}"
