"""Models over HTTP: what there is, which one runs, another one, and the weights of more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from streamd.concurrency import threads
from streamd.concurrency.threads import SharedCall
from streamd.concurrency.waiting import ends_within
from streamd.config.sections import ModelConfig
from streamd.depth.catalogue import Entry
from streamd.depth.kept_choice import chosen
from streamd.errors import DepthError
from streamd.web.context import CONTEXT, WebContext
from streamd.web.description import describe_entry, describe_model
from streamd.web.errors import Refusal
from streamd.web.parameters import shortened
from streamd.web.pictures import known_model
from streamd.web.requests import BODY_ERRORS, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import json_content, reference
from streamd.web.tokens import Scope

IN_FORCE_S = 5.0
KEEP_S = 2.0
"""How long a change waits for the disk."""
CATALOGUE = web.AppKey("catalogue", SharedCall[list[Entry]])
FETCH_PATH = "/api/v1/models/{model}/fetch"
MODELS = json_content(reference("Models"))


async def list_models(request: web.Request) -> web.Response:
    """Reads the disk in a thread: requests that come meanwhile get the same answer."""
    return web.json_response(await _describe(request))


async def _describe(request: web.Request) -> dict[str, Any]:
    entries = await asyncio.shield(asyncio.wrap_future(request.app[CATALOGUE].start()))
    status = request.app[CONTEXT].service.status
    return {"models": [describe_entry(entry, status) for entry in entries], "model": describe_model(status)}


async def put_model(request: web.Request) -> web.Response:
    """Changes over while viewers stay. 202 while its weights are fetched, or it takes long to start."""
    context = request.app[CONTEXT]
    config = _wanted(await json_object(request, 'such as {"name": "midas_small"}'), context)
    try:
        in_force = await ends_within(context.service.change(config), IN_FORCE_S)
    except DepthError as error:
        raise Refusal(409, "not_taken", context.service.shown(str(error))) from None
    if context.kept_model is not None:
        with suppress(TimeoutError):
            keep = partial(context.kept_model.keep, config, context.configured_model())
            await asyncio.wait_for(threads.call("kept-model", keep), KEEP_S)
    body = describe_model(context.service.status)
    return web.json_response(body, status=200 if in_force else 202)


def _wanted(body: dict[str, Any], context: WebContext) -> ModelConfig:
    """Without a name it is the model that is wanted already. Raises Refusal and ConfigError: 422."""
    if unknown := body.keys() - {"name", "precision"}:
        raise Refusal(422, "bad_value", f"{shortened(min(unknown))}: unknown; there are: name, precision")
    if not body:
        raise Refusal(422, "bad_value", "send name, precision, or both")
    choice = {"name": context.service.wanted.name, **body}
    if choice["name"] not in (context.service.wanted.name, context.configured_model().name):  # these may be manifests
        known_model(choice["name"])
    return chosen(context.configured_model(), choice)


async def fetch_model(request: web.Request) -> web.Response:
    """Begins to fetch weights, and changes nothing else. What is here already is left as it is."""
    context, name = request.app[CONTEXT], request.match_info["model"]
    known_model(name)
    described = await _describe(request)
    entry = next(entry for entry in described["models"] if entry["name"] == name)
    if entry["installed"]:
        return web.json_response(described)
    if not entry["can_fetch"]:
        raise Refusal(409, "not_fetchable", f"model {name}: {entry['note']}")
    if not context.service.config.download:
        raise Refusal(409, "not_fetchable", "the configuration says that nothing is to be fetched: model.download")
    context.service.fetch(name)
    return web.json_response(await _describe(request), status=202)


async def clean_up(app: web.Application) -> None:
    app[CATALOGUE].close()


ROUTES = (
    Route("GET", "/api/v1/models", list_models, Scope.VIEW, "All models, and the one that runs", {200: MODELS}),
    Route(
        "PUT",
        "/api/v1/model",
        put_model,
        Scope.CONTROL,
        "Change the model while viewers stay; 202: its weights are fetched first, or it is about to start",
        {200: json_content(reference("Model")), 202: json_content(reference("Model"))},
        errors=(409, 503),
        body=Body(json_content(reference("ModelChange")), BODY_ERRORS),
    ),
    Route(
        "POST",
        FETCH_PATH,
        fetch_model,
        Scope.CONTROL,
        "Fetch the weights of a model in the background; 200: they are here",
        {200: MODELS, 202: MODELS},
        errors=(409, 422, 503),
    ),
)
