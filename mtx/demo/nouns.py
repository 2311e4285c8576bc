"""Nouns of the demo, in the classes that adjectives and verbs select.

A line has the English singular and plural, the German article, nominative, genitive and plural, and for places the
prepositions in both languages. `-` means that the noun is not used in the plural; `_` is a space.
"""

from mtx.demo.lexicon import Noun, parse_nouns

MEN = """
man men der Mann Mannes Männer
boy boys der Junge Jungen Jungen
farmer farmers der Bauer Bauern Bauern
teacher teachers der Lehrer Lehrers Lehrer
doctor doctors der Arzt Arztes Ärzte
king kings der König Königs Könige
father fathers der Vater Vaters Väter
brother brothers der Bruder Bruders Brüder
uncle uncles der Onkel Onkels Onkel
neighbour neighbours der Nachbar Nachbarn Nachbarn
baker bakers der Bäcker Bäckers Bäcker
policeman policemen der Polizist Polizisten Polizisten
gardener gardeners der Gärtner Gärtners Gärtner
"""

WOMEN = """
woman women die Frau Frau Frauen
mother mothers die Mutter Mutter Mütter
sister sisters die Schwester Schwester Schwestern
aunt aunts die Tante Tante Tanten
daughter daughters die Tochter Tochter Töchter
grandmother grandmothers die Großmutter Großmutter Großmütter
queen queens die Königin Königin Königinnen
actress actresses die Schauspielerin Schauspielerin Schauspielerinnen
waitress waitresses die Kellnerin Kellnerin Kellnerinnen
lady ladies die Dame Dame Damen
"""

CHILDREN = """
child children das Kind Kindes Kinder
girl girls das Mädchen Mädchens Mädchen
"""

ANIMALS = """
dog dogs der Hund Hundes Hunde
fox foxes der Fuchs Fuchses Füchse
hare hares der Hase Hasen Hasen
bear bears der Bär Bären Bären
wolf wolves der Wolf Wolfes Wölfe
donkey donkeys der Esel Esels Esel
bird birds der Vogel Vogels Vögel
hedgehog hedgehogs der Igel Igels Igel
monkey monkeys der Affe Affen Affen
lion lions der Löwe Löwen Löwen
elephant elephants der Elefant Elefanten Elefanten
badger badgers der Dachs Dachses Dachse
cat cats die Katze Katze Katzen
mouse mice die Maus Maus Mäuse
cow cows die Kuh Kuh Kühe
goat goats die Ziege Ziege Ziegen
duck ducks die Ente Ente Enten
goose geese die Gans Gans Gänse
tortoise tortoises die Schildkröte Schildkröte Schildkröten
snake snakes die Schlange Schlange Schlangen
giraffe giraffes die Giraffe Giraffe Giraffen
rat rats die Ratte Ratte Ratten
owl owls die Eule Eule Eulen
pigeon pigeons die Taube Taube Tauben
animal animals das Tier Tieres Tiere
horse horses das Pferd Pferdes Pferde
pig pigs das Schwein Schweins Schweine
chicken chickens das Huhn Huhns Hühner
rabbit rabbits das Kaninchen Kaninchens Kaninchen
lamb lambs das Lamm Lamms Lämmer
camel camels das Kamel Kamels Kamele
squirrel squirrels das Eichhörnchen Eichhörnchens Eichhörnchen
crocodile crocodiles das Krokodil Krokodils Krokodile
zebra zebras das Zebra Zebras Zebras
calf calves das Kalb Kalbs Kälber
pony ponies das Pony Ponys Ponys
"""

WAYS = """
path paths der Weg Weges Wege on:auf
trail trails der Pfad Pfades Pfade on:auf
pavement pavements der Gehweg Gehwegs Gehwege on:auf
square squares der Platz Platzes Plätze in:auf
street streets die Straße Straße Straßen on:auf
bridge bridges die Brücke Brücke Brücken on:auf
alley alleys die Gasse Gasse Gassen in:in
avenue avenues die Allee Allee Alleen on:auf
crossroads - die Kreuzung Kreuzung Kreuzungen at:an
track tracks das Gleis Gleises Gleise on:auf
viaduct viaducts das Viadukt Viadukts Viadukte on:auf
"""

