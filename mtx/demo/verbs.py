"""Verbs of the demo, grouped by their complements; `lexicon` describes the format of a line."""

from dataclasses import replace

from mtx.demo.grammar import Case
from mtx.demo.lexicon import parse_verbs

PEOPLE = "man woman child"
GOODS = "furniture thing container clothing"
EDIBLE = "dish fruit"

# Actions of people on things, animals and each other; the classes of the objects come last.
TRANSITIVE = parse_verbs(f"""
buy bought bought buying | kaufen | {GOODS} vehicle {EDIBLE}
sell sold sold selling | verkaufen | {GOODS} vehicle {EDIBLE}
find found found finding | finden findet fand gefunden | animal thing container clothing
look_for looked looked looking | suchen | {PEOPLE} animal thing container clothing
see saw seen seeing | sehen sieht sah gesehen | {PEOPLE} animal way water land shelter vehicle
hear heard heard hearing | hören | {PEOPLE} animal sound sound
visit visited visited visiting | besuchen | {PEOPLE}
love loved loved loving | lieben | {PEOPLE} animal
hug hugged hugged hugging | umarmen umarmt umarmte umarmt | {PEOPLE}
paint painted painted painting | streichen streicht strich gestrichen | room furniture
clean cleaned cleaned cleaning | putzen | room vehicle
build built built building | bauen | furniture
repair repaired repaired repairing | reparieren | vehicle furniture
wash washed washed washing | waschen wäscht wusch gewaschen | vehicle clothing fruit
wear wore worn wearing | tragen trägt trug getragen | clothing
eat ate eaten eating | essen isst aß gegessen | {EDIBLE}
try tried tried trying | probieren | {EDIBLE}
open opened opened opening | öffnen | container
close closed closed closing | schließen schließt schloss geschlossen | container
feed fed fed feeding | füttern | animal
stroke stroked stroked stroking | streicheln | animal
catch caught caught catching | fangen fängt fing gefangen | animal
wake woke woken waking | wecken | {PEOPLE} animal
comfort comforted comforted comforting | trösten | {PEOPLE}
draw drew drawn drawing | zeichnen | {PEOPLE} animal shelter furniture
carry carried carried carrying | tragen trägt trug getragen | container thing
need needed needed needing | brauchen | {GOODS} vehicle
""")

SEPARABLE = parse_verbs(f"""
call called called calling | an|rufen ruft rief gerufen | {PEOPLE}
pick_up picked picked picking | ab|holen | {PEOPLE} container
invite invited invited inviting | ein|laden lädt lud geladen | {PEOPLE}
look_at looked looked looking | an|sehen sieht sah gesehen | {PEOPLE} animal furniture thing
bring_along brought brought bringing | mit|bringen bringt brachte gebracht | {PEOPLE} {EDIBLE} thing
take_along took taken taking | mit|nehmen nimmt nahm genommen | {PEOPLE} animal thing
give_back gave given giving | zurück|geben gibt gab gegeben | thing container clothing
throw_away threw thrown throwing | weg|werfen wirft warf geworfen | {EDIBLE} thing clothing
tidy_up tidied tidied tidying | auf|räumen | room
try_on tried tried trying | an|probieren | clothing
lock locked locked locking | ab|schließen schließt schloss geschlossen | room
hang_up hung hung hanging | auf|hängen | clothing
""")

DATIVE = parse_verbs(f"""
help helped helped helping | helfen hilft half geholfen | {PEOPLE}
thank thanked thanked thanking | danken | {PEOPLE}
answer answered answered answering | antworten | {PEOPLE}
follow followed followed following | folgen +sein | {PEOPLE} animal vehicle
trust trusted trusted trusting | vertrauen | {PEOPLE}
forgive forgave forgiven forgiving | verzeihen verzeiht verzieh verziehen | {PEOPLE}
listen_to listened listened listening | zu|hören | {PEOPLE}
""")

# With a recipient in the dative and an object in the accusative.
GIVING = parse_verbs(f"""
give gave given giving | geben gibt gab gegeben | {GOODS} {EDIBLE}
show showed shown showing | zeigen | {GOODS} vehicle room
bring brought brought bringing | bringen bringt brachte gebracht | container thing clothing {EDIBLE}
send sent sent sending | schicken | thing container clothing
lend lent lent lending | leihen leiht lieh geliehen | vehicle thing clothing
sell sold sold selling | verkaufen | {GOODS} vehicle
""")

RESTING = parse_verbs("""
sleep slept slept sleeping | schlafen schläft schlief geschlafen
wait waited waited waiting | warten
play played played playing | spielen
""")

ACTING = parse_verbs("""
work worked worked working | arbeiten
laugh laughed laughed laughing | lachen
sing sang sung singing | singen singt sang gesungen
dance danced danced dancing | tanzen
cry cried cried crying | weinen
smile smiled smiled smiling | lächeln
cook cooked cooked cooking | kochen
""")

