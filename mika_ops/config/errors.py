"""Errors about settings."""

from collections.abc import Callable

from mika_ops.setting_names import PLAIN_NAMES, SettingNames


class SettingsError(ValueError):
    """Settings are invalid. The message has one line for each variable, which says what the value must be."""


class SettingProblem(ValueError):
    """A problem with settings, as a function of the variables' names: pydantic validates without knowing them."""

    def __init__(self, sentence: Callable[[SettingNames], str]) -> None:
        super().__init__(sentence(PLAIN_NAMES))
        self.sentence = sentence
