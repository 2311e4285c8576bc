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
        He told me.|She is ill.|I bought art.|Everything is OK.|He weighs 80 kg.|See section (2).|12 dogs.|Not 5.|Five!
        hi there.|how are you?|i am fine, i.e. not ill.
        We met C. Smith and D. H. Lawrence.|A man in a hat.|2 dogs.|See Fig. 2.|It is on p. 5.|He won.|3 of them left.
        1. Open the door.|2. Go in.|3. Close the window.|4. Stay here.|II. Leave.|It is No. 1.|On Dec. 31.|P.S. I wait.
        Apple Inc. and Foo Ltd. merged.|I saw J. Lo?|5?|6!|Mr. K… He . . . 2 left.
        He is a Ph.D. now.|So there.|In 44 B.C. Caesar died.|(He left.)
        ‘Go away.’|[See vol. 2, no. 3.]|It is 5 > 3.|#1 is here.|It fell 3%.|@bob is ill.|My ID.|Ok.|• Yes.|– No.
        """,
    "de": """
        z. B. am 3. März, die von Dr. Müller.|Das gilt nach Abs. 2 Nr. 5 u. a. für Prof. Weiß.
        „Komm!“, rief er.|„Ich gehe.“|»Ja.«|»Nein.«|Im 19. Jahrhundert war Ludwig XIV. König.|Danach nicht.
        Es kostet ca. Fünf Euro, inkl. Porto, d. h. 3,5 Mio. Euro.|Vgl. Kap. 3 und Hauptstr. 5 am Hbf. Köln.
        Am 31.12. Silvester, am 1.1. Neujahr, 5. 5. 2020.|Er sah D. Bohlen.|Die Art. 5 ff. GG.
        1. Tür öffnen.|2. Hineingehen.|Auf diese Art.|Ja.|Siehe Tab. 4.|Es fehlt.
        Frankfurt a. M., Dr. h. c. Schmidt, Friedrich II. von Preußen, 50 v. Chr. in Gallien.|§ 5 S. 1 BGB.|‚Ja.‘|Äpfel.
        Er sah mich.|Um neun Uhr.|Ich habe Angst.|Er wiegt 80 kg.|Das war 1990.|Er ist 25.|Sie ist 30.
        """,
    "fr": """
        M. Dupont et Mme. Martin sont là.|« Vraiment ? » demanda-t-elle.|« Oui ! »|Il part.|Est-ce vrai ?|Oui.
        Voir R.S., c. C-46, l'art. 5, p. ex. Le Figaro, etc.|Il dort.|J.-C. Martin habite St. Denis.
        Visés à l'alinéa b).|Bon.|Je vois M. Dupont.|C.-à-d. Paris, vol. II, av. J.-C. Rome.
        1. Ouvrir la porte.|2. Entrer.|Un objet d'art.|Elle rit.|Cf. art. L. 5.|C'est sec.|Ainsi va-t-on.|Paul rit.
        Sté. Dupont, Mlle Dupuis, 5, av. Foch.|Le 1er janv. 1990.|« Quoi ?! »
        « Oui ! », Paul dit.|À 5 h. 30 min.|À demain…|Oui.|— Non.|Œuvre.
        """,
    "af": "'n Man loop.|'n Vrou sit.",
    "es": """
        El Dr. D. José Pérez nació a. C. Roma.|Vea el S. XX, n.º 5 de Sta. María.|«Sí.»|—No.|El mar.|Muy bien.|Ana ríe.
        El Sr. García y la Sra. López llegaron a EE. UU. ayer.|¿Qué hora es?|¡Vamos!|Vea la pág. 3.|Sí.
        """,
    "it": """
        Ecco M. Rossi.|L'avv. Verdi, art. 5, S. Pietro.|È qui.|Vieni con me.|Penso a te.|Mai.|No.|Ecco la via.
        Il sig. Rossi e il dott. Bianchi vivono qui.|Perché no?|Va bene!|Vedi pag. 5.|Fine.
        """,
    "pt": "Séc. XX, D. Maria, P. ex. Lisboa.|O Sr. Silva e a Sra. Costa vieram.|Veja a pág. 3.|Tudo bem?|Sim.",
    "hr": "Sv. Ivan i gđa. Horvat, npr. Ana, itd. Da.|Krv.|Smrt.",
    "id": "Yth. Bapak Budi, S.H., datang.|Ya.",
    "no": "Den 17. Mai, osv. Hunder.|Ja.",
    "sr": "Св. Сава, нпр. Београд.|Да.",
    "et": "Nt. Tallinn, jne. Tartu.|Jah.",
    "ru": """
        МГУ им. Ломоносова.|Скажи им.|Он дома.|1. Откройте дверь.|2. Войдите.
        А. С. Пушкин родился в г. Москве.|Он живёт на ул. Ленина.|Что?|Да!|Это стоит 5 тыс. Рублей.
        """,
    "uk": "Т. Г. Шевченко писав вірші.|Що це?|З 5. 5. 2020.|Так.",
    "bg": "Той е на ул. Раковски.|Да.",
    "ar": "1. افتح الباب.|2. ادخل.|١. افتح الباب.|٢. ادخل.|السعر ٣.٥ دولار!|هل هذا صحيح؟|نعم.|وصل د. أحمد.|حسنا!",
    "fa": "۱. در را باز کن.|۲. برو تو.|آیا این درست است؟|بله.",
    "ur": "۱۔ دروازہ کھولو۔|۲۔ اندر جاؤ۔|قیمت 3۔5 روپے۔|کیا یہ درست ہے؟|لا أعرف۔|شكرا",
    "hi": "यह सही है।|क्या यह सही है?|डॉ. शर्मा आए।|ठीक॥",
    "bn": "এটা ঠিক।|কেন?",
    "mr": "श्री. पाटील आले.|ते बसले.",
    "te": "శ్రీ. రావు వచ్చారు.|ఆయన.",
    "kn": "ಶ್ರೀ. ರಾವ್ ಬಂದರು.|ಹೌದು.",
    "ta": "திரு. ராமன் வந்தார்.|இது சரி.|ஏன்?",
    "hy": "Ես եմ։|Դու ուսանող ես:|Բարի լույս։",
    "am": "እሱ ነው።|እሷ ናት፡፡|ለምን፧|እሺ።",
    "el": "Τι κάνεις;|Ο κ. Παπαδόπουλος ήρθε.|Καλά είμαι.",
    "da": "Min kat.|I nat.|Han kom, osv. Det regner.",
    "tr": "Hoş geldin sen.|Bunu al.|Atatürk Cad. No. 5, örn. Ankara.",
    "tr-TR": "Dr. Yılmaz geldi.|Saat 5. kattayız.|Nasılsın?|Prof. Dr. Demir gitti.",
    "cs": "Dne 3. Března přišel Ing. Novák.|Např. dnes.|Kousl ho vlk.|Proč?",
    "pl": "Ks. Nowak, por. Kot i gen. Lis.|Dnia 3. Maja przyszli św. Jan i inż. Nowak.|Mieszka na ul. Długiej.|Tak.",
    "nl": "Hij kwam.|'s Avonds niet.|1. Open de deur.|2. Ga binnen.|Dhr. Jansen en mevr. De Vries kwamen.|Ja!|Nee.",
    "sl": "Npr. Ana, itd. Vse.|Da.",
    "bs": "Npr. Ana.|Da.",
    "lv": "Piem. Rīga.|Jā.",
    "sv": "Det är hon.|Kap. 5, osv. Allt.|Han kom kl. 5.|Vad?|Bra.",
    "fi": "Hän tuli 3. Tammikuuta.|Mitä?",
    "hu": "Nem.|Ezek vagyunk mi.|Az 5. Emelet.|Dr. Kovács jött.|Miért?",
    "he": 'צה"ל.|ארה"ב.|וכו\'. ד"ר כהן, 3.5 ש"ח.|1. פתח.|2. היכנס.|מה שלומך?|טוב.|כן!',
    "ka": "გამარჯობა.|როგორ ხარ?",
    "ko": "2020. 5. 3. 서울에서 만났다… 좋다.|1. 문을 여세요.|2. 들어가세요.|네.|그래요.|정말요?|갔다.",
    "vi": "1. Mở cửa.|2. Vào.|Tôi ở TP. Hồ Chí Minh.|Ông là TS. Nguyễn.|Vâng.",
    "my": "၁။ သူလာတယ်။|၂။ သွားပြီ။|သူလာသည်။|ကျွန်တော်၊ မသိဘူး။",
    "km": "គាត់មក។|ខ្ញុំដឹង។",
    "th": "วันที่ 5 พ.ศ. 2566 ดร. สมชาย มา",
    "ja": """
        １．開ける。|２．入る。|です．|ます．|Mr. スミスが来た。|今日は晴れ｡
        「本当？」と聞いた。|はい。|３．５メートルだ。|すごい！？|「そう。」
        """,
    "zh": """
        1．打开门。|二．进去。|三. 走。|1. 苹果；2. 香蕉。|他是Dr. Wang。|苹果Inc. 很好。|iPhone。|iPad。|（注释。）
        你好。|“你好！”|他来了……又走了。|好吗？|对!|好。
        """,
}


@pytest.mark.parametrize(
    ("language", "text"), [(code, line) for code in CASES for line in CASES[code].strip().split("\n")]
)
def test_sentences_end_as_in_their_language(language: str, text: str) -> None:
    sentences = text.strip().split("|")
    space = "" if language in ("ja", "zh") else " "
    found = split_sentences(space.join(sentences), language)
    assert [sentence.strip() for sentence in found] == sentences


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("deu", "am 3. März"),
        ("ger_AT", "am 3. März"),
        ("fra", "l'al. Trois"),
        ("ell", "Τι; Ναι."),
        ("ell", "Τι\u037e Ναι"),
        ("hye", "Ա: Բա"),
    ],
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
    form = f"A name. -{' ' * 60}B (\t{' ' * 60}c"
    assert "".join(split_sentences(form, "en")) == form
