"""Makes E.164 of the numbers that are called and of the identities that are asserted, by the dial plan of the side that a call is from."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, message, source, target
from wit_world.imports.log import Level
from wit_world.imports.types import Decision_Next, ResponseDecision_Pass

from dial_plan import plan

IDENTITY = "P-Asserted-Identity"

# An instance serves many messages; what `configure` made is all that it keeps.
default_plan = None
plans_of_sides = {}


class Lifecycle(exports.Lifecycle):
    def configure(self, text):
        """What it raises the operator reads: the version before goes on."""
        global default_plan, plans_of_sides
        try:
            config = json.loads(text)
            default_plan = plan(config["country"])
            plans_of_sides = {side: plan(country) for side, country in config.get("sides", {}).items()}
        except KeyError as missing:
            raise Err(f"{missing} is missing")
        except (ValueError, TypeError, AttributeError) as wrong:
            raise Err(str(wrong))


class RequestHook(exports.RequestHook):
    def on_request(self, request):
        uri = request.request_uri
        # A number at somebody else's domain means what that domain says. In a dialog the Request-URI is a contact, and no number.
        if not request.in_dialog and (uri.startswith("tel:") or target.is_local(uri)):
            called = normalized(uri, request.side)
            if called != uri:
                message.set_request_uri(called)
                log.write(Level.DEBUG, f"{uri} from {source.peer()} is {called}")
        normalize_identities(request.side)
        return Decision_Next()


class ResponseHook(exports.ResponseHook):
    def on_response(self, request, status):
        # Who answers is on the other side, whose dial plan is not known here: what it calls national is national by default.
        normalize_identities(None)
        return ResponseDecision_Pass()


def normalize_identities(side):
    identities = message.header_values(IDENTITY)
    changed = [in_brackets(identity, side) for identity in identities]
    if changed != identities:
        message.set_header_values(IDENTITY, changed)


def in_brackets(identity, side):
    """`"Reception" <sip:030...@...>` with its URI normalized."""
    before, bracket, rest = identity.partition("<")
    uri, end, after = rest.partition(">")
    return f"{before}<{normalized(uri, side)}>{after}" if bracket and end else normalized(identity, side)


def normalized(uri, side):
    """The URI, with a number as user in E.164."""
    scheme, colon, rest = uri.partition(":")
    user, at, host = rest.partition("@")
    if not (at or scheme == "tel"):
        return uri
    dialled, semicolon, parameters = user.partition(";")
    number = plans_of_sides.get(side, default_plan).e164(dialled)
    return f"{scheme}:{number}{semicolon}{parameters}{at}{host}" if number else uri
