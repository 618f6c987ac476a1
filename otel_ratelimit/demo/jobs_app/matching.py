"""How well a job's text fits a CV: shared skills, the rare ones counting more, and shared words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

_WORD = re.compile(r"[a-z][a-z+#.-]*[a-z+#]|[a-z]")
_COMMON = frozenset(
    (
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "is", "it",
        "of", "on", "or", "our", "that", "the", "their", "this", "to", "we", "will", "with", "you", "your",
    )
)  # fmt: skip
SKILL_SHARE = 0.8


class Fit(TypedDict):
    """The outcome for one job."""

    score: float
    """0 (nothing in common) to 1."""
    matched: list[str]
    missing: list[str]


class Vocabulary:
    """The known skills; one that few jobs ask for weighs more."""

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        total = sum(frequencies.values()) or 1
        self.weights = {name: math.log(1 + total / (1 + count)) for name, count in frequencies.items()}

    def in_text(self, text: str) -> set[str]:
        """The skills that `text` names."""
        words = _words(text)
        joined = " ".join(words)
        known = set(words)
        return {name for name in self.weights if (name in joined if " " in name else name in known)}


def score(cv: str, job: str, vocabulary: Vocabulary) -> Fit:
    """How well `job` fits `cv`."""
    asked, had = vocabulary.in_text(job), vocabulary.in_text(cv)
    weight_asked = sum(vocabulary.weights[name] for name in asked)
    weight_had = sum(vocabulary.weights[name] for name in asked & had)
    skills = weight_had / weight_asked if weight_asked else 0.0
    return {
        "score": round(SKILL_SHARE * skills + (1 - SKILL_SHARE) * _cosine(_words(cv), _words(job)), 3),
        "matched": sorted(asked & had),
        "missing": sorted(asked - had),
    }


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _cosine(one: list[str], other: list[str]) -> float:
    left, right = Counter(one), Counter(other)
    dot = sum(count * right[word] for word, count in left.items())
    norm = math.sqrt(sum(c * c for c in left.values()) * sum(c * c for c in right.values()))
    return dot / norm if norm else 0.0
