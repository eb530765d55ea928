"""Pictures of the user's own: a folder of any files, in any subfolders, as photographs are kept."""

from __future__ import annotations

from pathlib import Path

from eval_tasks.pictures.picture_files import digest, pixels
from preproc.batch.inputs import picture_extensions
from preproc.console import error_console, progress_bar
from preproc.errors import ImageError


def find_pictures(folder: Path, every: int = 1, reduction: int = 1) -> dict[str, Path]:
    """Every K-th picture of a folder; those that cannot be used are left out with a warning.

    Args:
        folder: where they are, in any subfolders.
        every: K.
        reduction: by which they will be reduced, for which some may be too small.

    Returns:
        Paths by names under which results can be kept: the path below the folder without the
        ending, and a digest of the content, so that what another folder has under the same name,
        or what this one had before, is never taken for it.

    Raises:
        ImageError: there is no such folder, or no picture in it that can be used.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}; name one with pictures.")
    extensions = picture_extensions()
    files = (p for p in folder.rglob("*") if p.suffix.lower() in extensions and not p.is_dir())
    paths = sorted(files)[::every]
    if not paths:
        raise ImageError(f"There are no pictures in {folder}.")
    found: dict[str, Path] = {}
    unusable: list[ImageError] = []
    with progress_bar(transient=True) as progress:
        for path in progress.track(paths, description="looking at the pictures"):
            try:
                pixels(path, multiple=reduction)
                name = path.relative_to(folder).with_suffix("").as_posix()
                found[f"{name}-{digest(path)}"] = path
            except ImageError as error:
                unusable.append(error)
    for cause in unusable:
        error_console().print(f"Warning: {cause} It is left out.", style="yellow")
    if not found:
        raise ImageError(f"None of the {len(paths)} pictures in {folder} can be used; see above.")
    return found
