"""Translations of common words."""

from __future__ import annotations

import random

from bench.items.templates import Filling, Source, claim, others, table

# English, then the right words in French, Spanish and German; articles are left out.
WORDS = table(
    """
    house | maison | casa | Haus
    dog | chien,chienne | perro,perra | Hund,Hündin
    cat | chat,chatte | gato,gata | Katze,Kater
    water | eau | agua | Wasser
    bread | pain | pan | Brot
    milk | lait | leche | Milch
    tree | arbre | árbol | Baum
    book | livre,bouquin | libro | Buch
    horse | cheval | caballo | Pferd,Ross
    moon | lune | luna | Mond
    sun | soleil | sol | Sonne
    apple | pomme | manzana | Apfel
    school | école | escuela,colegio | Schule
    friend | ami,amie,copain,copine | amigo,amiga | Freund,Freundin
    window | fenêtre | ventana | Fenster
    street | rue | calle | Straße,Strasse
    bird | oiseau | pájaro,ave | Vogel
    king | roi | rey | König,Koenig
    flower | fleur | flor | Blume,Blüte
    cheese | fromage | queso | Käse,Kaese
    heart | cœur,coeur | corazón | Herz
    door | porte | puerta | Tür,Tuer
    fire | feu | fuego | Feuer
    snow | neige | nieve | Schnee
    night | nuit | noche | Nacht
    father | père,papa | padre,papá | Vater,Papa
    mother | mère,maman | madre,mamá | Mutter,Mama
    brother | frère | hermano | Bruder
    sister | sœur,soeur | hermana | Schwester
    head | tête | cabeza | Kopf,Haupt
    eye | œil,oeil | ojo | Auge
    nose | nez | nariz | Nase
    month | mois | mes | Monat
    white | blanc,blanche | blanco,blanca | weiß,weiss
    green | vert,verte | verde | grün,gruen
    black | noir,noire | negro,negra | schwarz
    wine | vin | vino | Wein
    salt | sel | sal | Salz
    sugar | sucre | azúcar | Zucker
    island | île | isla | Insel
    forest | forêt,bois | bosque,selva | Wald,Forst
    mountain | montagne,mont | montaña,monte | Berg,Gebirge
    ship | bateau,navire | barco,buque,nave | Schiff
    church | église | iglesia | Kirche
    knife | couteau | cuchillo | Messer
    chair | chaise | silla | Stuhl,Sessel
    bed | lit | cama | Bett
    mouse | souris | ratón | Maus
    pig | cochon,porc | cerdo,puerco | Schwein
    star | étoile | estrella | Stern
    stone | pierre,caillou | piedra | Stein
    war | guerre | guerra | Krieg
    peace | paix | paz | Frieden,Friede
    today | aujourd'hui | hoy | heute
    world | monde | mundo | Welt
    """
)
IN_ENGLISH = table(
    """
    German | Schlüssel | key,keys
    French | cuisine | kitchen,cooking,cookery
    Spanish | ciudad | city,town
    German | Krankenhaus | hospital
    French | voiture | car,automobile
    Spanish | mesa | table
    German | Bleistift | pencil
    French | papillon | butterfly
    Spanish | zapato | shoe
    German | Regenschirm | umbrella
    French | poisson | fish
    Spanish | lluvia | rain
    German | Löffel | spoon
    French | chemise | shirt
    Spanish | huevo | egg
    German | Flugzeug | airplane,aeroplane,plane,aircraft
    French | jardin | garden
    Spanish | playa | beach
    German | Brücke | bridge
    French | lundi | Monday
    Spanish | domingo | Sunday
    German | Frühling | spring,springtime
    French | oreille | ear
    Spanish | dedo | finger,toe
    German | Kartoffel | potato
    French | fraise | strawberry
    Spanish | naranja | orange
    German | Hemd | shirt
    French | chapeau | hat
    Spanish | lápiz | pencil
    German | Fahrrad | bicycle,bike
    French | hiver | winter
    Spanish | verano | summer
    German | Messing | brass
    French | beurre | butter
    Spanish | pollo | chicken
    German | Zahnarzt | dentist
    French | plage | beach
    Spanish | iglesia | church
    German | Handschuh | glove,gloves
    French | gare | station,train station,railway station
    Spanish | reloj | clock,watch
    """
)
LANGUAGES = {"French": 1, "Spanish": 2, "German": 3}

Row = tuple[str, ...]


def word_in(language: str, row: Row) -> list[str]:
    """The right words of a row in a language."""
    return row[LANGUAGES[language]].split(",")


def rival_words(rng: random.Random, language: str, row: Row) -> list[str]:
    """Other words of the language, and the same word in the other two."""
    right = word_in(language, row)
    pool = [word for other in WORDS for word in word_in(language, other)]
    foreign = [word for other in LANGUAGES if other != language for word in word_in(other, row) if word not in right]
    return [*others(rng, pool, right, 8), *foreign]


def _into(language: str) -> Source:
    def make(rng: random.Random) -> list[Filling]:
        return [
            claim(
                row[0], {"word": row[0]}, word_in(language, row), rival_words(rng, language, row),
                f"In {language}, '{row[0]}' is",
            )
            for row in WORDS
        ]  # fmt: skip

    return make


def into_english(rng: random.Random) -> list[Filling]:
    """What a foreign word means."""
    meanings = [meaning for _, _, accepted in IN_ENGLISH for meaning in accepted.split(",")]
    found = []
    for language, word, accepted in IN_ENGLISH:
        right = accepted.split(",")
        lead = f"The {language} word '{word}' means"
        slots = {"language": language, "word": word}
        found.append(claim(right[0], slots, right, others(rng, meanings, right, 8), lead))
    return found


TRANSLATION: dict[str, Source] = {
    "french": _into("French"),
    "spanish": _into("Spanish"),
    "german": _into("German"),
    "english": into_english,
}
