"""Traces of a wrong encoding are found, and correct text with the same characters is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.cleaning.damage import is_damaged

CORRECT = [
    "IRMÃ»", "AMANHÃ »", "AMANHÃ\u00a0»", "IRMÃ”, disse", "MANHÃ…", "A MAÇÃ – disse", "LIBERTÉ\u00a0»",
    "liberté\u00a0»", "l’été…\u00a0»", "vidíš…", "víš“", "Straße»", "„Spaß“", "Fuß…", "VÝŠKA", "ŽÍŽALA", "Café™", "“É”",
    "XÃ HỘI", "MÃ”", "„Ä…hm“", "“À”", "PÅ…", "NÃO", "ÇA—ÇA", "à «\u00a0non\u00a0»", "Öl–Öl", "25 °C", "10 £",
    "¿Qué? ¡Ñu!", "Noël…", "é\u00adt", "Țară", "ÎN ȚARĂ”", "ÅRHUS", "5½ µm", "naïve»", "привет», мир", "你好，世界",
    "שלום", "नमस्ते", "😀", "x²±1",
]  # fmt: skip
TEXTS = [
    "Schöne Grüße aus Köln", "STRASSE, ÖL", "la goûteuse fête de l’été à Paris", "El niño mañana", "coração, irmã",
    "żółć mały są", "řeka dětí, kůň", "şu ağaç çok ılık", "șarpe și țară", "čekám žábu", "пример текста", "παράδειγμα",
    "مثال على النص", "דוגמה של טקסט", "उदाहरण पाठ", "ตัวอย่างข้อความ", "中文的例子", "日本語の例",
    "한국어 예문", "ví dụ tiếng Việt",
    "“Hi” — it’s 5 €…", "25 °C", "😀", "→ next", "blåbærsyltetøy på Åland", "ąžuolas ėjo",
]  # fmt: skip


@pytest.mark.parametrize("text", CORRECT)
def test_correct_text_is_kept(text: str) -> None:
    assert not is_damaged(text)


@pytest.mark.parametrize("text", TEXTS)
def test_text_decoded_wrongly_is_found(text: str) -> None:
    assert not is_damaged(text)
    assert is_damaged(text.encode().decode("latin-1"))
    windows = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())
    assert is_damaged(windows)


@pytest.mark.parametrize("text", ["\ufffd", "a\x07b", "a\x85b", "\x9b2J", "\ue000", "ï»¿Hi", "ï¿½", "goÃ»t", "HÃ”TEL"])
def test_other_damage_is_found(text: str) -> None:
    assert is_damaged(text)


@given(st.text(st.sampled_from("abcXYZ ÃÂÉÅäßé"), min_size=1), st.sampled_from("»”’“…–"))
def test_a_word_in_capitals_may_end_with_any_letter(text: str, sign: str) -> None:
    assert not is_damaged(f"{text}IRMÃ{sign}")
