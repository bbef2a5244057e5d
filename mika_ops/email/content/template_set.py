"""The templates of emails: the built-in ones, and the files of a shop's folder that replace them."""

import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    select_autoescape,
)
from jinja2.sandbox import SandboxedEnvironment

from mika_ops.ports.email import EmailUnrenderable
from mika_ops.setting_names import PLAIN_NAMES, SettingNames

BUILT_IN: Final = "built-in"
"""The folder under which a template finds the built-in ones, including the one that it replaces."""

SUFFIX: Final = ".j2"

_VARIABLES: Final = "docs/email-templates.md lists the variables"


class TemplateSet:
    """The templates by name: a file of that name in ``folder`` comes before the built-in one.

    Templates run in Jinja's sandbox, and every value in an HTML template is escaped. They are read once. Nothing is
    read before the first rendering or the first call of ``problems``.
    """

    def __init__(self, folder: Path | None = None, *, names: SettingNames = PLAIN_NAMES) -> None:
        built_in = PackageLoader("mika_ops.email.content")
        own: list[BaseLoader] = [] if folder is None else [FileSystemLoader(folder)]
        self._folder = folder
        self._setting = names("email_templates")
        self._built_in = built_in
        self._environment = SandboxedEnvironment(
            loader=ChoiceLoader([*own, built_in, PrefixLoader({BUILT_IN: built_in})]),
            autoescape=select_autoescape(enabled_extensions=(f"html{SUFFIX}",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        """Return the text of a template with these facts.

        Raises ``EmailUnrenderable``, which names the template and the line and none of the facts, if it fails.
        """
        template = self._template(name)
        try:
            return template.render(facts)
        except Exception as error:  # noqa: BLE001 - a shop's template may do anything
            raise EmailUnrenderable(_failure(name, error)) from None

    def problems(self) -> list[str]:
        """Return the errors of the folder and its templates, one sentence each."""
        try:
            names = [name for name in self._files() if name.endswith(SUFFIX)]
        except OSError:
            return [self._no_folder()]
        errors = []
        for name in names:
            try:
                self._template(name)
            except EmailUnrenderable as error:
                errors.append(str(error))
        return errors

    def unused_files(self) -> list[str]:
        """Return the files of the folder that replace no template and are used by none, one sentence each."""
        files = self._files()
        used = {*self._names}.union(*(self._referenced(name) for name in files if name.endswith(SUFFIX)))
        unused = []
        for name in files:
            if name not in used:
                close = get_close_matches(name, self._names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"the names are {', '.join(self._names)}"
                unused.append(f"{name} in {self._folder} replaces no template: {hint}")
        return unused

    @cached_property
    def _names(self) -> list[str]:
        return [name for name in self._built_in.list_templates() if name.endswith(SUFFIX)]

    def _files(self) -> list[str]:
        if self._folder is None:
            return []
        return sorted(file.name for file in self._folder.iterdir() if file.is_file() and not file.name.startswith("."))

    def _referenced(self, name: str) -> set[str]:
        try:
            source, _, _ = FileSystemLoader(self._folder or "").get_source(self._environment, name)
            return {other for other in meta.find_referenced_templates(self._environment.parse(source)) if other}
        except Exception:  # noqa: BLE001 - problems() reports what is wrong with it
            return set()

    def _template(self, name: str) -> Template:
        if self._folder is not None and not self._folder.is_dir():
            raise EmailUnrenderable(self._no_folder())
        try:
            return self._environment.get_template(name)
        except TemplateSyntaxError as error:
            where = f"the template {error.name or name} cannot be read"
            raise EmailUnrenderable(f"{where}: line {error.lineno}: {error.message}") from None
        except UnicodeDecodeError:
            raise EmailUnrenderable(f"the template {name} cannot be read: it is not UTF-8") from None
        except Exception as error:  # noqa: BLE001 - a shop's template may do anything
            raise EmailUnrenderable(f"the template {name} cannot be read ({type(error).__name__})") from None

    def _no_folder(self) -> str:
        return f"{self._setting} names {self._folder}, which is no folder that can be read"


def _failure(name: str, error: Exception) -> str:
    if isinstance(error, TemplateSyntaxError):  # of a template that this one extends, includes or imports
        return f"the template {error.name or name} cannot be read: line {error.lineno}: {error.message}"
    where = [
        f"{Path(frame.f_code.co_filename).name}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith(SUFFIX)
    ]
    at = where[-1] if where else name
    if isinstance(error, UndefinedError):
        return f"the template {at}, uses a variable that does not exist: {_VARIABLES}"
    # The error's own words may hold what was to be printed.
    return f"the template {at}, cannot be rendered ({type(error).__name__})"
