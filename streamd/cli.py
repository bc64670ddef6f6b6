"""The commands. Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from streamd import __version__, installer
from streamd.concurrency import threads
from streamd.config.address import SourceAddress, SourceKind, as_file, as_it_is
from streamd.config.load import load
from streamd.config.redact import printable, redact, redact_source, shorten
from streamd.config.sections import (
    FORMATS,
    RECORDED_VIEWS,
    VIEWS,
    Config,
    Edges,
    ModelConfig,
    ModelName,
    PictureFormat,
    Precision,
    Runtime,
    is_manifest,
)
from streamd.errors import ConfigError, SourceUnsupported, StreamdError, UsageError, doing
from streamd.host import allocator, standard_streams
from streamd.host.interruption import end_in_order
from streamd.host.standard_streams import OutputLost
from streamd.host.whole_file import writing
from streamd.telemetry import logs

if TYPE_CHECKING:
    from streamd.depth.int8.scenes import Examples
    from streamd.depth.service import DepthService
    from streamd.depth.store import ModelStore

log = logging.getLogger(__name__)

MODELS = get_args(ModelName)
MAX_BENCH_S = 3600.0
EXPORTS = ("openvino", "onnx", "torchscript", "coreml", "triton")
EXIT_S = 4.0
"""After SIGTERM the daemon exits, whatever holds it: systemd kills after 5 s."""
_RUNTIMES_HERE = [runtime for runtime in get_args(Runtime) if runtime not in ("auto", "remote")]


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    if arguments is None:
        standard_streams.set_up()
        _hide_passwords()
    try:
        _act(arguments)
        sys.stdout.flush()
    except StreamdError as error:
        if isinstance(error, OutputLost):
            standard_streams.drop_output()
        return _report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        standard_streams.drop_output()
    except Exception as error:  # a fault of ours, which a user cannot read either
        _report_fault(error)
        os._exit(1)  # threads that nobody stopped would keep the process, and systemd would not start another
    return 0


def _act(arguments: list[str] | None) -> None:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # of --help, which may fail
        raise
    as_json = getattr(options, "log_format", "text") == "json"
    logs.set_up(debug=options.debug, plain=options.command != "run", as_json=as_json)
    with doing(f"at streamd {options.command}"):
        options.act(options)


def _report(error: StreamdError) -> int:
    """The exit code."""
    log.debug("traceback", exc_info=True)
    for problem in error.problems if isinstance(error, ConfigError) else [error]:
        print(_line(problem), file=sys.stderr, flush=True)
    return error.exit_code


def _line(problem: object) -> str:
    return f"streamd: {printable(redact(str(problem)))}"


def _report_fault(error: Exception) -> None:
    """What it was met at, and what to do, in one line."""
    log.debug("traceback", exc_info=True)
    what = error.__notes__[0] if hasattr(error, "__notes__") else "at work"
    text = printable(redact(f"{what}: a fault of streamd's: {error!r}"))
    print(f"streamd: {text}; please report it with what --debug shows", file=sys.stderr, flush=True)


def _hide_passwords() -> None:
    """Of a SOURCE in our command line: /proc shows it to every user of the machine, and journald keeps it. Empties
    what /proc shows of our environment, too."""
    hidden = [redact_source(argument) for argument in sys.orig_argv]
    if hidden != sys.orig_argv:
        from setproctitle import getthreadtitle, setproctitle, setthreadtitle

        name = getthreadtitle()
        setproctitle(" ".join(hidden))
        setthreadtitle(name)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {redact(message)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="streamd", description="Turns cameras into live depth video on a CPU.")
    parser.add_argument("--version", action="version", version=f"streamd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, act: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(act=act)
        added.add_argument("--debug", action="store_true", help="log everything, with tracebacks")
        return added

    run = command("run", _run, "Publish live depth of cameras and files; without any, of the built-in clip.")
    run.add_argument("source", nargs="*", metavar="SOURCE", help="URL, /dev/videoN, file, demo: or lavfi:GRAPH")
    run.add_argument("--config", type=Path, metavar="FILE", help="TOML file; `streamd schema` explains it")
    run.add_argument("--listen", metavar="HOST:PORT", help="where page and API answer (127.0.0.1:8080)")
    run.add_argument("--log-format", choices=("text", "json"), default="text", help="one JSON object a line, or text")
    run.add_argument("--record", type=Path, metavar="DIR", help="record depth into DIR")
    _model_options(run)

    convert = command("convert", _convert, "Depth of every frame of a video file, its audio copied.")
    convert.add_argument("input", metavar="INPUT", help="a file, or - for standard input")
    convert.add_argument("output", metavar="OUTPUT", type=Path)
    convert.add_argument("--view", choices=RECORDED_VIEWS, default="depth")
    convert.add_argument("--edges", choices=get_args(Edges), default="crisp", help="of the depth that is drawn")
    _model_options(convert)

    depth = command("depth", _depth, "Depth of pictures.")
    depth.add_argument("image", nargs="+", metavar="IMAGE", help="a file, or - for standard input")
    depth.add_argument(
        "--output", metavar="FILE|DIR", required=True, help="a file, - for standard output, or a folder for several"
    )
    depth.add_argument("--view", choices=VIEWS, default="depth")
    depth.add_argument("--format", choices=FORMATS, help="default: by the ending of FILE; png in a folder")
    _model_options(depth)

    models = command("models", _models, "The networks on this machine.")
    models.add_argument("action", choices=("list", "fetch", "import", "verify", "export"))
    models.add_argument("name", nargs="?", metavar="NAME")
    models.add_argument("file", nargs="?", metavar="FILE", type=Path)
    models.add_argument("--format", choices=EXPORTS, help="of an export")
    models.add_argument("--output", metavar="DIR", type=Path, help="where an export goes")

    bench = command("bench", _bench, "How fast this machine is: networks, runtimes, precisions, and a whole frame.")
    bench.add_argument("--model", nargs="+", action="extend", metavar="NAME", help="default: all that are here")
    bench.add_argument("--runtime", nargs="+", action="extend", choices=_RUNTIMES_HERE, help="default: all")
    bench.add_argument("--precision", nargs="+", action="extend", choices=get_args(Precision)[1:], help="default: all")
    bench.add_argument("--seconds", type=_positive, default=2.0, metavar="N", help="for each measurement (2)")
    bench.add_argument("--json", action="store_true", help="as JSON")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="a picture too: .svg or .png")

    check = command("check", _check, "Validate a configuration file; all its problems at once.")
    check.add_argument("file", metavar="FILE", type=Path)

    doctor = command("doctor", _doctor, "What works on this machine, and what to do about the rest.")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="check its streams, port and directories too")
    doctor.add_argument("--webrtc", action="store_true", help="check how viewers reach this box, step by step")
    doctor.add_argument("--json", action="store_true", help="as JSON")

    service = command("service", installer.act, "streamd as a systemd service: installed, inspected, removed.")
    installer.add_arguments(service)

    schema = command("schema", _schema, "The configuration reference.")
    schema.add_argument("--json", action="store_true", help="as JSON Schema")
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=_network, metavar="NAME", help="the network, or the path of a manifest (.toml)")
    parser.add_argument("--runtime", choices=get_args(Runtime), help="what runs it")
    parser.add_argument("--precision", choices=get_args(Precision), help="what it computes in")


def _network(text: str) -> str:
    if text not in MODELS and not is_manifest(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose from {', '.join(MODELS)}, or the path of a manifest (.toml)"
        )
    return text


def _run(options: argparse.Namespace) -> None:
    overrides: dict[str, Any] = {"model": _model_overrides(options)}
    if options.listen:
        overrides["server"] = {"listen": options.listen}
    if options.record:
        overrides["recording"] = {"directory": str(options.record)}
    sources = [as_it_is(source) for source in options.source] or ([] if options.config else ["demo:"])
    overrides["streams"] = {name: {"source": source} for name, source in _named(sources).items()}
    read = partial(load, options.config, overrides=overrides)
    config = read()
    _look_at_files(config, overrides["streams"])
    allocator.configure()
    code = 0
    try:
        with logs.in_background():
            asyncio.run(_serve(config, read))
    except StreamdError as error:
        if not threads.any_abandoned():
            raise
        code = _report(error)
    if threads.any_abandoned():  # one that a camera or a disk holds: all that matters is done
        os._exit(code)


async def _serve(config: Config, reload: Callable[[], Config]) -> None:
    from streamd.daemon import Daemon

    asyncio.get_running_loop().set_default_executor(threads.LeftExecutor(thread_name_prefix="resolver"))
    daemon = Daemon(config, _store(), reload)
    daemon.on_stop = lambda: threads.exit_after(EXIT_S, lambda: int(daemon.exhausted))
    daemon.install_signals()
    try:
        await daemon.run(on_listening=lambda url: _tell(f"Watch live depth at {url}"))
    finally:
        daemon.ignore_signals()


def _tell(line: str) -> None:
    """What is done is done, though nobody can read of it."""
    try:
        print(line, flush=True)
    except (BrokenPipeError, OutputLost):
        standard_streams.drop_output()


def _named(sources: list[str]) -> dict[str, str]:
    """A short name for each source, without its password."""
    named: dict[str, str] = {}
    for source in sources:
        try:
            address = SourceAddress.parse(source)
        except ValueError as error:
            raise UsageError(f"{shorten(redact_source(source), 80)}: {error}") from None
        if address.scheme:
            text = address.host + redact(re.split("[?#]", address.path, maxsplit=1)[0])
        elif address.kind is SourceKind.LAVFI:
            text = source.partition("=")[0]
        else:
            text = Path(source.rstrip(":")).stem
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")[:48] or "stream"
        name, number = stem, 2
        while name in named:
            name, number = f"{stem}-{number}", number + 1
        named[name] = source
    return named


def _look_at_files(config: Config, names: Iterable[str]) -> None:
    """Reports a file of the command line that is missing or no video at once: it is a typing error. So is what this
    installation cannot open."""
    from streamd.sources import FileSource, open_source
    from streamd.sources.protocols import lacking

    for name in names:
        source = open_source(config.streams[name], threading.Event())
        if reason := lacking(config.streams[name].source):
            raise SourceUnsupported(source.name, reason)
        if isinstance(source, FileSource):
            source.probe()


def _convert(options: argparse.Namespace) -> None:
    from streamd.jobs import examples
    from streamd.jobs.convert import Conversion
    from streamd.jobs.inputs import spooled

    end_in_order()
    with (
        doing(f"converting {options.input} to {options.output}"),
        spooled(_file_named(options.input)) as input,
        Conversion(input, options.output, options.view) as conversion,  # before anything is started
    ):
        service = _service(options, partial(examples.of_film, input), parallel=2)
        try:
            done = conversion.run(service, edges=options.edges)
        finally:
            service.close()
    what = printable(str(options.output))
    _tell(f"{what}: {done.frames} frames in {done.seconds:.1f} s, {done.fps:.1f} fps, model {done.model}")


def _depth(options: argparse.Namespace) -> None:
    output = Path("/dev/stdout" if options.output == "-" else options.output)
    end_in_order()
    if len(options.image) > 1 or options.output.endswith("/") or output.is_dir():
        _depth_of_many([_file_named(image) for image in options.image], output, options)
        return
    format = options.format or output.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    if format not in FORMATS:
        raise UsageError(f"{output}: which format? Name one: --format {'|'.join(FORMATS)}")
    with doing(f"making {output} of {options.image[0]}"):
        _depth_of(_file_named(options.image[0]), output, format, options)


def _depth_of(image: str, output: Path, format: PictureFormat, options: argparse.Namespace) -> None:
    from streamd.host.muted import libraries_muted
    from streamd.jobs import examples
    from streamd.jobs.inputs import read_picture_file
    from streamd.jobs.picture import depth_of_picture
    from streamd.jobs.pictures import named_in_errors, naming

    with naming(image):
        data = read_picture_file(image)
    own = partial(examples.of_picture, data, image)
    with named_in_errors(output), writing(output) as write, _exact_service(options, own) as service:
        with naming(image), libraries_muted():
            made = depth_of_picture(data, service, options.view, format)
        write(made)


def _depth_of_many(images: list[str], folder: Path, options: argparse.Namespace) -> None:
    from streamd.host.muted import libraries_muted
    from streamd.jobs import examples
    from streamd.jobs.pictures import depth_of_pictures, plan

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder, and there are {len(images)} pictures")
    format: PictureFormat = options.format or "png"
    tasks = plan(images, folder, format)
    own = partial(examples.of_pictures, images)
    with _exact_service(options, own) as service, libraries_muted() as heard:
        failed = depth_of_pictures(tasks, service, options.view, format, report=_line, file=heard)
    if failed:
        raise StreamdError(f"{failed} of {len(tasks)} pictures failed")


@contextmanager
def _exact_service(options: argparse.Namespace, examples: Examples) -> Iterator[DepthService]:
    """Ready, as long as that takes. A picture is in no hurry: the exact precision, unless an option sets another."""
    service = _service(options, examples, precision="fp32")
    try:
        service.wait_ready()
        yield service
    finally:
        service.close()


def _file_named(text: str) -> str:
    """The path of an INPUT, as a source: a file of any name, with or without ``file:``; ``-`` is standard input."""
    if text == "-":
        return "/dev/stdin"
    shown = shorten(redact_source(text), 80)
    try:
        address = SourceAddress.parse(as_it_is(text))
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    if address.kind is not SourceKind.FILE:
        raise UsageError(f"{shown}: is no file: `streamd run` takes cameras and addresses")
    return as_file(address.path)


def _models(options: argparse.Namespace) -> None:
    store = _store()
    act = {"list": _list, "fetch": _fetch, "import": _import, "verify": _verify, "export": _export}[options.action]
    act(store, options)


def _list(store: ModelStore, options: argparse.Namespace) -> None:
    for status in store.status():
        digest = status.receipt.sha256[:12] if status.receipt else ""
        print(f"{status.spec.name:23} {status.spec.title:25} {status.spec.licence:14} {digest:12} {status.note}")


def _fetch(store: ModelStore, options: argparse.Namespace) -> None:
    from tqdm import tqdm

    name, printed = _name(options), [0]
    _tell_notice(name)
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(done: int, total: int | None) -> None:
            if bar.disable and total and 10 * done // total > 10 * printed[0] // total:
                print(f"{name}: {100 * done // total} % of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)
            printed[0] = done
            bar.total = total
            bar.update(done - bar.n)

        receipt = store.fetch(name, progress)
    print(f"{name}: {receipt.size / 1e6:.1f} MB, sha256 {receipt.sha256}")


def _tell_notice(name: str) -> None:
    """What its licence asks to be told."""
    from streamd.depth.models import find_model

    if notice := find_model(name).notice:
        print(f"{name}: {notice}", file=sys.stderr, flush=True)


def _import(store: ModelStore, options: argparse.Namespace) -> None:
    name = _name(options)
    if options.file is None:
        raise UsageError("models import: name a FILE too")
    _tell_notice(name)
    receipt = store.import_file(name, options.file)
    note = {True: " (the official file)", False: " (not the official file)", None: ""}[receipt.official]
    print(f"{name}: {receipt.size / 1e6:.1f} MB, sha256 {receipt.sha256}{note}")


def _verify(store: ModelStore, options: argparse.Namespace) -> None:
    results = store.verify()
    for result in results:
        print(f"{result.model}: {'ok' if result.ok else 'BAD'}: {result.detail}")
    bad = [result.model for result in results if not result.ok]
    if bad:
        raise StreamdError(f"damaged: {', '.join(bad)}")


def _export(store: ModelStore, options: argparse.Namespace) -> None:
    name = _name(options)
    if options.format is None or options.output is None:
        raise UsageError(f"models export: say what and where: --format {'|'.join(EXPORTS)} --output DIR")
    from streamd.depth.export import Source, export
    from streamd.depth.models import find_model

    weights, sha256 = store.weights(name)
    made = export(Source(find_model(name), weights, sha256), options.format, options.output)
    agrees = "not run: only a Mac can" if made.error is None else f"loaded again, within {100 * made.error:.2g} %"
    only = f", takes {made.only} only" if made.only else ""
    _tell(f"{made.path}: {made.size_bytes / 1e6:.1f} MB, {agrees}{only}")


def _positive(text: str) -> float:
    """An error for argparse when it is none."""
    value = float(text)
    if not 0 < value <= MAX_BENCH_S:
        raise ValueError
    return value


def _bench(options: argparse.Namespace) -> None:
    from streamd.jobs import bench, bench_report

    if options.plot:
        bench_report.check_plot(options.plot)
    end_in_order()
    store = _store()
    runtimes = tuple(dict.fromkeys(options.runtime or bench.RUNTIMES))
    models = tuple(dict.fromkeys(options.model or bench.installed(store)))
    plan = bench.Plan(models, runtimes, tuple(dict.fromkeys(options.precision or ())), options.seconds)
    one = {"runtime": options.runtime, "precision": options.precision}
    settings = {key: given[0] if given else None for key, given in one.items()}

    def service(model: str) -> DepthService:
        return _service(argparse.Namespace(model=model, **settings))

    result = bench.bench(plan, store, service)
    print(result.to_json() if options.json else bench_report.table(result))
    if options.plot:
        from streamd.host.whole_file import write_whole
        from streamd.jobs.pictures import named_in_errors

        with named_in_errors(options.plot):
            write_whole(options.plot, bench_report.plot(result, options.plot))


def _check(options: argparse.Namespace) -> None:
    from streamd.depth.runtimes import check_model
    from streamd.doctor.files import missing
    from streamd.doctor.inputs import unsupported

    config = load(options.file)
    check_model(config.model)
    found = list(missing(config))
    if problems := [each.problem for each in found if not each.only_here] + list(unsupported(config)):
        raise ConfigError(problems)
    for each in found:
        print(f"{each.problem} here; the service needs it", file=sys.stderr)
    print(f"{options.file}: good: {len(config.streams)} stream{'s' * (len(config.streams) != 1)}")


def _doctor(options: argparse.Namespace) -> None:
    from streamd import doctor

    config, error = Config(), None
    try:
        config = load(options.config)
    except ConfigError as failed:  # the machine can be checked all the same
        error = failed
    findings = []
    asked = doctor.of_config(str(options.config or "environment"), error) if options.config or error else ()
    examined = doctor.examine(config, doctor.WEBRTC) if options.webrtc else doctor.examine(config)
    for finding in chain(asked, examined):
        findings.append(finding)
        if not options.json:
            doctor.show(finding, sys.stdout)
    if options.json:
        print(doctor.as_json(findings))
    if error:
        raise error
    if problems := sum(finding.status == "problem" for finding in findings):
        raise StreamdError(f"doctor: {problems} problem{'s' * (problems != 1)}")


def _schema(options: argparse.Namespace) -> None:
    from streamd.config import schema

    print(schema.json_schema() if options.json else schema.reference())


def _name(options: argparse.Namespace) -> str:
    if options.name is None:
        raise UsageError(f"models {options.action}: name one of: {', '.join(MODELS)}")
    return str(options.name)


def _store() -> ModelStore:
    from streamd.depth.store import ModelStore, default_directories

    return ModelStore(*default_directories())


def _model_overrides(options: argparse.Namespace) -> dict[str, str]:
    given = {"name": options.model, "runtime": options.runtime, "precision": options.precision}
    return {key: value for key, value in given.items() if value is not None}


def _service(
    options: argparse.Namespace, examples: Examples = lambda how: (), *, parallel: int = 1, **defaults: str
) -> DepthService:
    """For one job: a model that is named must be there, else the fall-back stands in. ``examples``: of what it is to
    work on."""
    from streamd.depth.service import DepthService

    given = load(None, overrides={"model": {**defaults, **_model_overrides(options), "download": False}})
    config: ModelConfig = given.model
    service = DepthService(
        config,
        _store(),
        parallel=parallel,
        slots=8,
        strict=options.model is not None,
        attended=True,
        examples=examples,
    )
    service.start()
    return service
