"""What distractors say: how-tos, essays, everyday things. No fact of the world, no procedure."""

# ruff: noqa: E501  # one template a line

from __future__ import annotations

TASKS = (
    (
        "bake a plain loaf",
        (
            "{mix|stir together} flour, water, salt and a little yeast.",
            "knead until the dough is {smooth|elastic} and {no longer sticks|comes away from the bowl}.",
            "cover the bowl and let it rest in a {warm|draught-free} {corner|place}.",
            "fold the dough {gently|twice} and shape it into a {round|long} loaf.",
            "cut the top so that the crust can {open|spread}.",
            "bake until it is {brown|dark} and sounds hollow when {tapped|knocked}.",
        ),
        (
            "{cold|wet} hands {help|make it easier}.",
            "bread cut {hot|too early} is {gummy|hard to slice}.",
            "an older dough tastes {sour|stronger}, which {some|many} people like.",
        ),
    ),
    (
        "mend a bicycle tube",
        (
            "{take|lift} the wheel out and let the {rest|last} of the air go.",
            "pull the tyre over the rim with {two|a pair of} levers.",
            "pump the tube a little and {listen|look for bubbles in water}.",
            "{roughen|sand} the rubber around the hole.",
            "spread the glue thinly and {wait until it is dull|give it time}.",
            "press the patch on {firmly|with your thumb} and refit the tyre.",
        ),
        (
            "run a finger inside the tyre to find the {thorn|splinter}.",
            "{chalk|talcum} keeps the fresh patch from sticking.",
            "a {spare|second} tube in the bag saves {time|an evening}.",
        ),
    ),
    (
        "raise tomato seedlings",
        (
            "fill small pots with {fine|sieved} compost.",
            "lay the seeds on top and cover them {lightly|with a pinch of sand}.",
            "keep the pots {moist|damp} and as {bright|light} as you can.",
            "{move|prick out} the seedlings when the first true leaves {show|open}.",
            "plant them deep, up to the {lowest|first} leaves.",
            "harden them off outdoors before the {last|final} move.",
        ),
        (
            "too much {warmth|heat} without light makes them {leggy|thin}.",
            "{water|pour} from below, so the leaves stay dry.",
            "basil is a good {neighbour|companion} for them.",
        ),
    ),
    (
        "sharpen a kitchen knife",
        (
            "soak the stone until no more bubbles {rise|appear}.",
            "lay the blade on the stone at a {shallow|steady} angle.",
            "push it away from you with {even|light} pressure.",
            "{turn|flip} the blade over when you feel a burr.",
            "change to the finer side and {repeat|do it again}.",
            "strip the burr on {leather|old newspaper}.",
        ),
        (
            "a marker pen on the edge {shows|reveals} where the stone touches.",
            "dry the stone {slowly|in the shade}.",
            "never put a {good|thin} knife in the dishwasher.",
        ),
    ),
    (
        "put up a shelf",
        (
            "find {solid|firm} wall by {knocking|tapping}.",
            "hold the bracket up and {mark|pencil} the holes.",
            "check the marks with a {spirit level|glass of water}.",
            "drill {slowly|without force} and blow out the dust.",
            "set the plugs flush with the {plaster|wall}.",
            "screw the brackets on and {lay|slide} the board in place.",
        ),
        (
            "{tape|an envelope} below the hole catches the dust.",
            "cables often run {straight up|sideways} from a socket.",
            "heavy books belong near the {brackets|ends}.",
        ),
    ),
    (
        "write a letter of complaint",
        (
            "say in one sentence what you {bought|ordered} and when.",
            "{describe|explain} the fault without {anger|adjectives}.",
            "name what you {want|expect}: a repair, a new one, or your money.",
            "{add|enclose} copies of the {receipt|papers}, never the originals.",
            "set a {fair|clear} date for the answer.",
            "{thank|greet} the reader and sign by hand.",
        ),
        (
            "a {calm|short} letter is {read|answered} sooner.",
            "{keep|file} a copy of everything.",
            "{sleep|wait a night} before you post it.",
        ),
    ),
)

ESSAY = (
    "{writers|scholars} on <theme> like to {warn|speak} of a slippery slope, but {few|none} of them {say|show} where it {starts|leads}.",
    "there is a {gradient|slope} of {attention|prestige} from the {centre|capital} to the {edge|province}.",
    "{calls|plans} for a {simple|quick} solution {ignore|overlook} how <theme> {grew|came about}.",
    "people are not the {unknowns|variables} of an equation, and nobody can solve for {them|happiness}.",
    "{interviews|diaries} {show|suggest} that {habit|custom} {explains|matters} more than {law|money}.",
    "{the point|one point} where both {lines|strands} of the debate {meet|cross} is the question of {care|time}.",
    "a {step-by-step|gradual} {reform|change} {has|finds} {more|better} {friends|chances} than a {leap|rupture}.",
    "the {literature|debate} on <theme> {divides|splits} into {optimists and sceptics|camps that rarely meet}.",
    "{archives|museums} {keep|hold} more on <theme> than {anyone|a single reader} can {read|use}.",
    "we {read|treat} the {sources|letters} as {arguments|gestures}, not as {data|figures}.",
)