WATERS = """
river rivers der Fluss Flusses Flüsse in:in
stream streams der Bach Bachs Bäche in:in
canal canals der Kanal Kanals Kanäle in:in
lake lakes der See Sees Seen in:in
bay bays die Bucht Bucht Buchten in:in
puddle puddles die Pfütze Pfütze Pfützen in:in
lagoon lagoons die Lagune Lagune Lagunen in:in
ford fords die Furt Furt Furten in:in
sea seas das Meer Meers Meere in:in
pool pools das Becken Beckens Becken in:in
"""

LANDS = """
garden gardens der Garten Gartens Gärten in:in
park parks der Park Parks Parks in:in
forest forests der Wald Waldes Wälder in:in
hill hills der Hügel Hügels Hügel on:auf
meadow meadows die Wiese Wiese Wiesen in:auf
pasture pastures die Weide Weide Weiden in:auf
desert deserts die Wüste Wüste Wüsten in:in
clearing clearings die Lichtung Lichtung Lichtungen in:auf
field fields das Feld Feldes Felder in:auf
valley valleys das Tal Tals Täler in:in
moor moors das Moor Moors Moore on:in
terrain - das Gelände Geländes Gelände on:auf
"""

SHELTERS = """
stable stables der Stall Stalls Ställe in:in
cage cages der Käfig Käfigs Käfige in:in
shed sheds der Schuppen Schuppens Schuppen in:in
tower towers der Turm Turms Türme in:in
hut huts die Hütte Hütte Hütten in:in
cave caves die Höhle Höhle Höhlen in:in
barn barns die Scheune Scheune Scheunen in:in
mill mills die Mühle Mühle Mühlen in:in
tent tents das Zelt Zelts Zelte in:in
house houses das Haus Hauses Häuser in:in
castle castles das Schloss Schlosses Schlösser in:in
nest nests das Nest Nests Nester in:in
"""

ROOMS = """
cellar cellars der Keller Kellers Keller in:in
hallway hallways der Flur Flurs Flure in:in
attic attics der Dachboden Dachbodens Dachböden in:auf
hall halls der Saal Saals Säle in:in
kitchen kitchens die Küche Küche Küchen in:in
garage garages die Garage Garage Garagen in:in
workshop workshops die Werkstatt Werkstatt Werkstätten in:in
library libraries die Bibliothek Bibliothek Bibliotheken in:in
living_room living_rooms das Wohnzimmer Wohnzimmers Wohnzimmer in:in
bedroom bedrooms das Schlafzimmer Schlafzimmers Schlafzimmer in:in
office offices das Büro Büros Büros in:in
bathroom bathrooms das Badezimmer Badezimmers Badezimmer in:in
"""

FURNITURE = """
table tables der Tisch Tisches Tische
cupboard cupboards der Schrank Schranks Schränke
armchair armchairs der Sessel Sessels Sessel
mirror mirrors der Spiegel Spiegels Spiegel
lamp lamps die Lampe Lampe Lampen
clock clocks die Uhr Uhr Uhren
vase vases die Vase Vase Vasen
harp harps die Harfe Harfe Harfen
piano pianos das Klavier Klaviers Klaviere
sofa sofas das Sofa Sofas Sofas
bed beds das Bett Bettes Betten
shelf shelves das Regal Regals Regale
"""

THINGS = """
trophy trophies der Pokal Pokals Pokale
ball balls der Ball Balls Bälle
umbrella umbrellas der Regenschirm Regenschirms Regenschirme
hammer hammers der Hammer Hammers Hämmer
kettle kettles der Kessel Kessels Kessel
guitar guitars die Gitarre Gitarre Gitarren
doll dolls die Puppe Puppe Puppen
pan pans die Pfanne Pfanne Pfannen
bottle bottles die Flasche Flasche Flaschen
violin violins die Geige Geige Geigen
book books das Buch Buchs Bücher
cushion cushions das Kissen Kissens Kissen
telescope telescopes das Fernrohr Fernrohrs Fernrohre
picture pictures das Bild Bilds Bilder
"""

