"""RE2's regular expressions, which Envoy matches by, read as Python's.

Each engine knows what the other refuses, and some of what both know means something else
(github.com/google/re2/wiki/Syntax). So an expression is read by RE2's rules and written anew for Python's
`re`, which then checks what both have alike: groups that are closed, ranges in order, repeats of something.
"""

import re
from typing import Final, NamedTuple

_LAST: Final = 0x10FFFF
_MOST_REPEATS: Final = 1000
_DEEPEST: Final = 100
"""Groups in groups: RE2 takes more of them, but Python's parser calls itself for each."""

_Ranges = tuple[tuple[int, int], ...]


def _ranges(text: str) -> _Ranges:
    """`AZaz`: from A to Z, and from a to z."""
    return tuple((ord(text[at]), ord(text[at + 1])) for at in range(0, len(text), 2))


_POSIX: Final[dict[str, _Ranges]] = {
    "alnum": _ranges("09AZaz"),
    "alpha": _ranges("AZaz"),
    "ascii": ((0, 0x7F),),
    "blank": _ranges("\t\t  "),
    "cntrl": ((0, 0x1F), (0x7F, 0x7F)),
    "digit": _ranges("09"),
    "graph": _ranges("!~"),
    "lower": _ranges("az"),
    "print": _ranges(" ~"),
    "punct": _ranges("!/:@[`{~"),
    "space": _ranges("\t\r  "),
    "upper": _ranges("AZ"),
    "word": _ranges("09AZ__az"),
    "xdigit": _ranges("09AFaf"),
}
_PERL: Final[dict[str, _Ranges]] = {
    "d": _ranges("09"), "s": _ranges("\t\n\f\r  "), "w": _ranges("09AZ__az"),
}  # fmt: skip
_NAMES: Final = """
Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl
Zp Zs
Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali
Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian
Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret
Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian
Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo
Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian
Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi
Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic
Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive
Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari
New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic
Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya
Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic
Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo
Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut
Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi
Zanabazar_Square
"""
_UNICODE: Final = frozenset(_NAMES.split())
"""Classes of Unicode: categories, and the scripts that Envoy's RE2 knows."""
_CONTROLS: Final = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_BOUNDARIES: Final = {"A": r"(?:\A)", "z": r"(?:\Z)", "b": r"(?:\b)", "B": r"(?:\B)"}
_ANCHORS: Final = {"^": r"(?:\A)", "$": r"(?:\Z)"}
"""In groups, since RE2 lets also these be repeated. Python's `$` is also before a last line break."""
_ESCAPE: Final = re.compile(
    r"""\\(?:
    Q(?P<literal>.*?)(?:\\E|\Z)
    | [pP](?:\{\^?(?P<property>\w+)\} | (?P<category>[A-Z]))
    | x(?:\{(?P<code>[0-9A-Fa-f]+)\} | (?P<byte>[0-9A-Fa-f]{2}))
    | (?P<octal>0[0-7]{0,2} | [1-7][0-7]{1,2})
    | (?P<other>.)
    )""",
    re.DOTALL | re.VERBOSE,
)
_GROUP: Final = re.compile(r"\(\?(?:P?<\w+>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_POSIX_CLASS: Final = re.compile(r"\[:(\^?)(\w+):\]")
_REPEAT: Final = re.compile(r"(?:[*+?]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\})(?P<greed>[*+?]?)")


class NotRe2(ValueError):
    """RE2 does not take an expression; the message says why."""


class Translated(NamedTuple):
    """An expression for Python's `re`, with `re.ASCII`."""

    pattern: str
    is_exact: bool
    """Does it match the same? Otherwise only its syntax is that of the original."""


def to_python(pattern: str) -> Translated:
    """Raises `NotRe2`."""
    reader = _Reader(pattern)
    found = reader.read()
    try:
        re.compile(found, re.ASCII)
    except re.error as error:
        raise NotRe2(str(error)) from error
    return Translated(found, reader.is_exact)


class _Reader:
    """One expression, read once from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0
        self._repeats = [1]
        """Of each group that is open: how often what is in it may be repeated, at most."""
        self._last = 1
        """Likewise of what a repeat would now be for."""
        self.is_exact = True

    def read(self) -> str:
        made: list[str] = []
        while self._at < len(self._text):
            made.append(self._next())
        return "".join(made)

    def _next(self) -> str:
        char = self._text[self._at]
        if char == "(":
            self._repeats.append(1)
            if len(self._repeats) > _DEEPEST:
                raise NotRe2(f"has more than {_DEEPEST} groups in each other")
            return self._group()
        repeat = _REPEAT.match(self._text, self._at)
        if repeat is not None:
            return self._repeat(repeat)
        self._last = self._repeats.pop() if char == ")" and len(self._repeats) > 1 else 1
        self._repeats[-1] = max(self._repeats[-1], self._last)
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._class()
        self._at += 1
        # A brace that begins no repeat is itself, also where Python knows one (`{,3}`).
        return _ANCHORS.get(char) or (r"\{" if char == "{" else char)

    def _repeat(self, found: re.Match[str]) -> str:
        self._at = found.end()
        if found["greed"] in ("*", "+") or _REPEAT.match(self._text, self._at):
            raise NotRe2(f"{self._text[found.start() : self._at + 1]!r} repeats what repeats already")
        self._last *= int(found["most"] or found["least"] or 1) or 1
        if self._last > _MOST_REPEATS:
            raise NotRe2(f"repeats more than {_MOST_REPEATS} times, which RE2 refuses")
        self._repeats[-1] = max(self._repeats[-1], self._last)
        return found.group()

    def _group(self) -> str:
        """Names of groups do not matter; flags do, in the group in which they stand."""
        is_first = self._at == 0
        if not self._text.startswith("(?", self._at):
            self._at += 1
            return "("
        found = _GROUP.match(self._text, self._at)
        if found is None:
            shown = self._text[self._at : self._at + 4]
            raise NotRe2(f"{shown!r} is not RE2 syntax: there is no look-around, and flags are i, m, s and U")
        self._at = found.end()
        flags, end = found["flags"], found["end"]
        if flags is None:
            return "("
        if end == ")":
            self._repeats.pop()
        on, _, off = flags.partition("-")
        # Multiple lines, lazy for greedy, and what holds from the middle of a group on.
        if set(flags) & set("mU") or (flags and end == ")" and not is_first):
            self.is_exact = False
            on = off = ""
        if end == ")":
            return f"(?{on})" if on else ""
        return f"(?{on}-{off}:" if off else f"(?{on}:"

    def _escape(self) -> str:
        found = self._escaped()
        if found["literal"] is not None:
            return re.escape(found["literal"])
        ranges = self._set(found)
        if ranges:
            return f"[{ranges}]"
        if found["other"] in _BOUNDARIES:
            return _BOUNDARIES[found["other"]]
        if found["other"] == "C":
            self.is_exact = False  # a byte, of which a character may have several
            return "."
        return _written(_code(found))

    def _escaped(self) -> re.Match[str]:
        found = _ESCAPE.match(self._text, self._at)
        if found is None:
            raise NotRe2("ends with a backslash")
        self._at = found.end()
        return found

    def _set(self, found: re.Match[str]) -> str:
        """What stands in brackets for an escape that means several characters; "" for any other."""
        name = found["property"] or found["category"]
        if name is not None:
            if name not in _UNICODE:
                raise NotRe2(f"{found.group()!r} is no class of Unicode")
            self.is_exact = False
            return r"\w"
        char = found["other"] or ""
        if char.lower() not in _PERL:
            return ""
        ranges = _PERL[char.lower()]
        return _class_of(ranges if char.islower() else _complement(ranges))

    def _class(self) -> str:
        made, start = ["["], self._at
        self._at += 1
        if self._text.startswith("^", self._at):
            made.append("^")
            self._at += 1
        first = True
        while first or not self._text.startswith("]", self._at):
            if self._at >= len(self._text):
                raise NotRe2(f"{self._text[start:]!r} has no closing bracket")
            made.append(self._in_class())
            first = False
        self._at += 1
        return "".join([*made, "]"])

    def _in_class(self) -> str:
        posix = _POSIX_CLASS.match(self._text, self._at)
        if posix is not None:
            if posix[2] not in _POSIX:
                raise NotRe2(f"{posix[0]!r} is no class of characters")
            self._at = posix.end()
            ranges = _POSIX[posix[2]]
            return _class_of(_complement(ranges) if posix[1] else ranges)
        low = self._character()
        if isinstance(low, str):
            return low
        following = self._text[self._at : self._at + 2]
        if len(following) < 2 or following[0] != "-" or following[1] == "]":
            return _written(low)
        self._at += 1
        high = self._character()
        if isinstance(high, str) or high < low:
            raise NotRe2(f"a range from {chr(low)!r} ends at nothing that comes after it")
        return _class_of(((low, high),))

    def _character(self) -> int | str:
        """One in brackets, by its number; or what an escape for several is in Python."""
        if self._text[self._at] == "\\":
            found = self._escaped()
            return self._set(found) or _code(found)
        self._at += 1
        return ord(self._text[self._at - 1])


def _code(found: re.Match[str]) -> int:
    """The character that an escape stands for."""
    shown, char = found.group(), found["other"]
    digits = found["code"] or found["byte"]
    if digits is not None or found["octal"] is not None:
        value = int(digits, 16) if digits is not None else int(found["octal"], 8)
        if value > _LAST:
            raise NotRe2(f"{shown!r} is beyond the last character")
        return value
    if char in _CONTROLS:
        return ord(_CONTROLS[char])
    if char is not None and char.isascii() and not char.isalnum():
        return ord(char)
    raise NotRe2(f"{shown!r} is not RE2 syntax; it has no back-references, and no such escape")


def _written(code: int) -> str:
    """One character, wherever it stands."""
    return f"\\U{code:08x}"


def _class_of(ranges: _Ranges) -> str:
    return "".join(f"{_written(first)}-{_written(last)}" for first, last in ranges)


def _complement(ranges: _Ranges) -> _Ranges:
    found, after = [], 0
    for first, last in ranges:
        if first > after:
            found.append((after, first - 1))
        after = last + 1
    return (*found, (after, _LAST))