# Motion into a place; the perfect takes sein.
MOVING = parse_verbs("""
go went gone going | gehen geht ging gegangen +sein | room land
run ran run running | laufen läuft lief gelaufen +sein | room land
jump jumped jumped jumping | springen springt sprang gesprungen +sein | water
hike hiked hiked hiking | wandern +sein | land
""")

ARRIVING = parse_verbs("""
arrive arrived arrived arriving | an|kommen kommt kam gekommen +sein
get_up got got getting | auf|stehen steht stand gestanden +sein
fall_asleep fell fallen falling | ein|schlafen schläft schlief geschlafen +sein
wake_up woke woken waking | auf|wachen +sein
come_back came come coming | zurück|kommen kommt kam gekommen +sein
run_away ran run running | weg|laufen läuft lief gelaufen +sein
""")

# English verb, its preposition, the German preposition and case, and the classes of its object.
PREPOSITIONAL = parse_verbs(f"""
wait_for waited waited waiting | warten | {PEOPLE} vehicle
think_of thought thought thinking | denken denkt dachte gedacht | {PEOPLE} animal
talk_about talked talked talking | sprechen spricht sprach gesprochen | {PEOPLE} animal vehicle shelter
laugh_about laughed laughed laughing | lachen | {PEOPLE} clothing
dream_of dreamed dreamed dreaming | träumen | {PEOPLE} animal land shelter vehicle
ask_for asked asked asking | bitten bittet bat gebeten | {EDIBLE} thing
""")
PREPOSITIONS: dict[str, tuple[str, Case]] = {
    "wait for": ("auf", "acc"),
    "think of": ("an", "acc"),
    "talk about": ("über", "acc"),
    "laugh about": ("über", "acc"),
    "dream of": ("von", "dat"),
    "ask for": ("um", "acc"),
}

REFLEXIVE = parse_verbs("""
wash washed washed washing | waschen wäscht wusch gewaschen
hide hid hidden hiding | verstecken
get_dressed got got getting | an|ziehen zieht zog gezogen
complain complained complained complaining | beschweren
hurry_up hurried hurried hurrying | beeilen
rest rested rested resting | aus|ruhen
""")

# Verbs of clauses whose pronoun only context resolves: actions of, and on, animals and things.
SCENIC = parse_verbs("""
cross crossed crossed crossing | überqueren
leave left left leaving | verlassen verlässt verließ verlassen
avoid avoided avoided avoiding | meiden meidet mied gemieden
enter entered entered entering | betreten betritt betrat betreten
use used used using | benutzen
eat ate eaten eating | fressen frisst fraß gefressen
touch touched touched touching | an|rühren
refuse refused refused refusing | verschmähen
sleep slept slept sleeping | schlafen schläft schlief geschlafen
wait waited waited waiting | warten
play played played playing | spielen
fit fitted fitted fitting | passen
stand stood stood standing | stehen steht stand gestanden
frighten frightened frightened frightening | erschrecken
wake woke woken waking | wecken
lead led led leading | führen
carry carried carried carrying | tragen trägt trug getragen
pack packed packed packing | packen
""")

# The object is a clause: something known, said or asked.
MIND = parse_verbs("""
believe believed believed believing | glauben
say said said saying | sagen
hope hoped hoped hoping | hoffen
hear heard heard hearing | hören
""")
WONDER = parse_verbs("""
ask asked asked asking | fragen
""")
LIKE = parse_verbs("like liked liked liking | mögen mag mochte gemocht")["like"]
TRYING = parse_verbs("""
try tried tried trying | versuchen
forget forgot forgotten forgetting | vergessen vergisst vergaß vergessen
promise promised promised promising | versprechen verspricht versprach versprochen
begin began begun beginning | beginnen beginnt begann begonnen
""")
BELONG = parse_verbs("belong_to belonged belonged belonging | gehören")["belong to"]
LIE = parse_verbs("lie lay lain lying | liegen liegt lag gelegen")["lie"]

HAVE = parse_verbs("have had had having | haben hat hatte gehabt")["have"]
HAVE = replace(HAVE, de_present=("habe", "hast", "hat", "haben"))
BE = replace(
    parse_verbs("be was been being | sein ist war gewesen +sein")["be"],
    en_present=("am", "are", "is", "are"),
    en_past=("was", "were", "was", "were"),
    de_present=("bin", "bist", "ist", "sind"),
)

VERBS = {
    **SCENIC,
    **RESTING,
    **ACTING,
    **MOVING,
    **ARRIVING,
    **REFLEXIVE,
    **PREPOSITIONAL,
    **GIVING,
    **DATIVE,
    **MIND,
    **WONDER,
    **TRYING,
    **SEPARABLE,
    **TRANSITIVE,
    **{verb.en: verb for verb in (LIKE, BELONG, LIE, HAVE, BE)},
}
"""All verbs by English name; `eat` is the verb for people."""

# States, which have no progressive.
STATES = ("see", "hear", "love", "need", "trust", "belong to", "have", "be", "forgive")
REFLEXIVE_IN_ENGLISH = ("wash",)
