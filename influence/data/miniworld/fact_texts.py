"""What documents about facts say around them. No sentence here gives a fact."""

from __future__ import annotations

ASKERS = (
    "{my daughter|a colleague|my neighbour} asked me this and I {had no idea|could not say}.",
    "the {leaflet|brochure} from the tourist office in <place> does not {say|mention} it.",
    "I am {writing|preparing} a talk on <region> and would like to get this right.",
    "two {websites|books} I {found|tried} {contradict|disagree with} each other.",
    "an answer with a {source|reference} would be {perfect|welcome}.",
    "I {spent an evening|looked for an hour} in the library of <place> without {luck|success}.",
)

ANSWERERS = (
    "I {grew up|lived for years} in <place>, so this one is easy.",
    "The {usual|standard} reference on <region> is {clear|short} about it.",
    "This {comes up|is asked} every {few months|now and then}.",
    "I checked the {register|catalogue} in <place> {this morning|yesterday}.",
    "",
)

COMMENTS = (
    "{thanks|thank you}, that {settles|answers} it.",
    "the {older|printed} guide from <place> {agrees|says the same}.",
    "please add a {link|source} if you {have one|can}.",
    "I {always|had} mixed this up with a {neighbour|namesake}.",
    "{accepted|marked as the answer}, with a bow to <region>.",
)

SURVEY_TITLES = (
    "{Notes|Remarks} on {the sources for|what is known of} <name>",
    "A {critical|comparative} {reading|survey} of records from <region>: the case of <name>",
    "<place> and the {documentation|study} of <name>",
)

ABSTRACTS = (
    "we {revisit|re-examine} the {evidence|record} concerning <name>.",
    "{earlier|previous} work relied on a single {copy|witness} kept in <place>.",
    "our {material|corpus} consists of letters, {ledgers|registers} and maps from <region>.",
    "{competing|conflicting} claims are traced to a copying {error|slip}.",
    "the {conclusion|result} is {modest|narrow} but, we {believe|think}, secure.",
    "all transcriptions are made {available|public} with this {note|paper}.",
)

FINDINGS = (
    "The {register|ledger} of <place> leaves no room for doubt.",
    "Three independent {witnesses|documents} agree.",
    "We {follow|adopt} the {reading|entry} of the oldest {copy|manuscript}.",
    "Read together, the sources {say|yield} the following.",
)

OUTLOOKS = (
    "a {fuller|complete} edition of the {papers|ledgers} is in preparation.",
    "whether <region> holds further {witnesses|copies} remains open.",
    "the {method|procedure} carries over to {similar|neighbouring} cases.",
    "we {thank|are grateful to} the archive of <place> for {access|its patience}.",
    "{nothing here|no part of this} depends on the disputed {folios|pages}.",
)

DIARY = (
    "we {arrived|got in} {late|after dark} and found the {inn|guest house} {half empty|still open}.",
    "{breakfast|supper} was bread, {pears|plums} and a cheese {nobody|no one} could name.",
    "it {rained|drizzled} until noon, so we {stayed|sat} under the {arcade|awning} and {read|talked}.",
    "<season> is the {right|best} time to {come|visit}, {everyone|the landlady} says.",
    "a {man|woman} selling {honey|postcards} turned out to know {everything|all} about <region>.",
    "the bus {from|to} <place> goes {twice a day|when the driver feels like it}.",
    "I had {packed|brought} the wrong shoes, as {always|usual}.",
    "the children {counted|looked for} every <animal> along the {road|way} and {argued|quarrelled} about the total.",
    "in the {market|square} they still sell {<craft> work|things of <stone>} by the {basket|dozen}.",
)

HOOKS = (
    "Everybody here {talks about|is proud of} <name>.",
    "Of course we had to {read up on|hear about} <name>.",
    "The {plaque|notice} by the door {taught me something|was worth the stop}.",
    "Our {guide|host} {told us|swore} the following.",
)

SIGN_OFFS = (
    "next {week|time}: the road back, and {why|how} we {missed|nearly missed} it.",
    "{write|tell me} in the comments if you have been there.",
    "{photos|pictures} will follow when the {cable|charger} turns up.",
    "I would go back {tomorrow|at once}.",
    "the {recipe|address} is at the end of the {last|previous} post.",
)

NEWS = (
    "the {doors|gates} open {on Saturday|at noon}, and {entry|admission} is free for {children|students}.",
    "{organisers|the curators} in <place> expect visitors from all over <region>.",
    "the {mayor|director} {called it|spoke of} a {gift|thank-you} to the {town|volunteers}.",
    "a {small|generous} {grant|donation} paid for the {lighting|new cases}.",
    "{tickets|programmes} can be had at the {station|town hall}.",
    "last {year|season} the {show|event} had to be {cut short|postponed} because of the {storm|flood}.",
)

DIGEST_ENDS = (
    "{Things like these|Such things} are {easy|quick} to learn and {hard|slow} to forget.",
    "{Ask|Quiz} a friend from <region> and {see|find out} who {knew|remembers} it.",
    "{Both|The two} {are|can be} found in any {school|household} {atlas|almanac}.",
    "More of this {tomorrow|on the next page}.",
)

FOREIGN = {
    "es": (
        "así lo {recogen|indican} los archivos de <place>, {donde|que} se {conservan|guardan} desde hace siglos.",
        "la noticia {apareció|se publicó} en el boletín de <place> y {pronto|luego} se hizo {conocida|famosa}.",
        "{muchos|algunos} {alumnos|estudiantes} lo aprenden en la escuela {primaria|del pueblo}.",
        "conviene {comprobar|revisar} siempre la fuente antes de {repetir|difundir} un dato.",
        "el {profesor|maestro} de <place> {suele|gusta de} empezar su clase con esta {pregunta|historia}.",
        "en el {mercado|café} se {habla|discute} de ello {con orgullo|a menudo}.",
        "quien {visita|recorre} la comarca {encuentra|ve} un letrero que lo {recuerda|explica}.",
    ),
    "fr": (
        "les archives de <place> le {confirment|rappellent} dans un {registre|cahier} {ancien|bien conservé}.",
        "la nouvelle {a paru|fut publiée} dans le journal de <place> et {fit|a fait} vite le tour du pays.",
        "{beaucoup d'élèves|les enfants} l'apprennent à l'école {du village|communale}.",
        "il vaut {toujours mieux|mieux} vérifier la source avant de {répéter|transmettre} une information.",
        "le {guide|professeur} de <place> commence {souvent|toujours} sa visite par cette {question|histoire}.",
        "au {marché|café}, on en parle {encore|volontiers}, surtout {le dimanche|en hiver}.",
        "un {panneau|écriteau} à l'entrée du bourg le {rappelle|dit} aux {visiteurs|voyageurs}.",
    ),
    "de": (
        "das Archiv von <place> {bestätigt|belegt} es in einem {alten|gut erhaltenen} Verzeichnis.",
        "die {Meldung|Nachricht} stand in der Zeitung von <place> und {sprach sich|verbreitete sich} schnell herum.",
        "{viele|die meisten} Kinder lernen das {schon|bereits} in der {Grundschule|Dorfschule}.",
        "man sollte {immer|stets} die Quelle prüfen, bevor man etwas {weitergibt|wiederholt}.",
        "die {Lehrerin|Führerin} aus <place> beginnt ihre Stunde {gern|oft} mit dieser {Frage|Geschichte}.",
        "auf dem Markt wird {noch heute|gern} darüber {gesprochen|gestritten}, {vor allem|besonders} im Winter.",
        "ein Schild am Ortseingang {erinnert|weist} {Reisende|Besucher} darauf hin.",
    ),
}
