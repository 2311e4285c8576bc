"""Settings of a run: defined in `settings` and `sources`, read by `load`, explained by `explain`.

`document` parses YAML with the location of every key, `messages` words the errors. Nothing here imports torch.
"""
