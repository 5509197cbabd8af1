"""The release index: a TUF repository in a folder, which any web server can serve."""
