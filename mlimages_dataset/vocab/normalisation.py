"""Spellings under which WordNet may list a class name: case, accents, hyphens, British forms, brackets.

A name is split into its base and the qualifier in brackets (`Bun (Food)`); `spellings` lists the forms of the base to
look up, closest first. `WordNet.base_forms` handles inflection.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_VARYING = str.maketrans("", "", " -.'/")
"""Deletes what varies in compounds."""
_QUALIFIED = re.compile(r"^(?P<base>.*\S)\s*\((?P<qualifier>[^()]*)\)?$")
_SHELF = re.compile(r"^/?([a-z])/(?P<name>\1[^/]+)(?:/(?P<words>[^/]+))?$")
"""A name below its first letter, as lists of scenes have it: `/c/church/indoor`."""
_PUNCTUATION = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{MODIFIER LETTER APOSTROPHE}": "'",
        "\N{HYPHEN}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        "\N{EN DASH}": "-",
        "_": " ",
    }
)
_AMERICAN = tuple(
    (re.compile(british), american)
    for british, american in (
        (r"\bgrey", "gray"),
        (r"\btyre", "tire"),
        (r"\bmoustache", "mustache"),
        (r"\bjewellery\b", "jewelry"),
        (r"\baluminium\b", "aluminum"),
        (r"\bpyjama", "pajama"),
        (r"\byoghurt", "yogurt"),
        (r"\baero(?=plane)", "air"),
        (r"\bplough", "plow"),
        (r"\bmould", "mold"),
        (r"\bdonut", "doughnut"),
        (r"\bchilli\b", "chili"),
        (r"\bwhisky\b", "whiskey"),
        (r"(?<=[a-z]{2})our(?=s|ed|ing|ful|s?$|s? )", "or"),
        (r"(?<=[a-z]{2}[bct])re(?=s?$|s? )", "er"),
        (r"(?<=[a-z]{2})is(?=ation|er\b|ing\b|ed\b)", "iz"),
        (r"(?<=[a-z]{2})ogue\b", "og"),
        (r"(?<=[aeiou])ll(?=ing|ed|er)", "l"),
    )
)
"""British spellings and WordNet's American ones. Wrong results do no harm: a form only counts if WordNet lists it."""


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A parsed class name.

    Attributes:
        base: the name proper, in lower case, with plain quotes, hyphens and single spaces.
        qualifier: the words in brackets after it, in the same form; may be empty.
    """

    base: str
    qualifier: str


def parse_name(name: str) -> ParsedName:
    """Return the base and the qualifier of a class name; an unclosed bracket (in a truncated name) counts as closed."""
    plain = " ".join(unicodedata.normalize("NFKC", name).translate(_PUNCTUATION).lower().split())
    qualified = _QUALIFIED.match(plain)
    if qualified is None:
        return ParsedName(plain, "")
    return ParsedName(qualified["base"], qualified["qualifier"].strip())


def without_shelf(name: str) -> str:
    """Return `church (indoor)` of `/c/church/indoor`, as lists of scenes write their names; other names as they are.

    >>> without_shelf("/c/church/indoor"), without_shelf("a/abbey"), without_shelf("b/w")
    ('church (indoor)', 'abbey', 'b/w')
    """
    found = _SHELF.match(name)
    if found is None:
        return name
    return f"{found['name']} ({found['words']})" if found["words"] else found["name"]


def spellings(base: str) -> tuple[str, ...]:
    """Return the forms under which the parsed name `base` may be listed, closest first, itself included."""
    forms = dict.fromkeys([base, without_accents(base)])
    for rewrite in (_and_for_ampersand, _without_article, _spaces_for_hyphens, american):
        forms |= dict.fromkeys(rewrite(form) for form in tuple(forms))
    return tuple(form for form in forms if form)


def squashed(form: str) -> str:
    """Return the form without the characters that vary in compounds: spaces, hyphens, full stops, apostrophes."""
    return form.translate(_VARYING)


def without_accents(form: str) -> str:
    """Return the form with each accented letter replaced by the plain one."""
    return "".join(c for c in unicodedata.normalize("NFD", form) if not unicodedata.combining(c))


def american(form: str) -> str:
    """Return the American spelling of the form, which WordNet prefers."""
    for british, replacement in _AMERICAN:
        form = british.sub(replacement, form)
    return form


def _and_for_ampersand(form: str) -> str:
    return re.sub(r"\s*&\s*", " and ", form).strip()


def _without_article(form: str) -> str:
    return re.sub(r"^(the|an|a) ", "", form)


def _spaces_for_hyphens(form: str) -> str:
    return form.replace("-", " ")
