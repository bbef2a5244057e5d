"""Settings in files, as Docker and Kubernetes mount secrets: one file for each variable, with its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, SecretsSettingsSource

DIRECTORY_FIELD: Final = "secrets_directory"
"""The setting that names the folder of the files."""


class UnreadSecret(Exception):
    """A file exists and cannot be read. The message names its variable, and not its content."""


class SecretFiles(SecretsSettingsSource):
    """The files of a folder that the sources before this one name."""

    @classmethod
    def in_place_of(cls, source: PydanticBaseSettingsSource) -> Self:
        """Return a source that reads the same settings, with the same prefix, as a source of pydantic."""
        return cls(source.settings_cls, env_prefix=getattr(source, "env_prefix", None))

    def __call__(self) -> dict[str, Any]:
        """Return the contents of the files, without surrounding white space; an empty file counts as missing.

        A path that is not a folder yields nothing: the validation of the setting reports it.
        """
        self.secrets_dir = self.current_state.get(DIRECTORY_FIELD)
        if self.secrets_dir is None or not Path(self.secrets_dir).is_dir():
            return {}
        return {name: value for name, value in super().__call__().items() if value != ""}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Read one file. Raises ``UnreadSecret`` if it cannot be read."""
        try:
            return super().get_field_value(field, field_name)
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            variable = f"{self.env_prefix}{field_name}".upper()
            raise UnreadSecret(f"{variable}: its file in {self.secrets_dir} cannot be read: {reason}") from None


def secret_names(variables: Mapping[str, str | None], prefix: str) -> set[str]:
    """Return the names of the files in the folder of secrets, which a variable with this prefix names."""
    wanted = f"{prefix}{DIRECTORY_FIELD}".upper()
    folder = next((value for name, value in variables.items() if name.upper() == wanted and value), None)
    return {path.name for path in Path(folder).iterdir()} if folder and Path(folder).is_dir() else set()
