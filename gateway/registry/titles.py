"""Titles written around Indonesian names, and how they are told from the name.

The population registry may hold titles, abbreviated (Permendagri 73/2022, article 5),
so either side of a comparison can carry them.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_BEFORE: Final = frozenset(
    """
    PROF DR DRG DRH DRS DRA IR NS APT PDT H HJ HAJI HAJJAH KH TGK TGH USTADZ USTADZAH
    R RR RA RM RADEN TN NY NN SDR SDRI BPK BAPAK IBU
    """.split()  # noqa: SIM905 - a vocabulary, read as one
)
_AFTER: Final = frozenset(
    """
    SH SE ST SKOM SPD SPDI SPDK SPDH SSOS SIP SAG SHI SEI SPSI SSI SKM SKED SKEP SFARM
    SGZ SHUT SPT SP SKG SSTP SSN SDS SAP SIKOM SAK SSIT SIK SST STH SPI STP SHUM
    STRKEB STRKEP STRKES STRT STRAK
    MH MM MSI MPD MPDI MKOM MT MA MSC MBA MHUM MKES MAG MKN MAP MSOS MIKOM MEI ME
    MED MENG MP MAK MPSI MFARM MIP MKEP MKM MPH MARS MTH MDIV MTI MSN MDS LLM
    PHD DBA BA BSC BBA BENG LC AMD AMDKEB AMDKEP AMK NS CPA CA AK
    SPA SPB SPPD SPOG SPM SPJP SPKJ SPKK SPS SPTHT SPRAD SPAN SPOT SPP SPU
    """.split()  # noqa: SIM905 - a vocabulary, read as one
)
# People are called these, too: they are titles only where a full stop or an earlier
# comma says so.
_ALSO_NAMES: Final = frozenset(
    """
    SIP SAG SHI SAP SAK SIK SPA SPAN SPOT MA MAG MAP ME MED MEI MAK MARS BA CA AK LC
    """.split()  # noqa: SIM905 - a vocabulary, read as one
)
_LONGEST_IN_PIECES: Final = 3  # A.Md.Keb.
_PIECE: Final = re.compile(r"[^\s.,]+|[.,]")


class _Word(NamedTuple):
    text: str
    dotted: bool  # a full stop follows
    after_comma: bool  # a comma stands somewhere before


def without_titles(name: str) -> list[str]:
    """Return the words of a name, titles at either end left out.

    Only whole words go, and never the last one left: whoever is called H or R,
    and nothing else, keeps that.

    Args:
        name: capitals, words apart by spaces, with its full stops and commas; no
            other punctuation.
    """
    if "." in name or "," in name:
        return [word.text for word in _strip(_read(name))]
    words = name.split()
    if words and (words[0] in _BEFORE or words[-1] in _AFTER):
        return [word.text for word in _strip(_read(name))]
    return words


def _read(name: str) -> list[_Word]:
    words: list[_Word] = []
    after_comma = False
    for piece in _PIECE.findall(name):
        if piece == ",":
            after_comma = True
        elif piece != ".":
            words.append(_Word(piece, dotted=False, after_comma=after_comma))
        elif words:
            words[-1] = words[-1]._replace(dotted=True)
    return words


def _strip(words: Sequence[_Word]) -> Sequence[_Word]:
    # The end first: of Dr. H, S.H. the one word left must be H.
    while taken := _title_after(words):
        words = words[:-taken]
    while taken := _title_before(words):
        words = words[taken:]
    return words


def _title_before(words: Sequence[_Word]) -> int:
    """Return how many words the title at the beginning takes; 0 if there is none."""
    for length in range(min(_LONGEST_IN_PIECES, len(words) - 1), 0, -1):
        title = words[:length]
        # In pieces only as R. A. is: Dr. A is no Dra, and R. A B is called A B.
        is_one = length == 1 or all(
            word.dotted and len(word.text) == 1 for word in title
        )
        if is_one and _joined(title) in _BEFORE:
            return length
    return 0


def _title_after(words: Sequence[_Word]) -> int:
    """Return how many words the title at the end takes; 0 if there is none."""
    for length in range(min(_LONGEST_IN_PIECES, len(words) - 1), 0, -1):
        title = words[-length:]
        if _written_as_one(title) and _closes_a_name(title):
            return length
    return 0


def _closes_a_name(title: Sequence[_Word]) -> bool:
    text, first = _joined(title), title[0]
    if text in _AFTER:
        return first.dotted or first.after_comma or text not in _ALSO_NAMES
    return text in _BEFORE and first.after_comma


def _joined(words: Sequence[_Word]) -> str:
    return "".join([word.text for word in words])


def _written_as_one(words: Sequence[_Word]) -> bool:
    """S.Kom. and S. H. are; the initials of BUDI S H are not, nor S., H."""
    last = words[-1]
    return all(
        word.dotted and word.after_comma == last.after_comma for word in words[:-1]
    )