CONTAINERS = """
suitcase suitcases der Koffer Koffers Koffer in:in
basket baskets der Korb Korbs Körbe in:in
rucksack rucksacks der Rucksack Rucksacks Rucksäcke in:in
crate crates die Kiste Kiste Kisten in:in
bag bags die Tasche Tasche Taschen in:in
drawer drawers die Schublade Schublade Schubladen in:in
box boxes die Schachtel Schachtel Schachteln in:in
compartment compartments das Fach Fachs Fächer in:in
parcel parcels das Paket Pakets Pakete in:in
net nets das Netz Netzes Netze in:in
"""

VEHICLES = """
bus buses der Bus Busses Busse
lorry lorries der Lastwagen Lastwagens Lastwagen
tractor tractors der Traktor Traktors Traktoren
scooter scooters der Roller Rollers Roller
carriage carriages die Kutsche Kutsche Kutschen
limousine limousines die Limousine Limousine Limousinen
cart carts die Karre Karre Karren
car cars das Auto Autos Autos
taxi taxis das Taxi Taxis Taxis
motorbike motorbikes das Motorrad Motorrads Motorräder
bicycle bicycles das Fahrrad Fahrrads Fahrräder
"""

DISHES = """
cake cakes der Kuchen Kuchens Kuchen
cheese - der Käse Käses Käse
ham - der Schinken Schinkens Schinken
salad salads der Salat Salats Salate
sausage sausages die Wurst Wurst Würste
soup soups die Suppe Suppe Suppen
pizza pizzas die Pizza Pizza Pizzen
sauce sauces die Soße Soße Soßen
bread - das Brot Brotes Brote
meat - das Fleisch Fleisches -
egg eggs das Ei Eis Eier
steak steaks das Steak Steaks Steaks
"""

FRUITS = """
apple apples der Apfel Apfels Äpfel
peach peaches der Pfirsich Pfirsichs Pfirsiche
pear pears die Birne Birne Birnen
plum plums die Pflaume Pflaume Pflaumen
cherry cherries die Kirsche Kirsche Kirschen
banana bananas die Banane Banane Bananen
fruit - das Obst Obstes -
"""

SOUNDS = """
noise - der Lärm Lärms -
thunder - der Donner Donners -
alarm alarms der Alarm Alarms Alarme
siren sirens die Sirene Sirene Sirenen
bell bells die Glocke Glocke Glocken
drum drums die Trommel Trommel Trommeln
music - die Musik Musik -
firework fireworks das Feuerwerk Feuerwerks Feuerwerke
signal signals das Signal Signals Signale
concert concerts das Konzert Konzerts Konzerte
"""

CLOTHES = """
coat coats der Mantel Mantels Mäntel
hat hats der Hut Hutes Hüte
scarf scarves der Schal Schals Schals
jacket jackets die Jacke Jacke Jacken
cap caps die Mütze Mütze Mützen
blouse blouses die Bluse Bluse Blusen
shirt shirts das Hemd Hemdes Hemden
dress dresses das Kleid Kleides Kleider
"""

NOUNS: dict[str, tuple[Noun, ...]] = {
    kind: parse_nouns(kind, table)
    for kind, table in {
        "man": MEN,
        "woman": WOMEN,
        "child": CHILDREN,
        "animal": ANIMALS,
        "way": WAYS,
        "water": WATERS,
        "land": LANDS,
        "shelter": SHELTERS,
        "room": ROOMS,
        "furniture": FURNITURE,
        "thing": THINGS,
        "container": CONTAINERS,
        "vehicle": VEHICLES,
        "dish": DISHES,
        "fruit": FRUITS,
        "sound": SOUNDS,
        "clothing": CLOTHES,
    }.items()
}
