"""web: the node's web pages and JSON API, both behind a log-in.

`WebServer` serves the app that `scarnode.web.app.make_app` builds. FastAPI and uvicorn are only imported for that.
"""

from scarnode.config.accounts import Account, Role, make_account, read_account
from scarnode.web.server import WebServer, serve_web

__all__ = ["Account", "Role", "WebServer", "make_account", "read_account", "serve_web"]