ESSAY_ENDS = (
    "{further|comparative} work on <theme> is {needed|under way}.",
    "{none|little} of this can be {measured|counted}, and that is {the point|no fault}.",
    "the {answer|remedy}, if there is one, {lies|begins} with {listening|teaching}.",
    "we {close|end} with a {question|plea} rather than a {result|theorem}.",
    "{parentheses|brackets} in the quotations are ours.",
)

EVERYDAY = (
    (
        "leaves change colour",
        (
            "a leaf is green because of the pigment that {catches|gathers} light.",
            "when days {shorten|grow short}, the tree {breaks down|takes back} that pigment.",
            "the yellow was there {all along|from the start}, only {hidden|covered}.",
            "red is {made|produced} late, from sugar {caught|trapped} in the leaf.",
            "a {cork|corky} layer then {seals|closes} the stem, and the leaf {falls|drops}.",
            "{bright|clear} days and {cool|cold} nights give the {strongest|richest} colours.",
        ),
    ),
    (
        "bread goes stale",
        (
            "staleness is {not only|more than} dryness.",
            "the starch in the crumb slowly {hardens|sets} again after baking.",
            "{cold|a refrigerator} {speeds|hastens} this up, while {frost|freezing} stops it.",
            "{toasting|warming} a slice {loosens|softens} the starch for a while.",
            "a cloth bag keeps the crust {crisp|firm}, a closed box keeps it {soft|tough}.",
            "{rye|sourdough} {holds|stays moist} longer than white bread.",
        ),
    ),
    (
        "cats purr",
        (
            "the sound {comes from|is made by} {quick|rapid} movements of the voice box.",
            "it {goes on|continues} while the animal breathes in and out.",
            "{kittens|young cats} do it while they {drink|feed}.",
            "a {contented|dozing} cat purrs, but so does a {hurt|frightened} one.",
            "{some|a few} {scientists|vets} think the {vibration|humming} helps bones to heal.",
            "{big|roaring} cats {cannot|do not} do it in the same way.",
        ),
    ),
    (
        "old books smell",
        (
            "paper is {made|pressed} from wood, and wood {breaks down|decays} slowly.",
            "the {process|decay} sets free {traces|small amounts} of substances like those in vanilla and almonds.",
            "{glue|leather} and ink add their {own|part}.",
            "{damp|wet} {shelves|cellars} bring a note of {mould|mushrooms}.",
            "{librarians|restorers} can {guess|tell} the {age|state} of a volume by its smell.",
            "modern paper holds less acid and {ages|yellows} more slowly.",
        ),
    ),
)

FOREIGN_EVERYDAY = {
    "es": (
        "el {tren|autobús} de la {mañana|tarde} {llegó|salió} con retraso y nadie {dijo|preguntó} nada.",
        "en la {plaza|esquina} {venden|ofrecen} {naranjas|castañas} desde que {empezó|llegó} el frío.",
        "mi {abuela|vecina} {guarda|escribe} las recetas en un cuaderno {azul|sin tapas}.",
        "{paso a paso|poco a poco} el {jardín|huerto} vuelve a estar {verde|lleno de flores}.",
        "los {niños|perros} {corren|juegan} cuesta abajo por la pendiente hasta el {río|molino}.",
        "{hoy|mañana} {cierran|abren} la biblioteca más temprano {por la fiesta|por las obras}.",
    ),
    "fr": (
        "le {train|car} du {matin|soir} est {arrivé|parti} en retard et personne n'a {rien dit|protesté}.",
        "sur la place, on vend des {pommes|châtaignes} depuis que le froid est {là|revenu}.",
        "ma {grand-mère|voisine} garde ses recettes dans un cahier {bleu|sans couverture}.",
        "{pas à pas|peu à peu}, le {jardin|verger} redevient {vert|vivant}.",
        "les enfants {courent|roulent} en bas de la pente jusqu'au {moulin|pont}.",
        "la bibliothèque {ferme|ouvre} plus tôt {à cause de la fête|pendant les travaux}.",
    ),
    "de": (
        "der {Zug|Bus} am {Morgen|Abend} {kam|fuhr} zu spät, und niemand {sagte etwas|beschwerte sich}.",
        "auf dem Platz gibt es wieder {Kastanien|Äpfel}, seit es kalt {ist|wurde}.",
        "meine {Großmutter|Nachbarin} {schreibt|sammelt} ihre Rezepte in einem {blauen|alten} Heft.",
        "{Schritt für Schritt|nach und nach} wird der Garten wieder {grün|bunt}.",
        "die Kinder {laufen|rollen} den Hang mit der starken Steigung hinunter bis zur {Mühle|Brücke}.",
        "die Bibliothek {schließt|öffnet} heute früher, {wegen des Festes|weil gebaut wird}.",
    ),
}
