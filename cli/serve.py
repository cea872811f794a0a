"""`mlimages-build serve`: a build's pictures, labels and categories as local pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FOLDER, LOCAL_FOLDER, image_progress

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

_PUBLIC = """Everyone who reaches {host} on the network can now see the pictures and labels of this build, without a \
password."""


@click.command()
@click.argument("folder", type=LOCAL_FOLDER)
@click.option("--images", type=FOLDER, multiple=True, help="A folder of the build's pictures; repeatable.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. With another than the default, others on your network can see the build.",
)
@click.option("--wordnet", type=LOCAL_FOLDER, help="A WordNet 3.0 folder, for definitions.  [default: the usual ones]")
def serve(*, folder: Path, images: tuple[Location, ...], port: int, host: str, wordnet: Path | None) -> None:
    """Show a build in the browser: pictures by category, the labels of each and why, categories, findings.

    FOLDER is an output folder of `mlimages-build run`. It needs the extra serve: pip install 'mlimages-dataset[serve]'.
    Nothing can be changed there. The first start makes an index of the labels, a file beside the build. Ctrl-C ends it.

    \b
    Examples:
      mlimages-build serve build
      mlimages-build serve build --images pictures --port 8080
    """  # noqa: D301 - click wants the backspace itself
    try:
        # Here and not above: they would cost --help half a second, and they may not be installed.
        from mlimages_dataset.serve.app import application, is_loopback  # noqa: PLC0415
        from mlimages_dataset.serve.server import address_of, listening, serve_until_stopped  # noqa: PLC0415
    except ModuleNotFoundError as error:
        remedy = "run: pip install 'mlimages-dataset[serve]'"
        raise UsageError(f"the package {error.name} is not installed", remedy=remedy) from error
    from mlimages_dataset.serve.build import open_build  # noqa: PLC0415 - as above
    from mlimages_dataset.serve.definitions import wordnet_folder  # noqa: PLC0415 - as above
    from mlimages_dataset.serve.index import open_index  # noqa: PLC0415 - as above

    with listening(host, port) as server:
        build = open_build(folder, images)
        with image_progress("index the labels, once", quiet=False) as progress:
            index = open_index(build, progress)
        app = application(build, index, host=host, wordnet=wordnet_folder(wordnet))
        click.echo(f"{folder}: {address_of(server)} (Ctrl-C ends it)")
        if not is_loopback(host):
            click.echo(_PUBLIC.format(host=host), err=True)
        serve_until_stopped(app, server)
