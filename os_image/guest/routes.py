"""The application's part of the ingress's configuration, made from what its disk says.

The image's Caddyfile imports it after the paths that the image answers itself. What is written here is
built from names, numbers and paths that were read strictly, so a disk can ask for nothing else.

Source: Caddy 2.6, Caddyfile, request matchers and reverse_proxy.
"""

from os_image.guest.app_description import AppDescription, Route

_ROUTE = """\
@route{number} path {paths}
handle @route{number} {{
	request_body {{
		max_size 1MB
	}}
	reverse_proxy http://{address}:{port} {{
		# Who asks is not the application's business.
		header_up -X-Forwarded-For
		header_up -X-Forwarded-Host
		header_up -X-Forwarded-Proto
		# A token is sent on when it comes.
		flush_interval -1
		transport http {{
			# Shorter than an application keeps an idle connection (5 s).
			keepalive 3s
			dial_timeout 5s
			compression off
		}}
	}}
}}
"""


def render_routes(app: AppDescription) -> str:
    """The routes as Caddyfile directives, in the order in which they are tried."""
    return "".join(_render(number, route) for number, route in enumerate(app.routes))


def _render(number: int, route: Route) -> str:
    paths = (route.path or "/") if route.exact else f"{route.path} {route.path}/*".strip()
    return _ROUTE.format(number=number, paths=paths, address=route.address, port=route.port)
