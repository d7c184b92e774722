"""Secrets in files, as Docker and Kubernetes hand them over: `NAME_FILE` names the file that holds the setting."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from shared.errors import BadSetting

SECRETS: Final = (
    "DASHBOARD_PASSWORD",
    "ICE_PASSWORD",
    "META_APP_SECRET",
    "META_VERIFY_TOKEN",
    "PAGELINE_API_KEYS",
    "PAGE_TOKENS",
    "RECORDS_SINKS",
    "RECORDS_WEBHOOK_SECRET",
    "REDIS_URL",
    "STREAM_AUTH_TOKEN",
    "VOICEMAIL_WEBHOOK_SECRET",
    "VOICE_AI_KEY",
)
"""Settings that are secret, or may hold a password."""


def bring(environ: MutableMapping[str, str]) -> None:
    """Put what the files hold in place of their names, so that whoever asks, a child process too, sees the settings.

    Raises:
        BadSetting: a file cannot be read or is empty, or a setting is given twice; the message holds no secret.
    """
    for name in SECRETS:
        path = environ.pop(f"{name}_FILE", "")
        if not path:
            continue
        if environ.get(name):
            raise BadSetting(f"{name} and {name}_FILE are both set. Unset one of them.")
        try:
            held = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds no text"
            raise BadSetting(f"{name}_FILE={path} cannot be read: {why}.") from error
        if not held:
            raise BadSetting(f"{name}_FILE={path} is empty. Write the secret into it, or unset {name}_FILE.")
        environ[name] = held
