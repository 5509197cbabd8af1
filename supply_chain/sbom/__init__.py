"""Bills of materials: what is really inside of what is handed on, as CycloneDX."""
