"""The one text of a product, and the one form of a query."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator

from indexing.errors import ConfigError, InvalidQuery, QueryTooLong
from retrieval.config import TextConfig
from retrieval.records import Product, Scalar
from retrieval.suggestions import did_you_mean, listed

TEMPLATE_VERSION = 1
"""Raised when the same configuration comes to render another text; part of the fingerprint of the query tower."""

KEY_BYTES = 16
"""Bytes of a text key. By the birthday bound, 1e9 texts collide with probability 1.5e-21."""

MAX_QUERY_CHARS = 512
"""Longest query. A long query paired with a long product costs the tokenizer quadratic time (tokenizers issue 2035)."""

EXACT_INTEGER = 2.0**53
"""Every whole number up to this is a double of its own (IEEE 754): nothing is lost without the fraction."""

_PLAIN_FIELDS = ("title", "description", "brand", "category")
_KNOWN_FIELDS = (*_PLAIN_FIELDS, "price", "attributes")
_ATTRIBUTE = "attributes."

# C0 and C1 controls and DEL, except those that are white space, which become a space like any other.
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()}
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")
_CLEAN = _CONTROLS | _SURROGATES


class TextTemplate:
    """Renders products as the configuration says; equal products give equal texts, whatever the machine."""

    def __init__(self, config: TextConfig) -> None:
        """Prepare one renderer per field.

        Raises:
            ConfigError: If a field is empty, ``attributes.`` without a name, or given twice.
        """
        self.config = config
        _check_fields(config.fields)
        self._parts = [self._renderer(name) for name in config.fields]

    def render(self, product: Product) -> str:
        """Return the text of ``product``: its non-empty fields in order, joined by the separator, cut at ``max_chars``.

        A product without any of the fields gives an empty string.

        Raises:
            ConfigError: If the template names a field that is neither known nor among the product's extra columns.
        """
        text = self.config.separator.join(part for _, part in self._named_parts(product))
        if self.config.lower_case:
            text = text.lower()
        return text[: self.config.max_chars]

    def parts(self, product: Product) -> list[tuple[str, int, int]]:
        """Say which field each stretch of the rendered text comes from.

        Returns:
            Field (an attribute as ``attributes.<name>``), first character and the one after the last, in the order of
            the text; what lies beyond ``max_chars`` is left out or cut.

        Raises:
            ConfigError: As `render`.
        """
        found, start = [], 0
        for name, part in self._named_parts(product):
            length = len(part.lower() if self.config.lower_case else part)  # a few letters become two
            found.append((name, start, min(start + length, self.config.max_chars)))
            start += length + len(self.config.separator)
        return [part for part in found if part[1] < part[2]]

    def _named_parts(self, product: Product) -> Iterator[tuple[str, str]]:
        """Yield field and text of everything in the template that ``product`` has."""
        for renderer in self._parts:
            for name, part in renderer(product):
                if text := part.strip():
                    yield name, text

    def describe(self) -> str:
        """Return the template as canonical JSON: equal strings mean that the same product gives the same text."""
        names = ("fields", "separator", "labels", "max_attributes", "lower_case", "max_chars")
        settings = {name: getattr(self.config, name) for name in names}
        return json.dumps({"version": TEMPLATE_VERSION, **settings}, sort_keys=True, default=list)

    def _renderer(self, name: str) -> Callable[[Product], Iterator[tuple[str, str]]]:
        if name in _PLAIN_FIELDS:
            return lambda product: iter(((name, getattr(product, name)),))
        if name == "price":
            return lambda product: iter(((name, scalar_text(product.price)),))
        if name == "attributes":
            return self._all_attributes
        if name.startswith(_ATTRIBUTE):
            return lambda product: self._one_attribute(product, name.removeprefix(_ATTRIBUTE))
        return lambda product: self._extra(product, name)

    def _all_attributes(self, product: Product) -> Iterator[tuple[str, str]]:
        taken = list(product.attributes.items())[: self.config.max_attributes]
        return ((_ATTRIBUTE + name, self._labelled(name, value)) for name, value in taken)

    def _one_attribute(self, product: Product, name: str) -> Iterator[tuple[str, str]]:
        yield _ATTRIBUTE + name, self._labelled(name, product.attributes.get(name, ""))

    def _extra(self, product: Product, name: str) -> Iterator[tuple[str, str]]:
        if name not in product.extra:
            raise ConfigError(_unknown_field(name, product))
        yield name, self._labelled(name, scalar_text(product.extra[name]))

    def _labelled(self, name: str, value: str) -> str:
        return f"{name}: {value}" if self.config.labels and value.strip() else value


def scalar_text(value: Scalar) -> str:
    """Return a value as a shopper would read it: ``6.0`` is ``"6"``, ``True`` is ``"yes"``, ``None`` is empty."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer() and abs(value) < EXACT_INTEGER:
            return str(int(value))
        case _:
            return str(value)


def text_key(text: str) -> bytes:
    """Return the 16 bytes by which the vector of ``text`` is stored: the head of the SHA-256 of its UTF-8 form.

    Lone surrogates, which UTF-8 does not have, are hashed as their three-byte form, so that every string has a key.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


def normalise_query(text: object, *, max_chars: int = MAX_QUERY_CHARS) -> str:
    """Return the one form of a query: Unicode NFKC, no control characters, single spaces, none at the ends.

    Lone surrogates become U+FFFD. Normalising twice gives the same as once.

    Args:
        text: What the shopper typed.
        max_chars: Longest text taken, in code points, before and after NFKC (one code point can become 18).

    Raises:
        InvalidQuery: If ``text`` is no string, or nothing visible is left of it.
        QueryTooLong: If it is over ``max_chars``; told from its length alone, before anything reads it.
    """
    if not isinstance(text, str):
        raise InvalidQuery(f"a query must be a string, got {type(text).__name__}")
    _check_length(len(text), max_chars, "")
    clean = " ".join(unicodedata.normalize("NFKC", text.translate(_CLEAN)).split())
    _check_length(len(clean), max_chars, " after Unicode normalisation (NFKC)")
    if not any(_visible(character) for character in clean):
        raise InvalidQuery(f"a query needs at least one visible character, got {text[:20]!r}")
    return clean


def _check_length(length: int, max_chars: int, when: str) -> None:
    if length > max_chars:
        raise QueryTooLong(f"a query may have up to {max_chars} characters, got {length}{when}; shorten it")


def _visible(character: str) -> bool:
    # Format characters (zero-width space, byte order mark) print nothing and no tokenizer keeps them.
    return not character.isspace() and unicodedata.category(character) != "Cf"


def _check_fields(fields: list[str]) -> None:
    for name in fields:
        if not name.strip() or name == _ATTRIBUTE:
            raise ConfigError(
                f"text.fields holds {name!r}; expected {', '.join(_KNOWN_FIELDS)}, attributes.<name> or a kept column"
            )
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if twice:
        raise ConfigError(f"text.fields names {', '.join(twice)} twice, got {list(fields)}; name each field once")


def _unknown_field(name: str, product: Product) -> str:
    attributes = [_ATTRIBUTE + attribute for attribute in product.attributes]
    if name in product.attributes:
        hint = f"; did you mean {_ATTRIBUTE + name!r}?"
    else:
        hint = did_you_mean(name, [*_KNOWN_FIELDS, *attributes, *product.extra])
    known = listed([*_KNOWN_FIELDS, "attributes.<name>", *product.extra])
    where = f"product {product.product_id!r} does not have {known}"
    return f"text.fields names {name!r}, which {where}; further columns are listed in catalog.keep{hint}"
