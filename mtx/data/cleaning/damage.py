"""Traces of a wrong encoding in text, above all UTF-8 that was decoded as Latin-1 or Windows-1252.

In such text, each character of two bytes is a capital letter with an accent and a sign: `é` became `Ã©`. Correct text
has the same sequences where a word in capitals ends with such a letter: `IRMÃ»`, `LIBERTÉ »`. So a sign that may follow
a word is a trace only where the letters around it rule out the end of such a word.
"""

import re

# Signs and letters that stand for the bytes 80 to BF: all bytes of a longer character but the first
_ANY = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_AFTER_WORD = "\u00a0\u00ab\u00ad\u00ae\u00b0\u00b7\u00ba\u00aa\u00bb‘’“”„‚‹›–—…•™"  # Signs that follow words
_RARE = "¢£¤¥¦¨¬¯±´µ¶¸ƒˆ˜"  # Signs that hardly ever follow a letter
_CAPITAL = "A-Z\u00c0-\u00de\u0100-\u024f\u1e00-\u1eff"

_MISREAD_CASES = "|".join([
    f"[ÃÂ](?![{_AFTER_WORD}])[{_ANY}]",  # é as Ã©, £ as Â£
    f"(?<![{_CAPITAL}])[ÃÂ][{_AFTER_WORD}]",  # û as Ã», but not at the end of IRMÃ
    rf"[ÃÂ][{_AFTER_WORD}](?=[^\W\d_])",  # HÔTEL as HÃ”TEL
    "[ÄÅÈ][¡¢£¤¥¦§¨¬¯±²³´µ¶¸¹¼½¾¿€ƒ†‡ˆ‰˜Ÿ]",  # š as Å¡, ğ as ÄŸ
    rf"(?<=[^\W\d_])[ÄÅÈ](?!’)[{_AFTER_WORD}](?=[a-z])|[ÅÈ][‚™›](?=[a-z])",  # mło as mÅ‚o
    f"[à-ï](?:[{_RARE}][{_ANY}]|[{_ANY}][{_RARE}])",  # characters of three bytes
    f"(?:[Â-ß][{_ANY}]|[à-ï][{_ANY}]{{2}}){{2}}",  # two characters in a row
    "â€|â†|ðŸ|ï»¿|ï¿½",  # quotes and dashes, arrows, emoji, the byte order mark, U+FFFD
])  # fmt: skip
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")  # Controls, private use, replacements
_SUSPICIOUS = re.compile(f"[Â-ô][{_ANY}]")  # Begins every case of `_MISREAD`; takes a tenth of its time
_MISREAD = re.compile(_MISREAD_CASES)


def is_damaged(text: str) -> bool:
    """Whether `text` has replacement, control or private-use characters, or traces of a wrong encoding."""
    if text.isascii() and text.isprintable():
        return False
    if _UNREADABLE.search(text):
        return True
    return _SUSPICIOUS.search(text) is not None and _MISREAD.search(text) is not None
