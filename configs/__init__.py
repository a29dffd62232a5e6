"""The configs that come with the package: one YAML a study."""
