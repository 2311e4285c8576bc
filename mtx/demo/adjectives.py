"""Adjectives and adverbs of the demo, and the classes of nouns that each adjective fits."""

from mtx.demo.lexicon import parse_adjectives

ADJECTIVES = parse_adjectives("""
old older oldest alt älter ältest
young younger youngest jung jünger jüngst
big bigger biggest groß größer größt
small smaller smallest klein kleiner kleinst
tall taller tallest groß größer größt
strong stronger strongest stark stärker stärkst
rich richer richest reich reicher reichst
poor poorer poorest arm ärmer ärmst
clever cleverer cleverest klug klüger klügst
friendly friendlier friendliest freundlich freundlicher freundlichst
happy happier happiest glücklich glücklicher glücklichst
heavy heavier heaviest schwer schwerer schwerst
cheap cheaper cheapest billig billiger billigst
beautiful more_beautiful most_beautiful schön schöner schönst
expensive more_expensive most_expensive teuer teurer teuerst
fast faster fastest schnell schneller schnellst
new newer newest neu neuer neuest
long longer longest lang länger längst
warm warmer warmest warm wärmer wärmst
sad sadder saddest traurig trauriger traurigst
famous berühmt
dangerous gefährlich
quiet ruhig
empty leer
broken kaputt
dirty schmutzig
red rot
blue blau
green grün
yellow gelb
white weiß
black schwarz
brown braun
grey grau
fresh frisch
delicious lecker
sweet süß
tired müde
hungry hungrig
thirsty durstig
exhausted erschöpft
nervous nervös
shy scheu
lazy faul
sleepy schläfrig
anxious ängstlich
cautious vorsichtig
impatient ungeduldig
lonely einsam
stubborn stur
curious neugierig
sensitive empfindlich
wide breit
narrow schmal
slippery glatt
icy vereist
crowded überfüllt
steep steil
uneven uneben
deep tief
murky trüb
shallow seicht
polluted verschmutzt
muddy schlammig
foggy neblig
stony steinig
swampy sumpfig
windy windig
shady schattig
damp feucht
dark dunkel
cramped eng
draughty zugig
stuffy stickig
smoky verraucht
valuable wertvoll
precious kostbar
fragile zerbrechlich
elegant elegant
bulky sperrig
thick dick
short kurz
flat flach
full voll
slow langsam
loud laut
salty salzig
spicy scharf
greasy fettig
bitter bitter
bland fade
sour sauer
unripe unreif
soft weich
hard hart
shrill schrill
near nah
sudden plötzlich
unusual ungewohnt
""")

# Adjectives that fit the nouns of each class.
_GOODS = "new old big small red blue green white black cheap expensive beautiful"
_PLACES = "big small old beautiful dark quiet famous"
ATTRIBUTES = {
    kind: tuple(ADJECTIVES[en] for en in names.split())
    for kind, names in {
        "man": "old young tall friendly strong rich poor clever happy tired sad famous",
        "woman": "old young tall friendly strong rich poor clever happy tired sad famous",
        "child": "small friendly clever happy tired sad hungry",
        "animal": "old young big small white black brown grey clever dangerous hungry fast",
        "way": "long old narrow wide dark quiet beautiful",
        "water": "deep big small quiet dangerous beautiful",
        "land": "big small quiet beautiful",
        "shelter": _PLACES,
        "room": "big small dark quiet warm empty dirty",
        "furniture": _GOODS,
        "thing": _GOODS,
        "container": "new old big small heavy empty full red green",
        "vehicle": "new old big small fast red blue yellow cheap expensive broken dirty",
        "dish": "fresh warm delicious small",
        "fruit": "fresh sweet red green small delicious",
        "sound": "loud shrill unusual",
        "clothing": "new old red blue yellow white black warm elegant beautiful cheap expensive",
    }.items()
}

_COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "grey")
QUALITIES = {
    kind: tuple(adjective for adjective in adjectives if adjective.en not in _COLOURS)
    for kind, adjectives in ATTRIBUTES.items()
}
"""Adjectives that have degrees: nothing is very red."""

Adverb = tuple[str, str]
PAST_TIMES: tuple[Adverb, ...] = (
    ("yesterday", "gestern"),
    ("last week", "letzte Woche"),
    ("last night", "letzte Nacht"),
    ("last year", "letztes Jahr"),
    ("two days ago", "vor zwei Tagen"),
)
FUTURE_TIMES: tuple[Adverb, ...] = (
    ("tomorrow", "morgen"),
    ("next week", "nächste Woche"),
    ("soon", "bald"),
    ("next year", "nächstes Jahr"),
)
ANY_TIMES: tuple[Adverb, ...] = (
    ("today", "heute"),
    ("in the morning", "am Morgen"),
    ("in the evening", "am Abend"),
    ("on Sunday", "am Sonntag"),
    ("on Monday", "am Montag"),
    ("in winter", "im Winter"),
    ("in summer", "im Sommer"),
)
FREQUENCIES: tuple[Adverb, ...] = (
    ("often", "oft"),
    ("always", "immer"),
    ("never", "nie"),
    ("sometimes", "manchmal"),
    ("rarely", "selten"),
    ("usually", "meistens"),
)
MANNERS: tuple[Adverb, ...] = (
    ("slowly", "langsam"),
    ("quickly", "schnell"),
    ("quietly", "leise"),
    ("loudly", "laut"),
    ("alone", "allein"),
    ("carefully", "vorsichtig"),
    ("happily", "fröhlich"),
)
