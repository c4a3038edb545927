"""Sizes of products: the merchants' form of a value with its unit, and the equivalent forms that shoppers use.

merchant_size("l", 1.7)         # "1.7 L"
shopper_sizes(Size("l", (1.7,), "capacity"), 1.7)   # ["1700ml", "1.7 litre", "3 pint"]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """The one measure of a product type, such as capacity or width."""

    unit: str
    """One of `UNITS`."""
    values: tuple[float, ...]
    """The values on sale, in `unit`."""
    label: str
    """Name of the product attribute, such as "capacity"."""


_MERCHANT = {
    "l": "{} L",
    "ml": "{} ml",
    "cm": "{} cm",
    "mm": "{} mm",
    "inch": "{}-inch",
    "w": "{} W",
    "kg": "{} kg",
    "g": "{} g",
    "gb": "{} GB",
    "seater": "{}-seater",
    "persons": "{}-person",
    "pieces": "{}-piece",
    "m": "{} m",
    "v": "{} V",
    "eu": "EU {}",
    "tog": "{} tog",
    "lm": "{} lm",
}
UNITS = frozenset(_MERCHANT)

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def merchant_size(unit: str, value: float) -> str:
    """The size in the form of titles: "1.7 L", "27-inch", "3-seater"."""
    return _MERCHANT[unit].format(f"{value:g}")


def shopper_sizes(size: Size, value: float) -> list[str]:
    """At least one equivalent form of the size; none has the merchants' number together with their unit."""
    return _SHOPPER[size.unit](size, value)


def _word(value: float) -> str:
    return _WORDS[int(value)] if value < len(_WORDS) and value == int(value) else f"{value:g}"


def _feet(inches: float) -> str:
    return f"{round(inches / 12 * 2) / 2:g} ft"


def _litres(_: Size, value: float) -> list[str]:
    if value < 3:
        return [f"{value * 1000:g}ml", f"{value:g} litre", f"{round(value * 1.76):g} pint"]
    return [f"{value:g} litre", f"{value:g} litres", f"{round(value / 4.55, 0 if value > 9 else 1):g} gallon"]


def _millilitres(_: Size, value: float) -> list[str]:
    return [f"{value / 1000:g} litre", f"{round(value / 28.4):g} oz", f"{value / 10:g}cl"]


def _centimetres(_: Size, value: float) -> list[str]:
    long = [f"{value / 100:g} metre", _feet(value / 2.54)] if value >= 100 else [f"{value * 10:g}mm"]
    return [f"{round(value / 2.54):g} inch", f"{round(value / 2.54):g} inches", *long]


def _millimetres(_: Size, value: float) -> list[str]:
    return [f"{value / 10:g}cm", f"{value / 10:g} centimetre", f"{round(value / 25.4, 1):g} inch"]


def _inches(_: Size, value: float) -> list[str]:
    return [f"{round(value * 2.54):g}cm", f"{round(value * 2.54):g} cm", f"{_word(value)} in"]


def _watts(_: Size, value: float) -> list[str]:
    kilowatts = [f"{value / 1000:g}kw", f"{value / 1000:g} kilowatt"] if value >= 1000 else []
    return [f"{value:g} watt", f"{value:g} watts", *kilowatts]


def _kilograms(_: Size, value: float) -> list[str]:
    return [f"{round(value * 2.205):g} lb", f"{round(value * 2.205):g} pounds", f"{value:g} kilo"]


def _grams(_: Size, value: float) -> list[str]:
    kilograms = [f"{value / 1000:g} kilo"] if value >= 500 else []
    return [f"{round(value / 28.35):g} oz", f"{value:g} grams", *kilograms]


def _gigabytes(_: Size, value: float) -> list[str]:
    terabytes = [f"{round(value / 1000, 1):g}tb", f"{round(value / 1000, 1):g} terabyte"] if value >= 500 else []
    return [f"{value:g} gigs", f"{value:g} gigabyte", *terabytes]


def _seats(_: Size, value: float) -> list[str]:
    return [f"for {_word(value)} people", f"seats {_word(value)}", f"{_word(value)} seat"]


def _persons(_: Size, value: float) -> list[str]:
    return [f"for {_word(value)} people", f"for {value:g} people", f"for {_word(value)}"]


def _pieces(_: Size, value: float) -> list[str]:
    dozen = ["a dozen"] if value == 12 else []
    return [f"set of {_word(value)}", f"{value:g} pcs", f"pack of {value:g}", *dozen]


def _metres(_: Size, value: float) -> list[str]:
    return [_feet(value * 39.37), f"{value:g} metre", f"{value:g} metres", f"{value * 100:g}cm"]


def _volts(_: Size, value: float) -> list[str]:
    return [f"{value:g} volt", f"{value:g} volts"]


def _european(size: Size, value: float) -> list[str]:
    if "shoe" in size.label or "foot" in size.label:  # adults' shoes: UK 6 is EU 39, US one more
        return [f"uk {value - 33:g}", f"size {value - 33:g} uk", f"us {value - 32:g}"]
    return [f"uk {value - 28:g}", f"size {value - 28:g} uk", f"us {value - 32:g}"]


def _togs(size: Size, value: float) -> list[str]:
    if value == max(size.values):
        return ["winter weight", "for winter", "extra warm"]
    if value == min(size.values):
        return ["summer weight", "for summer", "lightweight"]
    return ["all season", "all year"]


def _lumens(_: Size, value: float) -> list[str]:
    return [f"{value:g} lumens", f"{value:g} lumen"]


_SHOPPER: dict[str, Callable[[Size, float], list[str]]] = {
    "l": _litres,
    "ml": _millilitres,
    "cm": _centimetres,
    "mm": _millimetres,
    "inch": _inches,
    "w": _watts,
    "kg": _kilograms,
    "g": _grams,
    "gb": _gigabytes,
    "seater": _seats,
    "persons": _persons,
    "pieces": _pieces,
    "m": _metres,
    "v": _volts,
    "eu": _european,
    "tog": _togs,
    "lm": _lumens,
}
