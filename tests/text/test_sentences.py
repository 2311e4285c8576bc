"""Sentences end where a reader of the language ends them; nothing is lost, and in doubt nothing is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.text.sentences import split_sentences

TEXT = st.text(alphabet="aZé1 .!?…,\"')»«“\t\n\u3000\u00a0。！？」「你好ب؟۔।", max_size=80)

# By language, texts whose sentences are separated here by |, which stands for a space (for nothing in zh and ja).
CASES = {
    "en": """
        A man is playing a guitar.|Two dogs run in the snow.
        Mr. Smith and Dr. Jones, i.e. the two men of approx. forty, stand at No. 5 near St. Mary Church.|They wait.
        The prices rose by 3.5 percent.|It was 10.30 p.m. already.|Version v. 2.0 is out.
        See main.py and https://www.example.org/a.b?c=d.|Write to info@mail.example.org.|Thanks!
        J. R. R. Tolkien wrote it.|"Stop!" he cried.|"Why?"|(See Fig. 3.)|Wait... what?|Yes?!|No.
        The U.S. Army came.|I live in the U.S.|It is big.|At 7 a.m. Tom left.|It was in 1990.|She left.
        We met Lt. Col. Brown, Gen. Lee, Ms. Hill and Sgt. Pepper Jr. in Ft. Worth.|Yahoo! Inc. paid.
        He told me.|She is ill.|I bought art.|Everything is OK.|He weighs 80 kg.|See section (b).|Not 5.|Five!
        hi there.|how are you?|i am fine, i.e. not ill.
        """,
    "de": """
        z. B. am 3. März, die von Dr. Müller.|Das gilt nach Abs. 2 Nr. 5 u. a. für Prof. Weiß.
        „Komm!“, rief er.|„Ich gehe.“|»Ja.«|»Nein.«|Im 19. Jahrhundert war Ludwig XIV. König.|Danach nicht.
        Es kostet ca. Fünf Euro, inkl. Porto, d. h. 3,5 Mio. Euro.|Vgl. Kap. 3 und Hauptstr. 5 am Hbf. Köln.
        Er sah mich.|Um neun Uhr.|Ich habe Angst.|Er wiegt 80 kg.|Das war 1990.|Er ist 25.|Sie ist 30.
        """,
    "fr": """
        M. Dupont et Mme. Martin sont là.|« Vraiment ? » demanda-t-elle.|« Oui ! »|Il part.|Est-ce vrai ?|Oui.
        Voir R.S., c. C-46, l'art. 5, p. ex. Le Figaro, etc.|Il dort.|J.-C. Martin habite St. Denis.
        Visés à l'alinéa b).|Bon.
        """,
    "es": "El Sr. García y la Sra. López llegaron a EE. UU. ayer.|¿Qué hora es?|¡Vamos!|Vea la pág. 3.|Sí.",
    "it": "Il sig. Rossi e il dott. Bianchi vivono qui.|Perché no?|Va bene!|Vedi pag. 5.|Fine.",
    "pt": "O Sr. Silva e a Sra. Costa vieram.|Veja a pág. 3.|Tudo bem?|Sim.",
    "ru": "А. С. Пушкин родился в г. Москве.|Он живёт на ул. Ленина.|Что?|Да!|Это стоит 5 тыс. Рублей.",
    "uk": "Т. Г. Шевченко писав вірші.|Що це?|Так.",
    "bg": "Той е на ул. Раковски.|Да.",
    "ar": "هل هذا صحيح؟|نعم.|وصل د. أحمد.|حسنا!",
    "fa": "آیا این درست است؟|بله.",
    "ur": "کیا یہ درست ہے؟|لا أعرف۔|شكرا",
    "hi": "यह सही है।|क्या यह सही है?|डॉ. शर्मा आए।|ठीक॥",
    "bn": "এটা ঠিক।|কেন?",
    "ta": "இது சரி.|ஏன்?",
    "hy": "Ես եմ։|Դու ուսանող ես:|Բարի լույս։",
    "am": "እሱ ነው።|እሷ ናት፡፡|ለምን፧|እሺ።",
    "el": "Τι κάνεις;|Ο κ. Παπαδόπουλος ήρθε.|Καλά είμαι.",
    "tr": "Dr. Yılmaz geldi.|Saat 5. kattayız.|Nasılsın?|Prof. Dr. Demir gitti.",
    "cs": "Dne 3. Března přišel Ing. Novák.|Např. dnes.|Kousl ho vlk.|Proč?",
    "pl": "Dnia 3. Maja przyszli św. Jan i inż. Nowak.|Mieszka na ul. Długiej.|Tak.",
    "nl": "Dhr. Jansen en mevr. De Vries kwamen.|Ja!|Nee.",
    "sv": "Han kom kl. 5.|Vad?|Bra.",
    "fi": "Hän tuli 3. Tammikuuta.|Mitä?",
    "hu": "Az 5. Emelet.|Dr. Kovács jött.|Miért?",
    "he": "מה שלומך?|טוב.|כן!",
    "ka": "გამარჯობა.|როგორ ხარ?",
    "ko": "네.|그래요.|정말요?|갔다.",
    "vi": "Tôi ở TP. Hồ Chí Minh.|Ông là TS. Nguyễn.|Vâng.",
    "my": "သူလာသည်။|ကျွန်တော်၊ မသိဘူး။",
    "km": "គាត់មក។|ខ្ញុំដឹង។",
    "th": "วันที่ 5 พ.ศ. 2566 ดร. สมชาย มา",
    "ja": "「本当？」と聞いた。|はい。|３．５メートルだ。|すごい！？|「そう。」",
    "zh": "你好。|“你好！”|他来了……又走了。|好吗？|对!|好。",
}


@pytest.mark.parametrize(("language", "text"), [(code, line) for code in CASES for line in CASES[code].split("\n")])
def test_sentences_end_as_in_their_language(language: str, text: str) -> None:
    sentences = text.strip().split("|")
    space = "" if language in ("ja", "zh") else " "
    found = split_sentences(space.join(sentences), language)
    assert [sentence.strip() for sentence in found] == sentences


@pytest.mark.parametrize(
    ("code", "text"),
    [("deu", "am 3. März"), ("ger_AT", "am 3. März"), ("fra", "l'art. Trois"), ("ell", "Τι; Ναι."), ("hye", "Ա: Բա")],
)
def test_any_code_of_a_language_has_its_rules(code: str, text: str) -> None:
    assert split_sentences(text, code) == split_sentences(
        text, {"deu": "de", "ger_AT": "de", "fra": "fr", "ell": "el", "hye": "hy"}[code]
    )
    assert (len(split_sentences(text, code)), len(split_sentences(text, "en"))) in ((1, 2), (2, 1))


@pytest.mark.parametrize("language", ["xx", "x-toy", "tlh", "français", "und", "my-own-code"])
def test_a_language_that_nobody_knows_has_sentences_too(language: str) -> None:
    assert split_sentences("Foo bar. Baz qux! M. Dupont? Ok", language) == [
        "Foo bar. ",
        "Baz qux! ",
        "M. Dupont? ",
        "Ok",
    ]


@pytest.mark.parametrize("mark", "؟۔।॥。！？።፧։።។៕။༎܀߹᙮᠃᱾꓿")
def test_marks_of_all_scripts_end_sentences_in_any_language(mark: str) -> None:
    assert split_sentences(f"ب{mark} ب", "en") == [f"ب{mark} ", "ب"]


@given(TEXT, st.sampled_from(["en", "de", "fr", "zh", "ja", "ur", "x-toy"]))
def test_sentences_are_the_text_and_each_has_a_letter_or_digit(text: str, language: str) -> None:
    sentences = split_sentences(text, language)
    assert "".join(sentences) == text
    assert all(any(map(str.isalnum, sentence)) for sentence in sentences) or len(sentences) == 1
    assert not any(sentence[:1].isspace() for sentence in sentences[1:])


@given(TEXT, TEXT)
def test_no_cut_before_a_lower_case_word_nor_after_a_letter_or_an_ordinal(before: str, after: str) -> None:
    for joint in (". a", " M. Z", "\u00a0z. Z", " 3. Z", " 12. Z"):
        text = f"Z{before}{joint}{after}"
        place = len(f"Z{before}{joint}") - 1
        cuts, end = [], 0
        for sentence in split_sentences(text, "de"):
            end += len(sentence)
            cuts.append(end)
        assert place not in cuts


def test_layout() -> None:
    assert split_sentences("  One.  Two.\tthree \t four\u3000Five. ", "en") == [
        "  One.  ",
        "Two.\t",
        "three \t ",
        "four\u3000Five. ",
    ]
    assert split_sentences("1\tTwo dogs\t-\t", "en") == ["1\t", "Two dogs\t-\t"]
    assert split_sentences("", "en") == [""]
    assert split_sentences("?! ... ! ", "en") == ["?! ... ! "]
