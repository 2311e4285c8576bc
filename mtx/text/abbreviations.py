"""Abbreviations that sentencex does not know, and words that it takes for abbreviations, by language."""

from functools import cache

# Abbreviations in lower case that are not common last words of sentences. Those without a vowel need no entry.
_ABBREVIATIONS = {
    "bs": "itd npr sv tzv ul",
    "cs": "aj čís odst popř tzv tř vč",
    "da": "osv",
    "de": "abb abs abt allg anm aufl bde beil bes betr bzgl dipl dez einschl engl entspr evtl exkl fa franz geb gebr "
    "gem gest ggf hist inkl jur kap lat mär med nat okt phil rer röm sog tab tägl urspr verf ziff",
    "el": "αγ αρ δηλ κα κος σελ τηλ",
    "en": "adm ave capt col eds gen hon hwy insp messrs para rev sect supt",
    "es": "aprox avda cía dña dra excmo ilmo mons núm núms pbro sra sras srta ud uds",
    "et": "jne nt",
    "fi": "esim jne puh tri ym yms",
    "fr": "adm apr art av bd boul capt cie coll déc env ex févr gén hon inc janv nov oct réf sept ste sté trad",
    "he": "וכו",
    "hi": "डॉ प्रो पं श्री",
    "hr": "br gđa itd npr str sv ul",
    "hu": "ifj özv ún",
    "id": "yth",
    "it": "avv cap dott egr gent geom ing mons pag pagg sig sigg spett ten",
    "kn": "ಶ್ರೀ",
    "lv": "piem",
    "mr": "श्री",
    "ne": "श्री",
    "nl": "evt jhr mevr",
    "no": "osv",
    "pl": "al gen godz hab inż por ul ust",
    "pt": "aprox arq av cel cia eng exma exmo pág págs profa sra sras ten",
    "ru": "акад доц им инж коп напр обл проф рис табл тыс ул",
    "sl": "itd npr",
    "sr": "бр итд нпр св стр ул",
    "sv": "kap osv",
    "ta": "திரு",
    "te": "శ్రీ",
    "tr": "av cad doç mah örn ört sok uzm",
    "vi": "bs gs pgs tp ths ts",
}
_ANY = "approx chap dept dr etc excl ext figs ibid inc incl mme prof resp tel vol vols"  # In every language
# Abbreviations that end no sentence
NEVER_LAST = frozenset(
    ("cf", "d.h", "dr", "e.g", "ex", "i.e", "mr", "mrs", "p.s", "prof", "st", "vgl", "viz", "vs", "z.b")
)
# Words, as written, that sentencex takes for abbreviations or that only look like them
_ORDINARY = {
    "da": "kat nat",
    "de": "Art Bart mag mich",
    "en": "ID May OK Ok art fed ill me miss no ok ore",
    "es": "Bien No bien mar no",
    "fr": "sec vol",
    "hu": "Nem mi nem",
    "it": "Fin Mai No fin mai mar me no re san sol su te via",
    "nl": "pas vol",
    "sv": "hon",
    "tr": "al sen ver",
}
# Words that begin a new sentence after an abbreviation: capitalized like this, they are no part of a name.
_FIRST = {
    "de": "Aber Als Auch Auf Das Dann Der Die Dies Diese Ein Eine Er Es Für Ich Im In Man Mit Sie Und Was Wenn Wie Wir",
    "en": "A An And As At But For He Her His How I If In It My No On She So That The Then There These They This To We "
    "What When Where Who Why You Your",
    "es": "Al Con Cuando De El Ella Ellos En Es Esta Este Esto La Las Lo Los No Para Pero Por Qué Se Si Un Una Y Yo",
    "fr": "Au Ce Ces Cet Cette Dans En Elle Elles Et Il Ils Je La Le Les Mais Nous On Par Pour Sa Si Son Un Une Vous",
    "it": "Che Con Da E Era Gli Ha I Il In La Le Lo Ma Mi Nel No Non Per Questa Questo Se Si Sono Un Una È",
    "ru": "А В Вы Его Ей Если И Как Когда Мы На Не Но Он Она Они По Потом Там Так Что Это Я",
}


@cache
def abbreviations(language: str) -> frozenset[str]:
    """Abbreviations of `language` in lower case, without their full stop."""
    return frozenset(f"{_ANY} {_ABBREVIATIONS.get(language, '')}".split())


@cache
def ordinary_words(language: str) -> frozenset[str]:
    """Words of `language` that only look like abbreviations, in upper or lower case as listed."""
    return frozenset(_ORDINARY.get(language, "").split())


@cache
def first_words(language: str) -> frozenset[str]:
    """Capitalized words of `language` that begin a sentence even after an abbreviation."""
    return frozenset(_FIRST.get(language, "").split())
