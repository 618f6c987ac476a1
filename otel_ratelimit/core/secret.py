"""Values that cannot be printed by accident: not by repr, a log line, a traceback with variables, or JSON.

Code that needs the text calls `reveal` in the expression that uses it. So the text stays in no variable that
a traceback could show.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NoReturn, Self, TypeVar

HIDDEN: Final = "***"

V_co = TypeVar("V_co", covariant=True)


class Secret:
    """A text that shows itself as `***` wherever it is converted, formatted or logged; it cannot be pickled.

    Args:
        value: the text; empty for no secret.
        shown: the part that may be seen, for instance a URI without its password.
    """

    __slots__ = ("_shown", "_value")

    def __init__(self, value: str = "", shown: str = HIDDEN) -> None:
        self._value = value
        self._shown = shown if value else ""

    @classmethod
    def of(cls, value: str | Secret) -> Secret:
        """`value` as a secret, if it is not one already."""
        return value if isinstance(value, Secret) else cls(value)

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def matches(self, given: str) -> bool:
        """Whether `given` is this text, compared in a time that does not depend on where they differ."""
        return hmac.compare_digest(_bytes(given), _bytes(self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare the texts, with a secret or a text; see `matches`."""
        if isinstance(other, Secret):
            return self.matches(other._value)
        return self.matches(other) if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Secret({self._shown})"

    def __format__(self, specification: str) -> str:
        return format(self._shown, specification)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise _not_serialisable()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise _not_serialisable()


NO_SECRET: Final = Secret()
"""The empty secret."""


class HiddenValues(Mapping[str, V_co], Generic[V_co]):
    """A mapping that shows its names and hides its values, because some of them may be passwords."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, V_co]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> V_co:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self._values, HIDDEN))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise _not_serialisable()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise _not_serialisable()


class HiddenEnvironment(HiddenValues[str]):
    """An environment that shows no values, because any of them may be a password.

    Args:
        environ: read whenever a value is asked for; not copied.
    """

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__({})
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"


class SecretKey:
    """The key of keyed hashes; like a `Secret`, it shows itself as `***` and cannot be pickled.

    Args:
        value: the key; empty for no key.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes = b"") -> None:
        self._value = value

    @classmethod
    def of(cls, value: bytes | SecretKey) -> SecretKey:
        """`value` as a key, if it is not one already."""
        return value if isinstance(value, SecretKey) else cls(value)

    def reveal(self) -> bytes:
        """The key itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare the keys, with a key or bytes, in a time that does not depend on where they differ."""
        if isinstance(other, SecretKey):
            other = other._value
        return hmac.compare_digest(self._value, other) if isinstance(other, bytes) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"SecretKey({HIDDEN if self._value else ''})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise _not_serialisable()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise _not_serialisable()


class Redactor:
    """Takes secrets out of foreign texts, such as the answer of a server that repeats what it was sent.

    Args:
        secrets: the texts to take out; empty ones are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may be a part of another.
        longest_first = sorted(filter(None, set(secrets)), key=len, reverse=True)
        self._secrets = tuple(map(Secret, longest_first))

    def __call__(self, text: str) -> str:
        """`text` with `***` in place of each secret."""
        for secret in self._secrets:
            text = text.replace(secret.reveal(), HIDDEN)
        return text


def passwords_among(options: Mapping[Any, object]) -> Iterator[str]:
    """The texts in `options`, at any depth, whose names say that they are passwords."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from passwords_among(value)
        elif isinstance(value, str) and "password" in str(name).lower():
            yield value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _not_serialisable() -> TypeError:
    return TypeError("a secret cannot be serialised")
