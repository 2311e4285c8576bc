"""Settings of a run: `settings` defines them, `reading` reads them, `showing` explains them. No torch in here.

Below these: `yaml_lines` reads YAML with its places, `problems` puts into words what pydantic finds wrong, with what
`keys` knows of the settings and `places` of where they were written.
"""
