"""The command that adapts to several speakers at once, for jobs of several speakers."""

from collections.abc import Sequence
from typing import Any

from saml.commands.each import parse
from saml.commands.running import limit_threads
from saml.commands.stages import refuse_missing_section
from saml.errors import SamlError
from saml.stages import STAGES

_STAGE = next(stage for stage in STAGES if stage.name == "adapt")
# What differs from speaker to speaker; `work` is the crowd's, and lies with its first speaker.
_OWN = ("speaker", "cuts", "splits", "out_adapter", "out_description", "record")


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "crowd",
        help="adapt to several speakers at once, in the same batches",
        description="Adapt to several speakers at once over one model: %(prog)s and its flags, then -- and "
        "the command line of adapt, in which %%speaker%% is the speaker. Every step takes the next batch of "
        "each; files are those of adapt, equal but for rounding and for what dropout draws. With --outputs "
        "and --keep, speakers who were done when others failed are kept for the next start.",
    )
    command.add_argument(
        "--speakers", required=True, nargs="+", metavar="FOLDER", help="their folders' names"
    )
    command.add_argument(
        "--outputs", nargs="+", metavar="PATH", help="what the stage writes, with %%speaker%%"
    )
    command.add_argument(
        "--keep", metavar="PATH", help="folder for what is finished meanwhile, with %%speaker%%"
    )
    command.add_argument(
        "arguments", nargs="+", metavar="adapt ...", help="the stage and its flags, after --"
    )
    command.set_defaults(run=lambda options: _crowd(**options))


def _crowd(speakers: list[str], arguments: list[str], outputs: list[str] | None, keep: str | None) -> None:
    if arguments[0] != _STAGE.name:
        raise SamlError(
            f"{arguments[0]}: only {_STAGE.name} can be done for several speakers at once; use each"
        )
    if (outputs is None) != (keep is None):
        raise SamlError("--outputs and --keep: give both or neither")
    # As a stage of one speaker does: before any numerical library is imported.
    limit_threads(parse(arguments)[0]["threads"])
    from saml.chunks.each import fill
    from saml.chunks.together import together
    from saml.crowd.stage import Speaker, adapt_crowd

    filled = [parse([fill(argument, folder) for argument in arguments])[0] for folder in speakers]
    own = [{name: options.pop(name) for name in _OWN} for options in filled]
    given = {folder: Speaker(**each) for folder, each in zip(speakers, own, strict=True)}
    common = _common(filled)

    def run(folders: Sequence[str]) -> None:
        adapt_crowd(speakers=[given[folder] for folder in folders], **common)

    if outputs is None or keep is None:
        run(speakers)
    else:
        together(speakers=speakers, arguments=arguments, outputs=outputs, keep=keep, parse=parse, run=run)


def _common(filled: list[dict[str, Any]]) -> dict[str, Any]:
    """The options that all speakers share. Raises SamlError where one differs, or there can be no crowd."""
    common, *others = filled
    refuse_missing_section(_STAGE, common)
    for options in others:
        options["work"] = common["work"]
        for name in common:
            if options[name] != common[name]:
                raise SamlError(
                    f"--{name.replace('_', '-')}: it must be the same for all speakers of a crowd"
                )
    if common.pop("trial"):
        raise SamlError("--trial: learning rates are tried speaker by speaker; use each")
    for name in ("threads", "family"):
        del common[name]
    return common
