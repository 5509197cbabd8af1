"""How a release is checked, one module per mechanism; `blindllama.release` puts them in order."""
