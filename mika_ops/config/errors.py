"""Errors about settings."""

from collections.abc import Callable

from mika_ops.setting_names import PLAIN_NAMES, SettingNames


class SettingsError(ValueError):
    """Settings that are not valid. The message names each variable and says what it should be, one line each."""


class SettingProblem(ValueError):
    """What is wrong with settings, as a function of their variables' names: pydantic validates without knowing them."""

    def __init__(self, sentence: Callable[[SettingNames], str]) -> None:
        super().__init__(sentence(PLAIN_NAMES))
        self.sentence = sentence
