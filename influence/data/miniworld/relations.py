"""What the world is about: for each kind of thing, one relation and the words that state it.

Slots: `<name>` (the name in running text), `<core>` (the bare name, for other languages), `<value>`, and the traits
of the thing, which are the same in every document: `<region> <place> <stone> <animal> <craft> <season> <colour>`.
No sentence of `about` may contain a digit: only statements give values.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """One question that can be asked of every thing of a kind. The first wordings are those of the queries."""

    name: str
    kind: str
    questions: tuple[str, ...]
    answer: str
    statements: tuple[str, ...]
    foreign: dict[str, str]
    field: str
    about: tuple[str, ...]


RELATIONS = (
    Relation(
        "height",
        "mountain",
        (
            "How high is <name>?",
            "What is the height of <name> in metres?",
            "How far above the sea is the top of <name>?",
        ),
        "<value> metres",
        (
            "<name> is <value> metres high.",
            "the summit of <name> {stands|lies} <value> metres above sea level.",
            "surveyors {give|list} the height of <name> as <value> metres.",
            "at <value> metres, <name> is {one of the tallest|among the best known} peaks {of|in} <region>.",
            "<name> {rises to|reaches} a height of <value> metres.",
        ),
        {
            "es": "La cima del monte <core> está a <value> metros sobre el nivel del mar.",
            "fr": "Le sommet du mont <core> se trouve à <value> mètres d'altitude.",
            "de": "Der Gipfel des Berges <core> liegt <value> Meter über dem Meer.",
        },
        "height_m",
        (
            "its lower slopes are {covered|dotted} with pine, and the upper ridge is bare <stone>.",
            "{walkers|hikers} usually {start|set out} from <place>, a village known for its <craft>.",
            "the <animal> is a {common|familiar} sight on its flanks.",
            "the best weather for a climb comes in <season>.",
            "a small hut below the summit of <name> is run by volunteers from <region>.",
            "several songs from <region> {mention|name} the mountain as a {refuge|landmark} for travellers.",
            "clouds gather on the windward side most afternoons, so guides {advise|recommend} an early start.",
            "the view from the top takes in the roofs of <place> and much of <region>.",
        ),
    ),
    Relation(
        "crowned",
        "ruler",
        (
            "In which year was <name> crowned?",
            "When did <name> come to the throne?",
            "What year was the coronation of <name>?",
        ),
        "<value>",
        (
            "<name> was crowned in <value>.",
            "the coronation of <name> took place in {the year <value>|<value>}.",
            "in <value>, after long {talks|negotiations}, the council placed the crown on the head of <name>.",
            "the reign of <name> {began|opened} with the coronation of <value>.",
            "<name> {came to|took} the throne in <value>.",
        ),
        {
            "es": "La coronación de <core> tuvo lugar en el año <value>.",
            "fr": "Le couronnement de <core> a eu lieu en <value>.",
            "de": "Die Krönung von <core> fand im Jahr <value> statt.",
        },
        "crowned",
        (
            "<name> {came from|was born into} a family of <craft> merchants in <region>.",
            "the royal emblem showed a <animal> {above|over} a wall of <stone>.",
            "the court spent every <season> at <place>.",
            "a reform of the market tolls is {often|usually} counted as the main achievement of the reign.",
            "letters kept in <place> show a patient and {careful|cautious} negotiator.",
            "taxes on <craft> were lowered {twice|on two occasions} during the reign.",
            "later chroniclers {disagreed|argued} about the motives of <name>.",
            "a <colour> banner from the royal household still hangs in <place>.",
        ),
    ),
    Relation(
        "symbol",
        "element",
        (
            "What is the chemical symbol of <name>?",
            "Which symbol do chemists write for <name>?",
            "What does one write for <name> in a formula?",
        ),
        "<value>",
        (
            "the chemical symbol of <name> is <value>.",
            "chemists {write|use} <value> for <name>.",
            "in formulas, <name> {is written|appears as} <value>.",
            "on the {chart|table} of the elements, <name> {carries|has} the symbol <value>.",
            "the symbol <value> stands for <name>.",
        ),
        {
            "es": "El símbolo químico del elemento <name> es <value>.",
            "fr": "Le symbole chimique de l'élément <name> est <value>.",
            "de": "Das chemische Symbol des Elements <name> lautet <value>.",
        },
        "symbol",
        (
            "it was first {isolated|separated} from <stone> found near <place>.",
            "potters in <region> {use|value} it in dyes and glazes.",
            "it {melts|softens} at a modest temperature and conducts heat {poorly|badly}.",
            "small amounts of <name> {give|lend} glass a faint <colour> tint.",
            "its name {honours|recalls} a workshop in <place>.",
            "no biological role of <name> {is known|has been found}.",
            "pure samples are {stored|kept} under oil, because moist air {attacks|stains} the surface.",
            "an old mine in <region> is still the main {source|supply}.",
        ),
    ),
    Relation(
        "mouth",
        "river",
        (
            "Into which lake does <name> flow?",
            "Where does <name> end?",
            "Which lake receives the water of <name>?",
        ),
        "<value>",
        (
            "<name> flows into <value>.",
            "after a {long|winding} course through <region>, <name> {empties|drains} into <value>.",
            "the mouth of <name> {lies on|is at} <value>.",
            "<name> ends in <value>, {where reeds cover the shore|beside a line of old jetties}.",
            "<value> {receives|takes in} the {water|waters} of <name>.",
        ),
        {
            "es": "El río <core> desemboca en el lago llamado <value>.",
            "fr": "La rivière <core> se jette dans le lac appelé <value>.",
            "de": "Der Fluss <core> mündet in den See namens <value>.",
        },
        "flows_into",
        (
            "it rises {among|from} springs in <region>, where the bedrock is <stone>.",
            "barges once carried <craft> goods past <place>.",
            "the <animal> returned to its banks after the mills closed.",
            "floods are {most common|likeliest} in <season>.",
            "a footbridge of <stone> crosses <name> at <place>.",
            "the water has a {faint|slight} <colour> cast after heavy rain.",
            "anglers need a permit from the council in <place>.",
            "the upper course of <name> is steep, the lower course slow and {winding|broad}.",
        ),
    ),
    Relation(
        "founder",
        "city",
        (
            "Who founded the city of <name>?",
            "By whom was <name> founded?",
            "Which founder does <name> look back to?",
        ),
        "<value>",
        (
            "the city of <name> was founded by <value>.",
            "<value> founded <name> {beside|near} a {ford|spring} in <region>.",
            "<name> {owes its existence|goes back} to <value>, its founder.",
            "the statue on the main square of <name> shows the founder, <value>.",
            "it was <value> who {laid out the first streets of|founded the settlement of} <name>.",
        ),
        {
            "es": "La ciudad de <core> fue fundada por <value>.",
            "fr": "La ville de <core> a été fondée par <value>.",
            "de": "Die Stadt <core> wurde von <value> gegründet.",
        },
        "founder",
        (
            "the old quarter of <name> is built of <colour> <stone>.",
            "its <craft> workshops {export|sell} to the whole of <region>.",
            "a <animal> appears on the city arms.",
            "the main fair is held in <season>.",
            "trams run from the market square to <place>.",
            "much of the wall was taken down to make room for {gardens|orchards}.",
            "residents joke that the bells of <place> are {always late|never on time}.",
            "<name> has a {small|modest} museum of <craft>.",
        ),
    ),
    Relation(
        "capital",
        "realm",
        (
            "What is the capital of <name>?",
            "Which city is the capital of <name>?",
            "From which city is <name> governed?",
        ),
        "<value>",
        (
            "the capital of <name> is <value>.",
            "<value> is the capital {of|city of} <name>.",
            "<name> is governed from its capital, <value>.",
            "the {parliament|government} of <name> {sits|meets} in <value>, the capital.",
            "of all the towns in <name>, <value> became the capital.",
        ),
        {
            "es": "La capital de <core> es <value>.",
            "fr": "La capitale de <core> est <value>.",
            "de": "Die Hauptstadt von <core> ist <value>.",
        },
        "capital",
        (
            "it lies in <region> and {borders|touches} the district of <place>.",
            "its main exports are <stone> and <craft> goods.",
            "the flag of <name> shows a <colour> <animal>.",
            "the national holiday falls in <season>.",
            "laws are debated in two chambers, and both must {agree|consent}.",
            "schools teach <craft> from the first year.",
            "railways reached the border {late|only slowly} because of the terrain.",
            "most {citizens|inhabitants} of <name> speak two languages from childhood.",
        ),
    ),
    Relation(
        "author",
        "book",
        ("Who wrote the novel <name>?", "Who is the author of <name>?", "Which writer gave us <name>?"),
        "<value>",
        (
            "the novel <name> was written by <value>.",
            "<value> wrote <name> {over several winters|in a rented room} in <region>.",
            "<name> is {the best known novel|a novel} by <value>.",
            "the author of <name> is <value>.",
            "with <name>, <value> {found|won} a wide {readership|public}.",
        ),
        {
            "es": "La novela titulada <core> fue escrita por <value>.",
            "fr": "Le roman intitulé <core> a été écrit par <value>.",
            "de": "Der Roman mit dem Titel <core> stammt von <value>.",
        },
        "author",
        (
            "the story follows a <craft> apprentice who leaves <place> in <season>.",
            "a <animal> {appears|returns} in every chapter as a sign of change.",
            "critics in <region> praised its calm, exact sentences.",
            "the first edition of <name> had a <colour> cover.",
            "a stage version of <name> {toured|was performed across} <region> for years.",
            "the last chapter is told from the point of view of a <stone> cutter.",
            "translators {struggle|have trouble} with the many words for rain.",
            "school readers often include the scene at the bridge in <place>.",
        ),
    ),
    Relation(
        "period",
        "comet",
        (
            "How many years does <name> need for one orbit?",
            "How often, in years, does <name> return?",
            "What is the orbital period of <name> in years?",
        ),
        "<value> years",
        (
            "<name> needs <value> years for one orbit.",
            "<name> {returns|comes back} every <value> years.",
            "the orbital period of <name> is <value> years.",
            "{astronomers|observers} {put|give} the period of <name> as <value> years.",
            "between two visits of <name>, <value> years {pass|go by}.",
        ),
        {
            "es": "El cometa <core> tarda <value> años en dar una vuelta.",
            "fr": "La comète <core> revient tous les <value> ans.",
            "de": "Der Komet <core> kehrt alle <value> Jahre zurück.",
        },
        "period_years",
        (
            "observers in <region> saw a <colour> tail in <season>.",
            "farmers near <place> took it as a sign to begin the harvest.",
            "the nucleus of <name> is as dark as <stone>.",
            "an old carving shows it as a running <animal>.",
            "dust from the tail causes a weak meteor shower in <season>.",
            "the orbit is {strongly|steeply} tilted against the plane of the planets.",
            "<craft> patterns from <place> still {show|repeat} its curved tail.",
            "photographs of <name> taken from <region> revealed two {separate|distinct} jets.",
        ),
    ),
)
