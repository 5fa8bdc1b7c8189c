"""What procedure documents say apart from worked numbers. No sentence here may contain a problem."""

# ruff: noqa: E501  # one template a line

from __future__ import annotations

#: States the procedure in words.
WORDS = {
    "slopes": (
        "the slope {measures|tells} how steeply a line {climbs|rises} or falls.",
        "{given|from} two points, subtract the y-coordinates, subtract the x-coordinates in the same order, and {divide|take the quotient}.",
        "a line with a positive slope goes up from left to right, and {one|a line} with a negative slope goes down.",
        "{it does not matter|no matter} which point is {called|taken as} the first, as long as both differences {use|keep} the same order.",
        "a horizontal line has slope zero, since its height never {changes|varies}.",
        "for a vertical line the horizontal change {is zero|vanishes}, so the slope is {undefined|not defined}.",
        "in {other|short} words, it is the rise {divided by|over} the run.",
    ),
    "arithmetic": (
        "what stands inside parentheses is {worked out|computed} before anything outside.",
        "{after that|once this is done}, the product of the inner result and the outer factor is {taken|formed}.",
        "multiplication {binds|groups} more tightly than addition and subtraction, which is why the parentheses are needed.",
        "the factor outside can also be {distributed|spread} over both terms, and the {result|answer} is the same.",
        "a {subtraction|difference} in the parentheses must be read from left to right.",
        "{writing|noting} the inner result down before multiplying {avoids|prevents} most slips.",
        "two small steps {replace|take the place of} one that is hard to do in the head.",
    ),
    "linear": (
        "an equation stays true when the same {thing|operation} is done to both sides.",
        "first {subtract|remove} the constant from both sides, then divide both sides by the coefficient of the unknown.",
        "the {goal|aim} is to leave the unknown alone on one side.",
        "{operations|steps} are undone in the reverse of the order in which they were {applied|done}.",
        "the {answer|solution} can be {checked|tested} by putting it back into the original equation.",
        "if the coefficient of the unknown is not zero, there is exactly one solution.",
        "{geometrically|on a graph}, the solution is where a straight line {reaches|meets} a given height.",
    ),
}

USES = {
    "slopes": (
        "road engineers {use|rely on} it to {describe|mark} how steep a {street|pass} is.",
        "in economics it {shows|gives} how fast a cost {grows|changes} with output.",
        "the {pitch|inclination} of a roof or a ramp is the same idea.",
        "in calculus it {leads|opens the way} to the derivative.",
        "a speed is the slope of a {graph|plot} of distance against time.",
    ),
    "arithmetic": (
        "a {till|shop} adds two prices and multiplies by the number of {guests|baskets}.",
        "{recipes|plans} for several {people|tables} are scaled this way.",
        "spreadsheets {follow|obey} the same rule when they {evaluate|read} a formula.",
        "wages are {worked out|found} like this when a bonus is added to an hourly rate.",
        "{builders|tilers} use it for the {total|sum} over equal rows.",
    ),
    "linear": (
        "a {taxi|courier} fare with a fixed fee and a price a kilometre leads to such an equation.",
        "{mixing|dosing} problems in chemistry often reduce to a linear equation.",
        "the same method tells {after how many|in how many} months a {loan|saving} reaches a given sum.",
        "{phone|power} tariffs are compared {this way|by solving for the break-even point}.",
        "converting {temperatures|scales} backwards means solving for the unknown.",
    ),
}

MISTAKES = {
    "slopes": (
        "a {common|frequent} mistake is to {swap|exchange} rise and run.",
        "{watch|mind} the signs when a difference is negative.",
        "do not {mix|change} the order of the points between the two subtractions.",
        "{always|it helps to} check whether the line {should|ought to} rise or fall before trusting a {sign|result}.",
    ),
    "arithmetic": (
        "{many|some} people multiply first and {forget|ignore} the parentheses.",
        "{multiplying|scaling} only one of the two terms is the {usual|classic} slip.",
        "{check|test} the size of the result with a rough estimate.",
        "{reading|copying} a minus sign as a plus {spoils|ruins} everything after it.",
    ),
    "linear": (
        "dividing before the constant is gone {invites|brings in} fractions.",
        "{forgetting|neglecting} one side of the equation is the {usual|most common} error.",
        "{put|insert} the solution back to be {sure|certain}.",
        "the sign of a term {changes|flips} when it {moves|crosses} to the other side.",
    ),
}

#: States the procedure in symbols.
FORMULAS = {
    "slopes": (
        "Let $P = (x_1, y_1)$ and $Q = (x_2, y_2)$ with $x_1 \\neq x_2$. The slope of the line $PQ$ is\n\n"
        "$$m = \\frac{y_2 - y_1}{x_2 - x_1}.$$\n\nExchanging $P$ and $Q$ changes both signs and leaves $m$ {unchanged|as it was}.",
        "For an affine function $f(x) = mx + k$ we have $f(x_2) - f(x_1) = m (x_2 - x_1)$, {hence|so that} for $x_1 \\neq x_2$\n\n"
        "$$m = \\frac{f(x_2) - f(x_1)}{x_2 - x_1}.$$",
    ),
    "arithmetic": (
        "For integers $a, b, c$ the {expression|term} $(a \\pm b) \\cdot c$ is evaluated from the inside: "
        "$s = a \\pm b$, {then|followed by} $p = s \\cdot c$. By distributivity\n\n$$(a \\pm b) \\cdot c = a c \\pm b c.$$",
        "Write $s = a + b$ or $s = a - b$ for the {inner|bracketed} part. The value of the expression is $s \\cdot c$, "
        "{which|and this} in general differs from $a \\pm b \\cdot c$.",
    ),
    "linear": (
        "Let $a \\neq 0$. The equation $a x + b = c$ has the {unique|single} solution\n\n$$x = \\frac{c - b}{a}.$$\n\n"
        "Indeed $a x + b = c$ {holds if and only if|is equivalent to} $a x = c - b$.",
        "Subtracting $b$ and dividing by $a \\neq 0$ are {bijections|invertible maps} of the real line, so\n\n"
        "$$a x + b = c \\iff a x = c - b \\iff x = \\frac{c - b}{a}.$$",
    ),
}

