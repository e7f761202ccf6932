"""Names that may mean the Hub: told apart from folders here, before anything is loaded."""

from pathlib import Path


def could_be_hub_id(name: str) -> bool:
    """Whether a name that is no folder may be meant for the Hub: ``owner/name``, with no folder ``owner`` here."""
    path = Path(name).expanduser()
    owner_and_name = name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~"))
    return owner_and_name and not path.exists() and not path.parent.is_dir()
