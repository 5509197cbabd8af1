"""Model weights in, a servable engine out, by kind (`gguf`): the same bytes on every run."""
