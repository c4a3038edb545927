"""Settings from mappings and from NAME=VALUE texts: errors name the file, the setting and what is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from qr_env.common.errors import ConfigError
from runs.common.settings import describe, from_mapping, merged, read_assignments


@dataclass
class Item:
    text: str = ""
    """a text"""
    weight: float = 1.0
    """a number"""


@dataclass
class Group:
    epochs: int = 1
    """passes"""
    names: tuple[str, ...] = ()
    """some names"""


@dataclass
class Settings:
    items: tuple[Item, ...] = ()
    """several"""
    learning: Group = field(default_factory=Group)
    """a group"""


def test_values_are_converted_to_the_types_of_the_fields() -> None:
    settings = from_mapping(
        Settings, {"items": {"text": 7, "weight": "1e-3"}, "learning": {"epochs": "2"}}, "file.yaml"
    )
    assert settings == Settings((Item("7", 0.001),), Group(2))


@pytest.mark.parametrize("value", ["log", "[log]", "['log']"])
def test_one_value_of_several_needs_no_brackets_in_a_group_either(value: str) -> None:
    assert from_mapping(Settings, read_assignments([f"learning.names={value}"]), "--set").learning.names == ("log",)


def test_an_unknown_name_inside_a_list_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown settings \['items\.0\.name'\]; known are \['text', 'weight'\]"):
        from_mapping(Settings, {"items": [{"name": "x"}]}, "file.yaml")


def test_a_name_that_belongs_to_a_group_is_answered_with_its_full_name() -> None:
    with pytest.raises(ConfigError, match=r"--set: unknown settings \['epochs'\]; did you mean learning\.epochs\?"):
        from_mapping(Settings, read_assignments(["epochs=3"]), "--set")


def test_assignments_are_nested_by_dots_and_merged() -> None:
    assert read_assignments(["learning.epochs=2", "a.b=x", "a.c=None"]) == {
        "learning": {"epochs": 2},
        "a": {"b": "x", "c": None},
    }
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_an_assignment_whose_value_is_not_yaml_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--set a=\[1: not a YAML value"):
        read_assignments(["a=[1"])


def test_every_setting_is_listed_with_its_default_and_docstring() -> None:
    assert list(describe(Settings)) == [
        "items: tuple[tests.runs.common.test_settings.Item, ...] = ()",
        "    several",
        "learning.epochs: int = 1",
        "    passes",
        "learning.names: tuple[str, ...] = ()",
        "    some names",
    ]
