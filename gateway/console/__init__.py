"""The console: pages for the four people, drawn on the server from what the API answers.

Every page asks the API's own handlers, in this process and as whoever is signed in
(within.py), so that it shows, refuses and enters in the log what the API would.
"""

from typing import Final

from gateway.console import (
    administering,
    approving,
    assets,
    auditing,
    binding,
    counting,
    operating,
    own,
    signing_in,
    signing_on,
)

CONSOLE: Final = (
    assets.static,
    signing_in.home,
    signing_in.sign_in,
    signing_in.sign_out,
    *auditing.ROUTES,
    *approving.ROUTES,
    *counting.ROUTES,
    *operating.ROUTES,
    *own.ROUTES,
    *administering.ROUTES,
)
# Where an OpenID provider is set up, besides.
CONSOLE_OIDC: Final = (*signing_on.ROUTES, *binding.ROUTES)