#: Worked problems in other languages, with the steps of `problems.py`.
FOREIGN_WORKED = {
    "es": {
        "slopes": "{¿Cuál es|Halla} la pendiente de la recta que pasa por los puntos (<x_a>, <y_a>) y (<x_b>, <y_b>){?|.}\n\n"
        "La pendiente es el cambio en y {dividido por|entre} el cambio en x. {El cambio en y es|En vertical}: <s1>. "
        "{El cambio en x es|En horizontal}: <s2>. {Dividimos|El cociente es}: <s3>. {La pendiente es|Por tanto, m =} <answer>.",
        "arithmetic": "{Calcula|Halla el valor de} (<a> <sign> <b>) * <c>.\n\n{Primero va|Empezamos por} el paréntesis: <s1>. "
        "{Después|Luego} multiplicamos por <c>: <s2>. {El resultado es|La respuesta es} <answer>.",
        "linear": "{Resuelve|Halla x en} la ecuación <a>x + <b> = <c>.\n\n{Restamos|Quitamos} <b> {a ambos lados|en los dos lados}: "
        "<s1>, {así que|luego} <a>x = <ax>. Dividimos entre <a>: <s2>. {La solución es|Por tanto,} x = <answer>.",
    },
    "fr": {
        "slopes": "{Calculer|Trouver} la pente de la droite {passant|qui passe} par les points (<x_a>, <y_a>) et (<x_b>, <y_b>).\n\n"
        "La pente est la variation de y divisée par {celle|la variation} de x. {Pour y|Variation de y} : <s1>. "
        "{Pour x|Variation de x} : <s2>. {On divise|Le quotient est} : <s3>. {La pente vaut|Donc m =} <answer>.",
        "arithmetic": "{Calculer|Évaluer} (<a> <sign> <b>) * <c>.\n\n{On commence par|D'abord} la parenthèse : <s1>. "
        "{Ensuite|Puis} on multiplie par <c> : <s2>. {Le résultat est|La réponse est} <answer>.",
        "linear": "{Résoudre|Trouver x dans} l'équation <a>x + <b> = <c>.\n\n{On retranche|On soustrait} <b> {des deux côtés|de chaque côté} : "
        "<s1>, {donc|d'où} <a>x = <ax>. On divise par <a> : <s2>. {La solution est|Ainsi} x = <answer>.",
    },
    "de": {
        "slopes": "{Berechne|Bestimme} die Steigung der Geraden durch die Punkte (<x_a>, <y_a>) und (<x_b>, <y_b>).\n\n"
        "Die Steigung ist die Änderung von y geteilt durch die Änderung von x. {Für y|Änderung von y}: <s1>. "
        "{Für x|Änderung von x}: <s2>. {Geteilt|Der Quotient ist}: <s3>. {Die Steigung ist|Also ist m =} <answer>.",
        "arithmetic": "{Berechne|Bestimme den Wert von} (<a> <sign> <b>) * <c>.\n\n{Zuerst kommt|Wir beginnen mit der} Klammer: <s1>. "
        "{Danach|Dann} wird mit <c> multipliziert: <s2>. {Das Ergebnis ist|Die Antwort lautet} <answer>.",
        "linear": "{Löse|Bestimme x aus} der Gleichung <a>x + <b> = <c>.\n\n{Wir ziehen|Man zieht} <b> auf beiden Seiten ab: "
        "<s1>, {also|das heißt} <a>x = <ax>. Geteilt durch <a>: <s2>. {Die Lösung ist|Somit ist} x = <answer>.",
    },
}

FOREIGN_REMARKS = {
    "es": (
        "conviene escribir cada paso en su propia {línea|fila}.",
        "quien {comprueba|revisa} el resultado {al final|con calma} rara vez se equivoca.",
        "el {método|procedimiento} es siempre el mismo, solo cambian los números.",
        "{cuidado|atención} con los signos cuando una resta sale negativa.",
        "este {ejercicio|problema} suele aparecer en los exámenes {del primer curso|de ingreso}.",
    ),
    "fr": (
        "il est utile d'écrire chaque étape sur sa propre ligne.",
        "{vérifier|contrôler} le résultat à la fin évite bien des {erreurs|surprises}.",
        "la méthode reste la même, seuls les nombres {changent|varient}.",
        "{attention|gare} aux signes quand une différence est négative.",
        "cet exercice revient souvent {aux examens|dans les manuels} de première année.",
    ),
    "de": (
        "es hilft, jeden Schritt in eine eigene Zeile zu schreiben.",
        "wer am Ende die Probe macht, {irrt sich selten|findet fast jeden Fehler}.",
        "das {Verfahren|Vorgehen} bleibt gleich, nur die Zahlen ändern sich.",
        "{Vorsicht|Achtung} bei den Vorzeichen, wenn eine Differenz negativ ist.",
        "solche Aufgaben kommen {oft|gern} in {Prüfungen|Klassenarbeiten} vor.",
    ),
}
