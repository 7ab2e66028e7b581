"""web: what the node shows to a person's browser: pages, the same as JSON, and a log-in before both.

`WebServer` serves the app that `scarnode.web.app.make_app` builds. Nothing here loads FastAPI or uvicorn before that.
"""

from scarnode.config.accounts import Account, Role, make_account, read_account
from scarnode.web.server import WebServer, serve_web

__all__ = ["Account", "Role", "WebServer", "make_account", "read_account", "serve_web"]
