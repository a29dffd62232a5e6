"""Configs: from YAML to checked dataclasses, before any data or weight is touched."""
