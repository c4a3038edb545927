"""Phrases of the generated shop that belong to no product type: marketing, fillers, negations, templates."""

from __future__ import annotations

MARKETING = ("Premium", "Classic", "Essential", "New", "Deluxe", "Original", "Everyday", "Signature", "Pro", "Modern")
SERIES = ("Nova", "Aria", "Delta", "Lumo", "Vero", "Arc", "Solis", "Tempo", "Orbit", "Fjord", "Mira", "Alto")
PACKS = ("pack of 2", "twin pack", "value bundle", "gift box")

DESCRIPTIONS = (
    "The {noun} from {brand} is made for daily use. {detail}",
    "{brand} brings you a {noun} that lasts. {detail}",
    "A dependable {noun}. {detail} Designed by {brand}.",
    "Simple to use and easy to care for: our {noun}. {detail}",
)
ACCESSORY_DESCRIPTIONS = ("Fits most models. By {brand}.", "The matching extra from {brand}.")

ACCESSORY_NOTES = (
    "compatible with: most models of this brand and many others, check the measurements before ordering",
    "care: wipe clean with a damp cloth, let it dry completely, keep away from direct sun",
    "delivery: arrives in recycled packaging, spare parts can be ordered from our service team",
    "guarantee: two years from the date of purchase, register the serial number to claim",
)

# Generic phrases of reviews.
REVIEWS = (
    "cheap, good quality, our home",
    "best buy",
    "nice gift, for my mum",
    "affordable, would buy online again",
    "just what i want to use",
    "looking for deals, found on sale",
    "something for me, more please",
    "a thing i could not live without, any day",
)

# Filler words before and after a query; the caller decides whether one is used.
FILLERS_BEFORE = ("cheap", "best", "good", "buy", "nice", "looking for", "quality", "affordable")
FILLERS_AFTER = ("for home", "for me", "on sale", "online", "as a gift", "please", "deals", "for my mum")
PURPOSE_OPENINGS = ("something to", "to", "thing to", "what to use to", "i want to")
NEGATIONS = ("without", "no", "not with", "but without", "without any")

ALL_PHRASES = (
    *MARKETING,
    *SERIES,
    *PACKS,
    *(text.format(noun="", brand="", detail="") for text in (*DESCRIPTIONS, *ACCESSORY_DESCRIPTIONS)),
    *REVIEWS,
    *ACCESSORY_NOTES,
    "customers mention",
    *FILLERS_BEFORE,
    *FILLERS_AFTER,
    *PURPOSE_OPENINGS,
    *NEGATIONS,
    # Words of sizes, attributes and titles.
    "compatible with for fits set of with in by size uk us eu people seats seat dozen pcs piece person seater",
    "all season year winter summer weight extra warm lightweight material colour features works type",
    "inch inches metre metres centimetre cm mm ml cl litre litres pint gallon ft feet oz lb pounds kilo kg g grams",
    "watt watts kw kilowatt volt volts gigs gigabyte gb tb terabyte lumen lumens tog people pack a",
    "one two three four five six seven eight nine ten eleven twelve",
)
