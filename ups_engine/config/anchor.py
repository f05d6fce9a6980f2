"""Relative paths of settings, as seen from the folder they were written in."""

from pathlib import Path

from ups_engine.config.schema import Settings


def anchored(settings: Settings, folder: Path) -> Settings:
    """The same settings with absolute paths of data and caches.

    Args:
        settings: whose relative paths begin in `folder`.
        folder: the working folder that the settings were resolved in. One that is gone, as after a move to another
            machine, is replaced by the present working folder.
    """
    base = folder if folder.is_dir() else Path.cwd()

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(base / Path(path).expanduser())

    data = settings.data.model_copy(update={key: absolute(getattr(settings.data, key)) for key in ("path", "root")})
    latent = settings.latent.model_copy(update={"cache_dir": absolute(settings.latent.cache_dir)})
    return settings.model_copy(update={"data": data, "latent": latent})
