"""Says on every request where it came from, and answers OPTIONS to the proxy itself."""

import json

from wit_world import exports
from wit_world.imports import message
from wit_world.imports.types import Decision_Next, Decision_Reply, Reply


class Lifecycle(exports.Lifecycle):
    def configure(self, json_text: str) -> None:
        # An exception with a text would be componentize_py_types.Err(text): the operator sees it.
        if json_text.strip():
            json.loads(json_text)


class RequestHook(exports.RequestHook):
    def on_request(self, request):
        message.set_header("X-Came-From", request.side)
        if request.method == "OPTIONS" and "@" not in request.request_uri:
            return Decision_Reply(Reply(200, None, [], None))
        return Decision_Next()
