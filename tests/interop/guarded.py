"""FastMCP with its own authorization server in memory: registration, PKCE, rotation, revocation; it asks nobody.

Argument: how many seconds access tokens last.
"""

import socket
import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers import in_memory
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions

in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
provider = in_memory.InMemoryOAuthProvider(
    base_url=f"http://127.0.0.1:{port}",
    client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["read", "more"]),
    revocation_options=RevocationOptions(enabled=True),
    required_scopes=["read"],
)
server = FastMCP("guarded", auth=provider)


@server.tool()
def read() -> str:
    """Something that not everybody may read."""
    return "a secret"


print(f"listening on port {port}", flush=True)
uvicorn.Server(uvicorn.Config(server.http_app())).run(sockets=[listener])
