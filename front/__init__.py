"""The API in front of a model server: what of it a caller may use, in one form for every server.

It runs in a container of its own beside the server's and needs nothing of this repository: the
package is copied into the image. Python 3.11 to 3.13, aiohttp and pydantic.
"""
